# SPDX-License-Identifier: Apache-2.0
"""TCP poses to joints over time: no jump, no limit broken, and a value that says when the arm cannot follow."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pose_strategies import poses
from scipy.spatial.transform import Rotation
from sim_arm import SIM_ARM, sim_arm

from vla_core.geometry import Pose, distance_m
from vla_core.joint_following import RESIDUAL_M, JointFollower
from vla_core.joint_trajectory import JointTrajectory, TrajectoryPlanner
from vla_core.kinematics import load_kinematics
from vla_core.kinematics.solver import Kinematics
from vla_core.robot_spec import RobotSpec
from vla_core.types import PosePath

PERIOD_NS = 20_000_000


@cache
def kinematics() -> Kinematics:
    return load_kinematics(sim_arm(), SIM_ARM.parent)


def reacting(reaction: str) -> RobotSpec:
    spec = sim_arm()
    return dataclasses.replace(spec, limits=dataclasses.replace(spec.limits, reactions={"joints": reaction}))


HOME = sim_arm().kinematics.posture_rad  # type: ignore[union-attr]
HOME_RAD = np.array(HOME)


def home() -> Pose:
    return kinematics().forward(HOME_RAD)


def moved(pose: Pose, *shift_m: float) -> Pose:
    return Pose(pose.position_m + np.array(shift_m), pose.rotation)


def path_from(start_ns: int, poses_: list[Pose]) -> PosePath:
    return PosePath(start_ns + PERIOD_NS * np.arange(len(poses_)), tuple(poses_))


def circle(turn: float) -> Pose:
    return moved(home(), 0.05 * np.sin(turn), 0.1 * (1.0 - np.cos(turn)), 0.03 * np.sin(2.0 * turn))


def test_a_row_of_poses_is_followed_to_a_tenth_of_a_millimetre() -> None:
    follower, joints = JointFollower(sim_arm(), kinematics()), HOME_RAD
    for step in range(100):
        target = circle(2.0 * np.pi * step / 100)
        found, problem = follower.follow(target, HOME_RAD, step * PERIOD_NS)
        assert found is not None
        assert problem is None
        assert distance_m(kinematics().forward(found.positions_rad), target) < 1e-4
        assert found.velocities_rad_s == pytest.approx((found.positions_rad - joints) / 0.02)
        joints = found.positions_rad


@given(st.lists(poses(), min_size=1, max_size=6), st.lists(st.integers(0, 200_000_000), min_size=6, max_size=6))
@settings(max_examples=100)
def test_whatever_is_asked_joints_stay_within_limits_and_speeds(targets: list[Pose], waits: list[int]) -> None:
    arm, follower = kinematics().arm, JointFollower(sim_arm(), kinematics())
    before, _ = follower.follow(home(), HOME_RAD, 0)
    assert before is not None
    now_ns = 0
    for target, wait_ns in zip(targets, waits, strict=False):
        now_ns += wait_ns
        step, problem = follower.follow(target, None, now_ns)
        assert step is not None
        assert np.all(step.positions_rad >= arm.lower_rad)
        assert np.all(step.positions_rad <= arm.upper_rad)
        assert np.all(np.abs(step.velocities_rad_s) <= arm.max_speed_rad_s * (1.0 + 1e-9))
        assert np.max(np.abs(step.positions_rad - before.positions_rad)) <= arm.max_speed_rad_s.max() * 0.04 + 1e-9
        reached_m = distance_m(kinematics().forward(step.positions_rad), target)
        assert problem is not None or reached_m <= RESIDUAL_M
        before = step


@pytest.mark.parametrize("reaction", ["clamp", "hold", "stop"])
def test_a_pose_out_of_reach_is_said_and_only_a_clamp_goes_nearer(reaction: str) -> None:
    follower = JointFollower(reacting(reaction), kinematics())
    follower.follow(home(), HOME_RAD, 0)
    far = moved(home(), 0.6, 0.0, 0.3)
    for step in range(1, 100):
        found, problem = follower.follow(far, HOME_RAD, step * PERIOD_NS)
        assert found is not None
        assert problem is not None
        assert problem.can_clamp
        assert "cannot follow" in problem.sentence
    way_m = distance_m(kinematics().forward(found.positions_rad), home())
    assert way_m > 0.1 if reaction == "clamp" else way_m == 0.0


def test_kinematics_that_contradict_the_measured_pose_begin_no_motion() -> None:
    follower, planner = JointFollower(sim_arm(), kinematics()), TrajectoryPlanner(sim_arm(), kinematics())
    elsewhere = Pose(home().position_m, home().rotation * Rotation.from_euler("z", 0.5))
    for found, problem in (
        follower.follow(elsewhere, HOME_RAD, 0),
        planner.plan(path_from(0, [elsewhere]), HOME_RAD, 0),
    ):
        assert found is None
        assert problem is not None
        assert not problem.can_clamp
        assert "0.500 rad away" in problem.sentence


def test_without_measured_joints_nothing_begins_and_nothing_breaks() -> None:
    follower, planner = JointFollower(sim_arm(), kinematics()), TrajectoryPlanner(sim_arm(), kinematics())
    assert follower.follow(home(), None, 0) == (None, None)
    assert follower.hold(0) is None
    assert planner.plan(path_from(0, [home()]), None, 0) == (None, None)
    assert planner.brake(0) is None


def test_a_released_arm_begins_at_the_measured_joints_again() -> None:
    follower = JointFollower(sim_arm(), kinematics())
    follower.follow(home(), HOME_RAD, 0)
    follower.release()
    elsewhere = HOME_RAD + 0.2
    found, problem = follower.follow(kinematics().forward(elsewhere), elsewhere, PERIOD_NS)
    assert found is not None
    assert problem is None
    assert found.positions_rad == pytest.approx(elsewhere, abs=1e-6)


def require_within_limits(trajectory: JointTrajectory) -> None:
    arm = kinematics().arm
    positions, velocities = trajectory.sample(np.linspace(0.0, trajectory.times_s[-1], 200))
    assert np.all(positions >= arm.lower_rad - 1e-9)
    assert np.all(positions <= arm.upper_rad + 1e-9)
    assert np.all(np.abs(velocities) <= 1.02 * arm.max_speed_rad_s)
    assert np.all(trajectory.velocities_rad_s[-1] == 0.0)
    assert np.all(np.diff(trajectory.times_s) > 0.0)


def test_a_chunk_is_one_spline_that_follows_the_path() -> None:
    planner = TrajectoryPlanner(sim_arm(), kinematics())
    wanted = [circle(np.pi * (1.0 - np.cos(np.pi * step / 100))) for step in range(101)]
    trajectory, problem = planner.plan(path_from(0, wanted), HOME_RAD, 0)
    assert trajectory is not None
    assert problem is None
    require_within_limits(trajectory)
    off_m = [
        distance_m(kinematics().forward(trajectory.state_at(step * PERIOD_NS)[0]), pose)
        for step, pose in enumerate(wanted)
    ]
    assert max(off_m) < 5e-4


@given(
    st.lists(st.lists(poses(), min_size=1, max_size=12), min_size=1, max_size=4),
    st.lists(st.integers(1_000_000, 300_000_000), min_size=4, max_size=4),
)
@settings(max_examples=100)
def test_a_trajectory_begins_where_the_one_before_it_is(plans: list[list[Pose]], waits: list[int]) -> None:
    planner = TrajectoryPlanner(sim_arm(), kinematics())
    before, _ = planner.plan(path_from(0, [home()] * 3), HOME_RAD, 0)
    now_ns = 0
    for wanted, wait_ns in zip(plans, waits, strict=False):
        now_ns += wait_ns
        after, _ = planner.plan(path_from(now_ns, wanted), None, now_ns)
        assert before is not None
        assert after is not None
        for old, new in zip(before.state_at(now_ns), after.state_at(now_ns), strict=True):
            assert new == pytest.approx(old, abs=1e-9)
        require_within_limits(after)
        before = after
    now_ns += 30_000_000
    brake = planner.brake(now_ns)
    assert brake is not None
    assert before is not None
    assert brake.state_at(now_ns)[1] == pytest.approx(before.state_at(now_ns)[1], abs=1e-9)
    assert brake.end_ns - now_ns <= 100_000_000
    require_within_limits(brake)


@pytest.mark.parametrize("reaction", ["hold", "stop"])
def test_a_path_that_cannot_be_followed_is_not_begun(reaction: str) -> None:
    planner = TrajectoryPlanner(reacting(reaction), kinematics())
    planner.plan(path_from(0, [home()]), HOME_RAD, 0)
    trajectory, problem = planner.plan(path_from(PERIOD_NS, [moved(home(), 1.0)] * 5), HOME_RAD, PERIOD_NS)
    assert problem is not None
    assert trajectory is not None
    assert trajectory.positions_rad[-1] == pytest.approx(HOME_RAD, abs=1e-3)
