# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla_core.errors import VlaError
from vla_core.geometry import Pose, angle_rad, distance_m
from vla_core.robot_spec import RobotSpec
from vla_sim.arm_goals import CommandRefusedError, JointGoal, PoseGoal, TrajectoryGoal, TwistGoal
from vla_sim.scene.model import ARM_JOINTS, HOME_RAD, MAX_JOINT_SPEED_RAD_S, load_scene
from vla_sim.tabletop import Tabletop
from vla_sim.tasks import TASKS


def moved(pose: Pose, offset_m: list[float], rotvec: list[float]) -> Pose:
    return Pose(pose.position_m + np.array(offset_m), pose.rotation * Rotation.from_rotvec(rotvec))


def follow_a_row(tabletop: Tabletop, velocity_m_s: list[float], steps: int) -> np.ndarray:
    """Send a target pose every other step; return the joint velocities after each step."""
    start, velocities = tabletop.arm_state().pose_tcp_in_base, []
    for step in range(steps):
        if step % 2 == 0:
            target = moved(start, [step * tabletop.period_s * speed for speed in velocity_m_s], [0.0] * 3)
            tabletop.follow(PoseGoal(target))
        tabletop.step(tabletop.period_s)
        velocities.append(tabletop.arm_state().velocities_rad_s)
    return np.array(velocities)


def play(tabletop: Tabletop, seed: int) -> np.ndarray:
    tabletop.reset(seed, "lift_red_block")
    above = tabletop.state().blocks["red_block"].position_m
    tabletop.follow(PoseGoal(Pose(above, tabletop.arm_state().pose_tcp_in_base.rotation)))
    tabletop.grip(0.0)
    tabletop.step(1.5)
    return tabletop.snapshot.qpos


def test_equal_seeds_and_commands_give_equal_states_to_the_bit(tabletop: Tabletop) -> None:
    first = play(tabletop, 4)
    play(tabletop, 5)
    assert np.array_equal(play(tabletop, 4), first)
    assert np.array_equal(play(Tabletop(9), 4), first)


def test_seeds_give_different_scenes(tabletop: Tabletop) -> None:
    places = {tuple(tabletop.reset(seed).blocks["red_block"].position_m.round(4)) for seed in range(8)}
    assert len(places) == 8


@pytest.mark.parametrize("task", TASKS)
def test_a_task_starts_unsolved_from_the_scene_that_it_requires(tabletop: Tabletop, task: str) -> None:
    required = TASKS[task].start
    for seed in range(5):
        state = tabletop.reset(seed, task)
        assert not TASKS[task].is_success(state, state)
        for value, limits in ((state.drawer_m, required.drawer_m), (state.slider_m, required.slider_m)):
            assert limits is None or limits[0] - 0.003 <= value <= limits[1] + 0.003
        assert required.is_light_on in (None, state.is_light_on)


def test_an_unknown_task_is_refused_with_a_near_name(tabletop: Tabletop) -> None:
    with pytest.raises(VlaError, match="did you mean 'open_drawer'"):
        tabletop.reset(0, "open_drawr")


def test_with_nothing_to_do_the_arm_holds_still(tabletop: Tabletop) -> None:
    before = tabletop.arm_state().pose_tcp_in_base
    tabletop.step(2.0)
    assert distance_m(before, tabletop.arm_state().pose_tcp_in_base) < 2e-4


def test_the_tcp_settles_on_a_target_pose_within_a_tenth_of_a_millimetre(tabletop: Tabletop) -> None:
    target = moved(tabletop.arm_state().pose_tcp_in_base, [0.05, -0.1, -0.08], [0.1, 0.0, 0.4])
    tabletop.follow(PoseGoal(target))
    tabletop.step(2.0)
    reached = tabletop.arm_state().pose_tcp_in_base
    assert distance_m(reached, target) < 1e-4
    assert angle_rad(reached, target) < 1e-4


@pytest.mark.parametrize("velocity_m_s", [[0.1, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, -0.1], [-0.1, 0.1, 0.1]])
def test_a_row_of_target_poses_is_followed_evenly_and_the_arm_stands_60_ms_after_the_last(
    tabletop: Tabletop, velocity_m_s: list[float]
) -> None:
    start = tabletop.arm_state().pose_tcp_in_base
    velocities = follow_a_row(tabletop, velocity_m_s, steps=61)
    assert np.abs(velocities[-1]).max() > 0.1
    assert np.abs(np.diff(velocities[20:], axis=0)).max() < 0.01
    lag_m = 0.61 * np.array(velocity_m_s) - (tabletop.arm_state().pose_tcp_in_base.position_m - start.position_m)
    assert np.linalg.norm(lag_m) < 0.025 * np.linalg.norm(velocity_m_s)
    # The last target came at the beginning of the last step.
    tabletop.step(0.05)
    for _ in range(100):
        assert np.abs(tabletop.arm_state().velocities_rad_s).max() < 0.01
        tabletop.step(tabletop.period_s)


def test_a_zero_twist_holds_every_joint(tabletop: Tabletop) -> None:
    follow_a_row(tabletop, [0.0, 0.1, 0.0], steps=50)
    tabletop.follow(TwistGoal(np.zeros(3), np.zeros(3), "base", expires_s=tabletop.time_s + 2.0))
    tabletop.step(0.05)
    held = tabletop.arm_state().positions_rad
    tabletop.step(1.5)
    assert np.allclose(tabletop.arm_state().positions_rad, held, atol=1e-3)


@pytest.mark.parametrize("frame", ["base", "tcp"])
def test_a_twist_moves_in_its_frame_and_stops_when_it_expires(tabletop: Tabletop, frame: str) -> None:
    start = tabletop.arm_state().pose_tcp_in_base
    velocity = np.array([0.0, 0.1, 0.0])
    tabletop.follow(TwistGoal(velocity, np.zeros(3), frame, expires_s=tabletop.time_s + 0.5))  # type: ignore[arg-type]
    tabletop.step(1.0)
    stopped = tabletop.arm_state().pose_tcp_in_base
    along = velocity if frame == "base" else start.rotation.apply(velocity)
    assert np.allclose(stopped.position_m - start.position_m, 0.5 * along, atol=2e-3)
    tabletop.step(1.0)
    assert distance_m(stopped, tabletop.arm_state().pose_tcp_in_base) < 2e-4


def test_joint_positions_are_reached(tabletop: Tabletop) -> None:
    wanted = HOME_RAD + 0.2
    tabletop.follow(JointGoal(wanted))
    tabletop.step(1.5)
    assert np.allclose(tabletop.arm_state().positions_rad, wanted, atol=1e-3)


def test_a_trajectory_is_followed_in_time(tabletop: Tabletop) -> None:
    start = tabletop.arm_state().positions_rad
    points = np.stack([start + 0.2, start + 0.1])
    tabletop.follow(TrajectoryGoal(tabletop.time_s, np.array([1.0, 2.0]), points))
    tabletop.step(1.0)
    assert np.allclose(tabletop.arm_state().positions_rad, points[0], atol=0.01)
    tabletop.step(1.5)
    assert np.allclose(tabletop.arm_state().positions_rad, points[1], atol=1e-3)


def test_no_command_exceeds_the_joint_speeds(tabletop: Tabletop) -> None:
    tabletop.follow(JointGoal(np.array([2.0, 0.5, -2.0, -1.0, 2.0, 1.0, -2.0])))
    last, fastest = tabletop.arm_state().positions_rad, np.zeros(7)
    for _ in range(150):
        tabletop.step(0.01)
        now = tabletop.arm_state().positions_rad
        last, fastest = now, np.maximum(fastest, np.abs(now - last) / 0.01)
    # The set points keep to the limits; the links may overshoot them a little when they brake.
    assert np.all(fastest < 1.2 * MAX_JOINT_SPEED_RAD_S)


def test_a_position_beyond_a_joint_limit_is_refused_and_nothing_moves(tabletop: Tabletop) -> None:
    before = tabletop.arm_state().pose_tcp_in_base
    with pytest.raises(CommandRefusedError, match=r"joint4 is asked to go to 0\.5 rad; its limits are"):
        tabletop.follow(JointGoal(np.array([0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0])))
    tabletop.step(0.5)
    assert distance_m(before, tabletop.arm_state().pose_tcp_in_base) < 2e-4


@pytest.mark.parametrize("width_m", [float("nan"), -0.02, 0.08])
def test_a_gripper_command_out_of_range_is_refused(tabletop: Tabletop, width_m: float) -> None:
    with pytest.raises(CommandRefusedError, match="the gripper is asked for"):
        tabletop.grip(width_m)


def test_pressing_the_button_toggles_the_light_once_per_press(tabletop: Tabletop) -> None:
    state = tabletop.reset(0, "turn_on_light")
    assert not state.is_light_on
    button = tabletop.scene.fixture_qpos["button"]
    data = tabletop._data
    for _ in range(2):
        data.qpos[button] = 0.014
        tabletop.step(0.02)
        assert tabletop.state().is_light_on
    tabletop.step(0.5)
    data.qpos[button] = 0.014
    tabletop.step(0.02)
    assert not tabletop.state().is_light_on


def test_scene_and_robot_spec_agree(spec: RobotSpec) -> None:
    scene = load_scene()
    assert spec.joints.names == ARM_JOINTS
    assert np.allclose(spec.joints.lower_rad, scene.arm_lower_rad)
    assert np.allclose(spec.joints.upper_rad, scene.arm_upper_rad)
    assert (spec.gripper.joint_closed, spec.gripper.joint_open) == tuple(scene.model.joint("finger_joint").range)
