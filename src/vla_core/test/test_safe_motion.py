# SPDX-License-Identifier: Apache-2.0
"""No command leaves the limits, whatever is asked for and whenever; and the motion can always be stopped."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from motion_record import MotionRecord
from scipy.spatial.transform import Rotation
from sim_arm import sim_arm

from vla_core.geometry import Pose, distance_m
from vla_core.guard.braking import MotionLimits
from vla_core.guard.safe_motion import SafeMotion
from vla_core.guard.workspace import Workspace
from vla_core.robot_spec import LimitsSpec

SPEC_LIMITS = sim_arm().limits
DT_S = 0.02
START = Pose.from_euler([0.45, 0.0, 0.3], [np.pi, 0.0, 0.0])


def limits_with(acceleration: float, jerk: float) -> LimitsSpec:
    return dataclasses.replace(
        SPEC_LIMITS,
        max_acceleration_m_s2=acceleration,
        max_acceleration_rad_s2=3.0 * acceleration,
        max_jerk_m_s3=jerk,
        max_jerk_rad_s3=3.0 * jerk,
    )


def motion_with(limits: LimitsSpec) -> SafeMotion:
    made = SafeMotion(MotionLimits.of(limits), Workspace(limits), DT_S)
    made.begin(START)
    return made


limit_sets = st.sampled_from([(10.0, 4000.0), (6.0, 600.0), (3.0, 100.0), (1.0, 10.0), (0.3, 1.0), (50.0, 5e4)])


@settings(max_examples=80)
@given(limit_sets, st.integers(0, 2**32 - 1), st.floats(-6.0, 1.0))
def test_whatever_is_asked_for_no_command_leaves_the_limits(
    strength: tuple[float, float], seed: int, size_exponent: float
) -> None:
    limits, rng, size_m = limits_with(*strength), np.random.default_rng(seed), 10.0**size_exponent
    motion = motion_with(limits)
    record = MotionRecord(START)
    for _ in range(150):
        position_m = START.position_m + rng.normal(scale=size_m, size=3)
        turn = Rotation.from_rotvec(rng.normal(scale=size_m, size=3))
        if rng.random() < 0.1:
            motion.coast(DT_S)
        else:
            motion.follow(Pose(position_m, turn * START.rotation), rng.normal(scale=5 * size_m, size=(2, 3)), DT_S)
        record.add(motion.pose, DT_S)
    record.assert_within(limits)


@settings(max_examples=40)
@given(limit_sets, st.lists(st.floats(1e-4, 0.05), min_size=5, max_size=60), st.integers(0, 2**32 - 1))
def test_commands_at_any_times_keep_the_speed_and_the_workspace(
    strength: tuple[float, float], dts_s: list[float], seed: int
) -> None:
    limits, rng = limits_with(*strength), np.random.default_rng(seed)
    motion = motion_with(limits)
    record = MotionRecord(START)
    for dt_s in dts_s:
        motion.follow(Pose(rng.uniform([-1, -1, -1], [2, 2, 2]), START.rotation), np.zeros((2, 3)), dt_s)
        record.add(motion.pose, dt_s)
    record.assert_within(limits)


@settings(max_examples=40)
@given(limit_sets, st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_at_any_moment_the_arm_can_be_stopped_within_the_limits(
    strength: tuple[float, float], seed: int, when: int
) -> None:
    limits, rng = limits_with(*strength), np.random.default_rng(seed)
    motion = motion_with(limits)
    record = MotionRecord(START)
    for _ in range(when):
        motion.follow(Pose(rng.uniform([-1, -1, -1], [2, 2, 2]), START.rotation), np.zeros((2, 3)), DT_S)
        record.add(motion.pose, DT_S)
    end = motion.rest_pose
    speed, jerk = limits.max_speed_m_s, limits.max_jerk_m_s3
    longest_s = 2.0 * max(np.sqrt(6.0 * speed / jerk), 1.5 * speed / limits.max_acceleration_m_s2)
    longest_s += limits.max_acceleration_m_s2 / jerk + 0.5
    for _ in range(int(longest_s / DT_S) + 50):
        record.add(motion.coast(DT_S), DT_S)
    assert motion.is_at_rest
    assert distance_m(motion.pose, end) < 1e-9
    record.assert_within(limits)


@pytest.mark.parametrize(
    ("strength", "lag_mm"), [((10.0, 4000.0), 4.0), ((6.0, 600.0), 10.0), ((3.0, 100.0), 30.0)]
)
def test_a_reference_that_turns_back_and_forth_is_followed(strength: tuple[float, float], lag_mm: float) -> None:
    motion = motion_with(limits_with(*strength))
    x_m, worst_mm = START.position_m[0], 0.0
    for k in range(200):
        reference = Pose(np.array([x_m, 0.0, 0.3]), START.rotation)
        speed_m_s = 0.2 if (k // 25) % 2 == 0 else -0.2
        motion.follow(reference, np.array([[speed_m_s, 0, 0], [0, 0, 0]]), DT_S)
        x_m += speed_m_s * DT_S
        worst_mm = max(worst_mm, 1e3 * distance_m(motion.pose, reference))
    assert worst_mm < lag_mm


@pytest.mark.parametrize("strength", [(10.0, 4000.0), (3.0, 100.0), (1.0, 10.0)])
def test_a_steady_reference_is_followed_without_lag_and_a_standing_one_is_reached(
    strength: tuple[float, float],
) -> None:
    motion = motion_with(limits_with(*strength))
    for k in range(300):
        reference = Pose(START.position_m + np.array([0.0, 0.05 * (k + 1) * DT_S, 0.0]), START.rotation)
        motion.follow(reference, np.array([[0, 0.05, 0], [0, 0, 0]]), DT_S)
    assert distance_m(motion.pose, reference) < 1e-4
    for _ in range(300):
        motion.follow(reference, np.zeros((2, 3)), DT_S)
    assert distance_m(motion.pose, reference) < 1e-5


@pytest.mark.parametrize("strength", [(10.0, 4000.0), (6.0, 600.0), (5.0, 500.0), (1.0, 20.0), (0.5, 5.0)])
@pytest.mark.parametrize("speed_m_s", [0.35, 0.05, 0.02])
def test_a_reference_that_is_too_fast_is_chased_steadily(strength: tuple[float, float], speed_m_s: float) -> None:
    limits = dataclasses.replace(limits_with(*strength), max_speed_m_s=speed_m_s, workspace_max_m=(10.0, 0.5, 0.6))
    motion = motion_with(limits)
    record, speeds_m_s = MotionRecord(START), []
    for k in range(400):
        ahead_m = 0.03 + speed_m_s * DT_S * k
        reference = Pose(START.position_m + np.array([ahead_m, 0.0, 0.0]), START.rotation)
        before_m = motion.pose.position_m[0]
        motion.follow(reference, np.array([[speed_m_s, 0, 0], [0, 0, 0]]), DT_S)
        record.add(motion.pose, DT_S)
        speeds_m_s.append((motion.pose.position_m[0] - before_m) / DT_S)
    assert min(speeds_m_s) >= 0.0
    assert np.mean(speeds_m_s[200:]) > 0.9 * speed_m_s
    record.assert_within(limits)
