# SPDX-License-Identifier: Apache-2.0
"""The profiles in config/robots say what the drivers say, and begin slowly.

``FACTS`` is written from the drivers' own files, which each profile names beside its blocks. Joint limits are the
drivers' own: a profile may be narrower by a little, never wider.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from vla_core.robot_spec import RobotSpec

ROOT = Path(__file__).resolve().parents[1]
ROBOTS = ROOT / "config" / "robots"
TURN = 2 * math.pi


@dataclass(frozen=True)
class Facts:
    """What a driver publishes and listens to.

    Attributes:
        command: Interface and topic.
        joint_topic: Topic of its joint states.
        joints: Name to lower limit, upper limit (radians) and largest speed (radians per second).
        gripper: Interface, topic or action, joint, then what the joint and the command are when closed and open.
        frames: Base frame; base and tip link of the URDF, where the profile reads one.
        acceleration_m_s2: The largest that the driver's files allow the tool, where they say so.
    """

    command: tuple[str, str]
    joint_topic: str
    joints: dict[str, tuple[float, float, float]]
    gripper: tuple[str, str, str, tuple[float, float], tuple[float, float]]
    frames: tuple[str, ...]
    acceleration_m_s2: float = 1.0


FR3_JOINTS = {
    "fr3_joint1": (-2.7437, 2.7437, 2.62),
    "fr3_joint2": (-1.7837, 1.7837, 2.62),
    "fr3_joint3": (-2.9007, 2.9007, 2.62),
    "fr3_joint4": (-3.0421, -0.1518, 2.62),
    "fr3_joint5": (-2.8065, 2.8065, 5.26),
    "fr3_joint6": (0.5445, 4.5169, 4.18),
    "fr3_joint7": (-3.0159, 3.0159, 5.26),
}
UR5E_JOINTS = {
    name: ((-TURN / 2, TURN / 2) if name == "elbow_joint" else (-TURN, TURN)) + (math.pi,)
    for name in (
        *("shoulder_pan_joint", "shoulder_lift_joint", "elbow_joint"),
        *("wrist_1_joint", "wrist_2_joint", "wrist_3_joint"),
    )
}
ROBOTIQ = (
    "parallel_gripper_command",
    "robotiq_gripper_controller/gripper_cmd",
    "robotiq_85_left_knuckle_joint",
    (0.8, 0.0),
    (0.8, 0.0),
)
FACTS = {
    "fr3_crisp": Facts(
        command=("target_pose", "target_pose"),
        joint_topic="joint_states",
        joints=FR3_JOINTS,
        gripper=(
            *("topic", "gripper/gripper_position_controller/commands", "fr3_finger_joint1"),
            *((0.0, 0.04), (0.0, 1.0)),
        ),
        frames=("base", "base", "fr3_hand_tcp"),
    ),
    "fr3_joint_trajectory": Facts(
        command=("joint_trajectory", "fr3_arm_controller/joint_trajectory"),
        joint_topic="joint_states",
        joints=FR3_JOINTS,
        gripper=(
            *("gripper_command", "franka_gripper/gripper_action", "fr3_finger_joint1"),
            *((0.0, 0.04), (0.0, 0.04)),
        ),
        frames=("base", "base", "fr3_hand_tcp"),
    ),
    "ur5e_servo": Facts(
        command=("twist", "servo_node/delta_twist_cmds"),
        joint_topic="joint_states",
        joints=UR5E_JOINTS,
        gripper=ROBOTIQ,
        frames=("base_link", "base_link", "tool0"),
    ),
    "ur5e_joint_trajectory": Facts(
        command=("joint_trajectory", "scaled_joint_trajectory_controller/joint_trajectory"),
        joint_topic="joint_states",
        joints=UR5E_JOINTS,
        gripper=ROBOTIQ,
        frames=("base_link", "base_link", "tool0"),
    ),
    "xarm7": Facts(
        command=("joint_trajectory", "xarm7_traj_controller/joint_trajectory"),
        joint_topic="joint_states",
        joints={
            "joint1": (-math.pi, math.pi, 3.14),  # limited:=true; a turn more without it
            "joint2": (-2.059, 2.0944, 3.14),
            "joint3": (-math.pi, math.pi, 3.14),
            "joint4": (-0.11, 0.99 * math.pi, 3.14),
            "joint5": (-math.pi, math.pi, 3.14),
            "joint6": (-1.69297, 0.99 * math.pi, 3.14),
            "joint7": (-math.pi, math.pi, 3.14),
        },
        gripper=("gripper_command", "xarm/xarm_gripper/gripper_action", "drive_joint", (0.85, 0.0), (0.85, 0.0)),
        frames=("link_base", "link_base", "link_tcp"),
    ),
    "gen3": Facts(
        command=("joint_trajectory", "joint_trajectory_controller/joint_trajectory"),
        joint_topic="joint_states",
        joints={
            "joint_1": (-math.pi, math.pi, 0.8727),  # turns without end; reported in +-pi
            "joint_2": (-2.24, 2.24, 0.8727),
            "joint_3": (-math.pi, math.pi, 0.8727),
            "joint_4": (-2.57, 2.57, 0.8727),
            "joint_5": (-math.pi, math.pi, 0.8727),
            "joint_6": (-2.09, 2.09, 0.8727),
            "joint_7": (-math.pi, math.pi, 0.8727),
        },
        gripper=ROBOTIQ,
        frames=("base_link", "base_link", "end_effector_link"),
        acceleration_m_s2=0.4,
    ),
    "so101": Facts(
        command=("forward_position", "follower/arm_forward_controller/commands"),
        joint_topic="follower/joint_states",
        joints={
            "shoulder_pan": (-1.91986, 1.91986, 10.0),
            "shoulder_lift": (-1.74533, 1.74533, 10.0),
            "elbow_flex": (-1.69, 1.69, 10.0),
            "wrist_flex": (-1.65806, 1.65806, 10.0),
            "wrist_roll": (-2.74385, 2.84121, 10.0),
        },
        gripper=(
            *("parallel_gripper_command", "follower/gripper_controller/gripper_cmd", "gripper"),
            *((-0.174533, 1.74533), (-0.174533, 1.74533)),
        ),
        frames=("base_link", "base_link", "gripper_frame_link"),
    ),
}


def load(name: str) -> RobotSpec:
    return RobotSpec.load(ROBOTS / f"{name}.yaml")


def test_the_facts_are_of_the_profiles_that_there_are() -> None:
    assert {path.stem for path in ROBOTS.glob("[!.]*.yaml")} == {*FACTS, "sim_arm"}


@pytest.mark.parametrize("name", FACTS)
def test_a_profile_commands_where_its_driver_listens(name: str) -> None:
    spec, facts = load(name), FACTS[name]
    assert (spec.command.interface, spec.command.topic) == facts.command
    assert spec.joints.topic == facts.joint_topic
    found = [spec.base_frame]
    if spec.kinematics is not None:
        assert spec.kinematics.urdf_topic is not None, "a real arm's URDF is the driver's"
        assert spec.kinematics.urdf_topic.endswith("robot_description")
        found += [spec.kinematics.base_link, spec.kinematics.tip_link]
        assert spec.kinematics.base_link == spec.base_frame
    assert tuple(found) == facts.frames


@pytest.mark.parametrize("name", FACTS)
def test_joints_are_the_drivers_and_never_beyond_their_limits(name: str) -> None:
    joints, facts = load(name).joints, FACTS[name].joints
    assert joints.names == tuple(facts)
    speeds = joints.max_speed_rad_s
    assert speeds is not None, "the URDF's own speeds are no first-motion limits"
    for index, (lower, upper, speed) in enumerate(facts.values()):
        assert lower <= joints.lower_rad[index] < joints.upper_rad[index] <= upper
        assert speeds[index] <= min(speed, 1.0)


@pytest.mark.parametrize("name", FACTS)
def test_the_gripper_is_the_drivers_the_right_way_round(name: str) -> None:
    gripper = load(name).gripper
    interface, where, joint, of_joint, of_command = FACTS[name].gripper
    assert (gripper.interface, gripper.topic or gripper.action, gripper.joint) == (interface, where, joint)
    # Within a sixth of the way, and so of the same polarity: what is quite closed or open depends on the fingers.
    for found, wanted in (
        ((gripper.joint_closed, gripper.joint_open), of_joint),
        ((gripper.command_closed, gripper.command_open), of_command),
    ):
        assert found == pytest.approx(wanted, abs=abs(wanted[1] - wanted[0]) / 6)


@pytest.mark.parametrize("name", FACTS)
def test_the_first_motion_is_slow_and_in_a_small_box(name: str) -> None:
    limits = load(name).limits
    assert limits.max_speed_m_s <= 0.10
    assert limits.max_speed_rad_s <= 0.5
    assert limits.max_step_m <= 0.01
    assert limits.max_acceleration_m_s2 <= FACTS[name].acceleration_m_s2
    assert limits.soft_start_s >= 1.0
    assert limits.workspace_min_m[2] > 0.0, "the arm's base stands on the table"
    sides_m = [high - low for low, high in zip(limits.workspace_min_m, limits.workspace_max_m, strict=True)]
    assert max(sides_m) <= 0.6


@pytest.mark.parametrize("name", FACTS)
def test_pictures_have_a_frozen_check_and_kinematics_need_no_more_than_the_urdf(name: str) -> None:
    spec = load(name)
    assert set(spec.cameras) == {"static", "wrist"}
    assert all(camera.frozen_after_ms is not None for camera in spec.cameras.values())
    if spec.command.interface in ("joint_trajectory", "forward_position") or spec.tcp_pose.source == "joints":
        assert spec.kinematics is not None


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("document", ["docs/bringup.md", "CONTRIBUTING.md"])
def test_the_documents_name_every_profile(name: str, document: str) -> None:
    assert f"`{name}`" in (ROOT / document).read_text()


@pytest.mark.ros
@pytest.mark.parametrize("name", FACTS)
def test_the_launch_argument_finds_it(name: str) -> None:
    launch_support = pytest.importorskip("vla_policy_node.launch_support", exc_type=ImportError)
    assert launch_support.robot_spec_path(ROOT / "config", name) == ROBOTS / f"{name}.yaml"
