# SPDX-License-Identifier: Apache-2.0
"""Kinematics from a URDF: there and back, within limits whatever is asked for, sentences for what does not fit."""

import dataclasses
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pose_strategies import poses
from sim_arm import SIM_ARM, sim_arm

from vla_core.errors import ConfigError
from vla_core.geometry import Pose, angle_rad, distance_m
from vla_core.joint_following import JointFollower
from vla_core.kinematics import load_kinematics
from vla_core.kinematics.arm import make_arm
from vla_core.kinematics.solver import Kinematics
from vla_core.robot_spec import RobotSpec

URDF = SIM_ARM.with_suffix(".urdf").read_text()
PERIOD_S = 0.02


@cache
def kinematics() -> Kinematics:
    return load_kinematics(sim_arm(), SIM_ARM.parent)


@st.composite
def joints_within_limits(draw: st.DrawFn, margin: float = 0.0) -> np.ndarray:
    shares = np.array(draw(st.tuples(*[st.floats(margin, 1.0 - margin)] * 7)))
    arm = kinematics().arm
    return np.clip(arm.lower_rad + shares * (arm.upper_rad - arm.lower_rad), arm.lower_rad, arm.upper_rad)


def off(found: Pose, wanted: Pose) -> tuple[float, float]:
    return distance_m(found, wanted), angle_rad(found, wanted)


@given(joints_within_limits(margin=0.1), st.tuples(*[st.floats(-0.1, 0.1)] * 7))
@settings(max_examples=200)
def test_a_pose_that_the_arm_has_is_found_again_from_near_it(joints: np.ndarray, nudge: tuple[float, ...]) -> None:
    target = kinematics().forward(joints)
    found = kinematics().solve(joints + nudge, target)
    off_m, off_rad = off(kinematics().forward(found), target)
    assert off_m < 1e-4
    assert off_rad < 1e-3
    assert np.all(found >= kinematics().arm.lower_rad)
    assert np.all(found <= kinematics().arm.upper_rad)


def test_most_poses_are_found_from_the_posture() -> None:
    random = np.random.default_rng(5)
    arm, num_found = kinematics().arm, 0
    for _ in range(100):
        target = kinematics().forward(random.uniform(arm.lower_rad, arm.upper_rad))
        off_m, off_rad = off(kinematics().forward(kinematics().solve(arm.posture_rad, target)), target)
        num_found += off_m < 1e-4 and off_rad < 1e-3
    assert num_found >= 80


@given(joints_within_limits(), st.lists(poses(), min_size=1, max_size=8), st.floats(1e-3, 0.05))
@settings(max_examples=150)
def test_no_target_leads_a_joint_out_of_its_limits_or_above_its_speed(
    joints: np.ndarray, targets: list[Pose], dt_s: float
) -> None:
    arm = kinematics().arm
    for target in targets:
        found = kinematics().approach(joints, target, dt_s)
        assert np.all(np.isfinite(found))
        assert np.all(found >= arm.lower_rad)
        assert np.all(found <= arm.upper_rad)
        assert np.all(np.abs(found - joints) <= arm.max_speed_rad_s * dt_s * (1.0 + 1e-9))
        joints = found


def test_a_stretched_arm_comes_back_from_its_singularity() -> None:
    stretched = np.array([0.0, 0.6, 0.0, -0.0698, 0.0, 1.8, 0.0])
    joints, home = stretched, kinematics().forward(kinematics().arm.posture_rad)
    start = kinematics().forward(stretched)
    outwards = Pose(start.position_m * 1.2, start.rotation)
    for target, num_steps in ((outwards, 50), (home, 300)):
        for _ in range(num_steps):
            after = kinematics().approach(joints, target, PERIOD_S)
            assert np.all(np.abs(after - joints) <= kinematics().arm.max_speed_rad_s * PERIOD_S + 1e-9)
            joints = after
    off_m, off_rad = off(kinematics().forward(joints), home)
    assert off_m < 1e-4
    assert off_rad < 1e-3


def test_a_joint_outside_its_limits_never_goes_further_out() -> None:
    arm = kinematics().arm
    joints = arm.posture_rad.copy()
    joints[1] = arm.upper_rad[1] + 0.1
    target = kinematics().forward(arm.posture_rad)
    for _ in range(100):
        after = kinematics().approach(joints, target, PERIOD_S)
        assert after[1] <= max(joints[1], arm.upper_rad[1])
        joints = after
    assert joints[1] <= arm.upper_rad[1]


def test_what_the_tool_leaves_free_leads_to_the_posture() -> None:
    arm = kinematics().arm
    elbow_out = dataclasses.replace(arm, posture_rad=arm.posture_rad + 0.6 * np.array([1, 0, -1, 0, 0, 0, 0]))
    joints, reached = arm.posture_rad, []
    for solver in (Kinematics(elbow_out), kinematics()):
        for step in range(300):
            shift = 0.03 * np.array([np.sin(2 * np.pi * step / 100), 0.0, 0.0])
            start = kinematics().forward(arm.posture_rad)
            target = Pose(start.position_m + shift, start.rotation)
            joints = solver.approach(joints, target, PERIOD_S)
            assert distance_m(kinematics().forward(joints), target) < 1e-6
        reached.append(np.linalg.norm(joints - arm.posture_rad))
    assert reached[0] > 0.3
    assert reached[1] < 0.6 * reached[0]


def load(tmp_path: Path, urdf: str, spec: RobotSpec | None = None) -> Kinematics:
    (tmp_path / "sim_arm.urdf").write_text(urdf)
    return load_kinematics(spec or sim_arm(), tmp_path)


JOINT4 = 'type="revolute">\n    <parent link="link3"/>'


@pytest.mark.parametrize(
    ("text", "replacement", "words"),
    [
        ("</robot>", "", "no XML"),
        ("<robot name", "<urdf name", "no XML"),
        ('<link name="hand"/>', "", "tip_link 'hand' is no link"),
        ('"0.0825 0 0"', '"0.0825 0"', 'xyz="0.0825 0"'),
        ('"0.0825 0 0"', '"${d} 0 0"', "xacro"),
        ('"0.0825 0 0"', '"nan 0 0"', 'xyz="nan 0 0"'),
        ('<parent link="link3"/>', '<parent link="hand"/>', "is not below base_link 'base_link'"),
        ('<parent link="link3"/>', "", "joint 'joint4' has no <parent"),
        ('name="joint4"', 'name="elbow"', "'elbow'"),
        (JOINT4, JOINT4.replace("revolute", "fixed"), "['joint1', 'joint2', 'joint3', 'joint5'"),
        (JOINT4, JOINT4.replace("revolute", "prismatic"), "joint4' is prismatic"),
        (JOINT4, JOINT4.replace("revolute", "rotating"), "type 'rotating'"),
        (JOINT4, JOINT4.replace("<parent", '<mimic joint="joint2"/><parent'), "mimics 'joint2'"),
        ('lower="-3.0718"', 'lower="-1.0"', "limits -1 to -0.0698 rad"),
        ('<child link="left_finger"/>', '<child link="link5"/>', "one parent"),
        ('velocity="2.175"', 'velocity="1.0"', "max_speed_rad_s says 2.175"),
        ('<axis xyz="0 0 1"/>', '<axis xyz="0 0 0"/>', "axis without a length"),
    ],
)
def test_a_urdf_that_does_not_fit_is_a_sentence(tmp_path: Path, text: str, replacement: str, words: str) -> None:
    assert text in URDF
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, URDF.replace(text, replacement))
    assert words in str(caught.value)
    assert "sim_arm.urdf" in str(caught.value)


def test_what_drivers_put_into_a_urdf_is_no_obstacle(tmp_path: Path) -> None:
    """Meshes that are not there, controllers with <joint> elements, a tree around the arm, extra sensors."""
    visual = '<link name="link3"><visual><geometry><mesh filename="package://x/y.dae"/></geometry></visual></link>'
    around = """
      <link name="world"/><link name="wheel"/>
      <joint name="mount" type="floating"><parent link="world"/><child link="base_link"/></joint>
      <joint name="spin" type="revolute"><parent link="base_link"/><child link="wheel"/><mimic joint="x"/></joint>
      <ros2_control name="c"><joint name="joint1"><command_interface name="position"/></joint></ros2_control>
      <transmission name="t"><joint name="joint1"/></transmission><gazebo reference="link3"/></robot>"""
    urdf = URDF.replace('<link name="link3"/>', visual).replace("</robot>", around)
    urdf = urdf.replace(
        '<joint name="hand_joint" type="fixed">', '<joint name="hand_joint" type="fixed"><axis xyz="0 0 0"/>'
    )
    urdf = urdf.replace('name="joint1" type="revolute"', 'name="joint1" type="continuous"')
    joints = kinematics().arm.posture_rad
    assert off(load(tmp_path, urdf).forward(joints), kinematics().forward(joints)) == (0.0, 0.0)


def test_speeds_come_from_the_urdf_where_the_spec_has_none(tmp_path: Path) -> None:
    spec = sim_arm()
    spec = dataclasses.replace(spec, joints=dataclasses.replace(spec.joints, max_speed_rad_s=None))
    assert load(tmp_path, URDF, spec).arm.max_speed_rad_s.tolist() == [2.175] * 4 + [2.61] * 3
    with pytest.raises(ConfigError, match="no speed limit"):
        load(tmp_path, URDF.replace('velocity="2.175"', ""), spec)


def test_a_missing_urdf_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_kinematics(sim_arm(), tmp_path)
    spec = sim_arm()
    assert spec.kinematics is not None
    heard = dataclasses.replace(spec.kinematics, urdf=None, urdf_topic="robot_description")
    with pytest.raises(ConfigError, match="robot_description"):
        load_kinematics(dataclasses.replace(spec, kinematics=heard), tmp_path)


@pytest.mark.parametrize("missing", ["mink", "mujoco"])
def test_without_the_solver_kinematics_are_refused_and_the_rest_works(missing: str) -> None:
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from pathlib import Path\n"
        "import vla_core.joint_following, vla_core.joint_trajectory\n"
        "from vla_core.kinematics import load_kinematics\n"
        "from vla_core.robot_spec import RobotSpec\n"
        f"path = Path({str(SIM_ARM)!r})\n"
        "load_kinematics(RobotSpec.load(path), path.parent)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert f"need the Python package '{missing}', which is not installed" in done.stderr


def test_an_arm_with_five_joints_follows_positions(tmp_path: Path) -> None:
    """The orientation of such an arm cannot be chosen; it must not pull the TCP off its place."""
    urdf, kept = URDF, [0, 1, 3, 5, 6]
    for joint in ("joint3", "joint5"):
        urdf = urdf.replace(f'name="{joint}" type="revolute"', f'name="{joint}" type="fixed"')
    spec = sim_arm()

    def few(values: tuple) -> tuple:  # type: ignore[type-arg]
        return tuple(values[index] for index in kept)

    joints, kinematics_spec = spec.joints, spec.kinematics
    assert kinematics_spec is not None
    assert kinematics_spec.posture_rad is not None
    assert joints.max_speed_rad_s is not None
    spec = dataclasses.replace(
        spec,
        joints=dataclasses.replace(
            joints,
            names=few(joints.names),
            lower_rad=few(joints.lower_rad),
            upper_rad=few(joints.upper_rad),
            max_speed_rad_s=few(joints.max_speed_rad_s),
        ),
        kinematics=dataclasses.replace(kinematics_spec, posture_rad=few(kinematics_spec.posture_rad)),
    )
    arm = load(tmp_path, urdf, spec)
    follower, posture = JointFollower(spec, arm), arm.arm.posture_rad
    start = arm.forward(posture)
    for step in range(100):
        turn = 2.0 * np.pi * step / 100
        shift = 0.06 * np.array([np.sin(turn), 1.0 - np.cos(turn), 0.0])
        target = Pose(start.position_m + shift, start.rotation)
        found, problem = follower.follow(target, posture, step * 20_000_000)
        assert found is not None
        assert problem is None
        assert distance_m(arm.forward(found.positions_rad), target) < 0.002


@given(st.data())
@settings(max_examples=150)
def test_a_damaged_urdf_is_read_or_refused_but_never_crashes(data: st.DataObject) -> None:
    kinematics_spec = sim_arm().kinematics
    assert kinematics_spec is not None
    begin = data.draw(st.integers(0, len(URDF)))
    end = data.draw(st.integers(begin, min(begin + 60, len(URDF))))
    damaged = URDF[:begin] + data.draw(st.text(max_size=10)) + URDF[end:]
    try:
        make_arm(sim_arm(), kinematics_spec, damaged, "robot.urdf")
    except ConfigError as error:
        assert "robot.urdf" in str(error) or "robot spec" in str(error)
