# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pose_strategies import poses
from scipy.spatial.transform import Rotation
from sim_arm import sim_arm

from vla_core.geometry import Pose, angle_rad, distance_m
from vla_core.guard import STAGES, Guard
from vla_core.robot_spec import DEFAULT_REACTIONS, GuardStageName, KeepOutBox, LimitsSpec, Reaction

LIMITS = sim_arm().limits
LOW, HIGH = np.array(LIMITS.workspace_min_m), np.array(LIMITS.workspace_max_m)
MIDDLE = Pose((LOW + HIGH) / 2, Rotation.identity())
DT_S = 0.02
STILL = np.zeros((2, 3))
EPSILON = 1e-9


def guard_at(pose: Pose = MIDDLE, limits: LimitsSpec = LIMITS) -> Guard:
    made = Guard(limits, DT_S)
    made.begin(pose)
    return made


def moved(x_m: float = 0.0, yaw_rad: float = 0.0) -> Pose:
    return Pose(MIDDLE.position_m + np.array([x_m, 0, 0]), Rotation.from_euler("z", yaw_rad))


def settled(guard: Guard, reference: Pose, commands: int = 200) -> Pose:
    """Follow a reference that stands still; return where the motion has come to rest."""
    for _ in range(commands):
        guard.follow(reference, STILL, DT_S)
    return guard.pose


@given(poses(), poses())
def test_an_admitted_goal_is_within_one_step(reference: Pose, goal: Pose) -> None:
    admitted = guard_at().admit(reference, goal)
    assert admitted is not None
    assert distance_m(reference, admitted) <= LIMITS.max_step_m + EPSILON
    assert angle_rad(reference, admitted) <= LIMITS.max_step_rad + 1e-6


def test_a_goal_that_stands_still_is_reached() -> None:
    guard = guard_at()
    end = settled(guard, moved(0.05, 0.2))
    assert distance_m(end, moved(0.05)) < 1e-6
    assert angle_rad(end, moved(0.0, 0.2)) < 1e-6


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_reference_that_is_not_finite_holds(value: float) -> None:
    guard = guard_at()
    broken = Pose(np.array([value, 0, 0]), Rotation.identity())
    assert guard.follow(broken, STILL, DT_S) is MIDDLE
    assert guard.follow(MIDDLE, np.full((2, 3), value), DT_S) is MIDDLE
    assert guard.admit(MIDDLE, broken) is None
    assert guard.interventions["finite"] == 3


def test_what_is_allowed_passes_uncounted() -> None:
    guard = guard_at()
    near = moved(0.001, 0.001)
    assert guard.admit(MIDDLE, near) is near
    settled(guard, near)
    assert not any(guard.interventions.values())


def trip_step(guard: Guard) -> None:
    guard.admit(MIDDLE, moved(1.0))


def trip_speed(guard: Guard) -> None:
    guard.follow(moved(0.1), STILL, DT_S)


def trip_workspace(guard: Guard) -> None:
    guard.admit(Pose(HIGH, MIDDLE.rotation), Pose(HIGH + 0.01, MIDDLE.rotation))


def trip_acceleration(guard: Guard) -> None:
    guard.follow(moved(0.006), np.array([[0.3, 0, 0], [0, 0, 0]]), DT_S)


def trip_finite(guard: Guard) -> None:
    guard.are_finite(np.array([0.0, np.nan]))


@pytest.mark.parametrize(
    ("stage", "act"),
    [
        ("finite", trip_finite),
        ("step", trip_step),
        ("speed", trip_speed),
        ("workspace", trip_workspace),
        ("acceleration", trip_acceleration),
    ],
)
@pytest.mark.parametrize("reaction", ["clamp", "hold", "stop"])
def test_each_stage_counts_and_does_what_the_robot_spec_says(
    stage: GuardStageName, act: object, reaction: Reaction
) -> None:
    if stage == "finite" and reaction == "clamp":
        pytest.skip("what is not finite cannot be clamped; the robot spec refuses to be written so")
    guard = guard_at(limits=dataclasses.replace(LIMITS, reactions={stage: reaction}))
    act(guard)  # type: ignore[operator]
    assert guard.interventions[stage] == 1
    assert sum(guard.interventions.values()) - guard.interventions["acceleration"] <= 1
    if reaction == "clamp":
        assert guard.trip is None
        return
    assert guard.trip is not None
    assert (guard.trip.stage, guard.trip.needs_arming) == (stage, reaction == "stop")
    guard.forget_trip(armed=False)
    assert (guard.trip is None) == (reaction == "hold")
    guard.forget_trip(armed=True)
    assert guard.trip is None


def test_every_stage_has_a_usual_reaction() -> None:
    assert set(STAGES) == set(DEFAULT_REACTIONS)


@pytest.mark.parametrize("position_m", [(5, 0, 0.3), (0.4, 0, -1), (np.nan, 0, 0.3), (np.inf, 0, 0)])
def test_no_motion_begins_at_an_implausible_pose(position_m: tuple[float, ...]) -> None:
    why = guard_at().why_not_start_at(Pose(np.array(position_m, dtype=float), Rotation.identity()), 0.05)
    assert why is not None
    assert "outside the workspace" in why


def test_a_clamped_step_keeps_its_direction() -> None:
    admitted = guard_at().admit(MIDDLE, moved(1.0))
    assert admitted is not None
    np.testing.assert_allclose(admitted.position_m - MIDDLE.position_m, [LIMITS.max_step_m, 0, 0], atol=1e-12)


POST = KeepOutBox(name="post", min_m=(0.45, -0.05, 0.0), max_m=(0.5, 0.05, 1.0))
WITH_POST = dataclasses.replace(LIMITS, keep_out=(POST,))


def is_in_post(position_m: np.ndarray) -> bool:
    return bool(np.all((position_m > np.array(POST.min_m) + 1e-6) & (position_m < np.array(POST.max_m) - 1e-6)))


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_the_tcp_never_enters_a_keep_out_box(seed: int) -> None:
    rng = np.random.default_rng(seed)
    guard = guard_at(Pose(np.array([0.4, 0.0, 0.3]), Rotation.identity()), WITH_POST)
    reference = guard.pose
    for _ in range(60):
        aim = Pose(rng.uniform([0.4, -0.1, 0.25], [0.6, 0.1, 0.35]), Rotation.identity())
        for _ in range(int(rng.integers(1, 20))):
            way_m = (aim.position_m - reference.position_m) * 0.2
            reference = Pose(reference.position_m + way_m, reference.rotation)
            guard.follow(reference, np.stack([way_m / DT_S, np.zeros(3)]), DT_S)
            assert not is_in_post(guard.pose.position_m)


def test_a_tcp_that_starts_in_a_keep_out_box_comes_out_on_the_near_side() -> None:
    guard = guard_at(Pose(np.array([0.455, 0.0, 0.3]), Rotation.identity()), WITH_POST)
    deeper = Pose(np.array([0.48, 0.0, 0.3]), Rotation.identity())
    assert settled(guard, deeper).position_m[0] <= 0.455 + 1e-6
    assert settled(guard, Pose(np.array([0.42, 0.0, 0.3]), Rotation.identity())).position_m[0] < 0.4501


def test_from_outside_the_workspace_the_way_leads_only_in() -> None:
    outside = Pose(np.array([HIGH[0] + 0.03, 0.0, 0.3]), Rotation.identity())
    guard = guard_at(outside)
    settled(guard, Pose(outside.position_m + np.array([0.1, 0, 0]), outside.rotation))
    assert guard.pose.position_m[0] <= outside.position_m[0] + EPSILON
    assert settled(guard, MIDDLE, 400).position_m[0] < HIGH[0]


def boxes(*corners: tuple[tuple[float, float, float], tuple[float, float, float]]) -> LimitsSpec:
    made = tuple(KeepOutBox(name=str(k), min_m=low, max_m=high) for k, (low, high) in enumerate(corners))
    return dataclasses.replace(LIMITS, keep_out=made)


TABLE = ((0.1, -0.6, 0.0), (0.85, 0.6, 0.15))
LEFT, RIGHT = ((0.4, -0.1, 0.0), (0.5, 0.1, 0.7)), ((0.5, -0.1, 0.0), (0.6, 0.1, 0.7))
WIDE_LEFT, WIDE_RIGHT = ((0.4, -0.1, 0.0), (0.52, 0.1, 0.7)), ((0.48, -0.1, 0.0), (0.6, 0.1, 0.7))


@pytest.mark.parametrize(
    ("limits", "start_m", "goal_m"),
    [
        (boxes(TABLE), (0.45, 0.0, 0.012), (0.45, 0.0, 0.3)),  # the near side is below the workspace
        (boxes(LEFT, RIGHT), (0.49, 0.0, 0.3), (0.35, 0.0, 0.3)),  # the near side is the other box
        (boxes(WIDE_LEFT, WIDE_RIGHT), (0.5, 0.02, 0.3), (0.5, 0.3, 0.3)),  # inside both
    ],
)
def test_there_is_a_way_out_of_keep_out_boxes(
    limits: LimitsSpec, start_m: tuple[float, ...], goal_m: tuple[float, ...]
) -> None:
    guard = guard_at(Pose(np.array(start_m), Rotation.identity()), limits)
    goal = Pose(np.array(goal_m), Rotation.identity())
    assert distance_m(settled(guard, goal, 300), goal) < 1e-6


def test_no_motion_leads_between_keep_out_boxes_that_touch() -> None:
    guard = guard_at(Pose(np.array([0.5, 0.2, 0.3]), Rotation.identity()), boxes(LEFT, RIGHT))
    assert settled(guard, Pose(np.array([0.5, -0.2, 0.3]), Rotation.identity()), 300).position_m[1] >= 0.1
    admitted = guard.admit(guard.pose, Pose(np.array([0.5, 0.095, 0.3]), Rotation.identity()))
    assert admitted is not None
    assert admitted.position_m[1] >= 0.1
