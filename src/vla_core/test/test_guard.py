# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pose_strategies import poses
from scipy.spatial.transform import Rotation
from sim_arm import sim_arm

from vla_core.geometry import Pose, angle_rad, distance_m
from vla_core.guard import Guard, GuardStage

LIMITS = sim_arm().limits
LOW, HIGH = np.array(LIMITS.workspace_min_m), np.array(LIMITS.workspace_max_m)
MIDDLE = Pose((LOW + HIGH) / 2, Rotation.identity())
EPSILON = 1e-9

inside = st.tuples(*[st.floats(0.0, 1.0)] * 3).map(lambda share: LOW + np.array(share) * (HIGH - LOW))


def moved(x_m: float = 0.0, yaw_rad: float = 0.0) -> Pose:
    return Pose(MIDDLE.position_m + np.array([x_m, 0, 0]), Rotation.from_euler("z", yaw_rad))


@given(poses(), poses())
def test_an_admitted_goal_is_within_one_step(reference: Pose, goal: Pose) -> None:
    admitted = Guard(LIMITS).admit(reference, goal)
    assert admitted is not None
    assert distance_m(reference, admitted) <= LIMITS.max_step_m + EPSILON
    assert angle_rad(reference, admitted) <= LIMITS.max_step_rad + 1e-6


@given(inside, poses(), st.floats(0.0, 0.1))
def test_a_command_is_within_speed_and_workspace(start_m: np.ndarray, target: Pose, dt_s: float) -> None:
    previous = Pose(start_m, target.rotation * Rotation.from_euler("x", 0.5))
    pose = Guard(LIMITS).limit(previous, target, dt_s)
    assert distance_m(previous, pose) <= LIMITS.max_speed_m_s * dt_s + EPSILON
    assert angle_rad(previous, pose) <= LIMITS.max_speed_rad_s * dt_s + 1e-6
    assert np.all(pose.position_m >= LOW - EPSILON)
    assert np.all(pose.position_m <= HIGH + EPSILON)


@given(poses(), poses(), st.floats(0.0, 0.1))
def test_from_outside_the_box_no_command_goes_further_out(previous: Pose, target: Pose, dt_s: float) -> None:
    pose = Guard(LIMITS).limit(previous, target, dt_s)

    def out_m(position_m: np.ndarray) -> np.ndarray:
        return np.maximum(LOW - position_m, 0) + np.maximum(position_m - HIGH, 0)

    assert np.all(out_m(pose.position_m) <= out_m(previous.position_m) + EPSILON)
    assert distance_m(previous, pose) <= LIMITS.max_speed_m_s * dt_s + EPSILON


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_target_that_is_not_finite_holds(value: float) -> None:
    guard = Guard(LIMITS)
    broken = Pose(np.array([value, 0, 0]), Rotation.identity())
    assert guard.limit(MIDDLE, broken, 0.02) is MIDDLE
    assert guard.admit(MIDDLE, broken) is None
    assert guard.interventions[GuardStage.FINITE] == 2


def test_what_is_allowed_passes_untouched_and_uncounted() -> None:
    guard = Guard(LIMITS)
    near = moved(0.001, 0.001)
    assert guard.admit(MIDDLE, near) is near
    assert guard.limit(MIDDLE, near, 0.02) is near
    assert not any(guard.interventions.values())


@pytest.mark.parametrize(
    ("stage", "act"),
    [
        (GuardStage.STEP, lambda guard: guard.admit(MIDDLE, moved(1.0))),
        (GuardStage.STEP, lambda guard: guard.admit(MIDDLE, moved(0.0, 1.0))),
        (GuardStage.SPEED, lambda guard: guard.limit(MIDDLE, moved(0.1), 0.02)),
        (GuardStage.WORKSPACE, lambda guard: guard.limit(moved(HIGH[0] - MIDDLE.position_m[0]), moved(5.0), 0.02)),
        (GuardStage.AGE, lambda guard: guard.count_refused_observation()),
        (GuardStage.FINITE, lambda guard: guard.are_finite(np.array([0.0, np.nan]))),
    ],
)
def test_each_stage_counts_what_it_did(stage: GuardStage, act: object) -> None:
    guard = Guard(LIMITS)
    act(guard)  # type: ignore[operator]
    assert guard.interventions[stage] == 1


@pytest.mark.parametrize(
    ("position_m", "is_refused"),
    [([0.4, 0, 0.3], False), ([0.4, 0, 0.0], False), ([50, 0, 0.3], True), ([400, 0, 300], True)],
)
def test_no_motion_begins_far_outside_the_box(position_m: list[float], is_refused: bool) -> None:
    why = Guard(LIMITS).why_not_start_at(Pose(np.array(position_m, dtype=float), Rotation.identity()), 0.05)
    assert (why is not None) == is_refused
    assert why is None or "outside the workspace" in why


def test_clamping_keeps_the_direction() -> None:
    admitted = Guard(LIMITS).admit(MIDDLE, moved(1.0))
    assert admitted is not None
    np.testing.assert_allclose(admitted.position_m - MIDDLE.position_m, [LIMITS.max_step_m, 0, 0], atol=1e-12)
