# SPDX-License-Identifier: Apache-2.0
import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from motion_record import MotionRecord
from pose_strategies import assert_pose_close
from sim_arm import sim_arm

from vla_core.actions.action_space import ActionSpace, target_pose
from vla_core.controller import ActionController
from vla_core.geometry import Pose, distance_m

SPEC = sim_arm()
SPACE = ActionSpace(frame="tcp")
PERIOD_NS = 100_000_000
TICK_NS = 20_000_000
HOME = Pose.from_euler([0.45, 0.0, 0.3], [np.pi, 0.0, 0.0])
FORWARD = np.array([0.5, 0, 0, 0, 0, 0.5, 0.5])


def controller(reference: str = "target") -> ActionController:
    command = dataclasses.replace(SPEC.command, reference=reference)
    made = ActionController(dataclasses.replace(SPEC, command=command), SPACE, PERIOD_NS * 1e-9)
    made.anchor(HOME, 0)
    return made


def run(made: ActionController, action: np.ndarray, periods: int, measured: Pose | None = None) -> Pose:
    """Act for some periods on an arm that follows perfectly (or stands at ``measured``)."""
    pose = HOME
    for period in range(periods):
        made.begin(action, measured or pose, period * PERIOD_NS)
        for tick in range(1, 6):
            pose = made.command(period * PERIOD_NS + tick * TICK_NS).pose_tcp_in_base
    return settled(made, periods * PERIOD_NS)


def settled(made: ActionController, now_ns: int, seconds: float = 1.0) -> Pose:
    """Command until the arm rests; return where."""
    for _ in range(round(seconds * 1e9 / TICK_NS)):
        now_ns += TICK_NS
        pose = made.command(now_ns).pose_tcp_in_base
    assert made.guard.is_at_rest
    return pose


def test_an_action_ends_where_it_says() -> None:
    assert_pose_close(run(controller(), FORWARD, 1), target_pose(SPACE, HOME, FORWARD), atol=1e-5)


def test_one_command_after_the_period_the_command_is_nearly_there() -> None:
    made = controller()
    made.begin(FORWARD, HOME, 0)
    for k in range(1, 7):
        pose = made.command(k * TICK_NS).pose_tcp_in_base
    assert distance_m(pose, target_pose(SPACE, HOME, FORWARD)) < 1e-3


def test_actions_accumulate_on_the_target_and_not_on_a_lagging_arm() -> None:
    expected = HOME
    for _ in range(4):
        expected = target_pose(SPACE, expected, FORWARD)
    assert_pose_close(run(controller("target"), FORWARD, 4, measured=HOME), expected)
    assert_pose_close(run(controller("measured"), FORWARD, 4, measured=HOME), target_pose(SPACE, HOME, FORWARD))


def test_a_target_that_strays_from_a_blocked_arm_is_anchored_again() -> None:
    end = run(controller("target"), FORWARD, 30, measured=HOME)
    assert distance_m(end, HOME) < SPEC.command.reanchor_m + SPEC.limits.max_step_m


def test_an_arm_that_was_moved_away_is_not_pulled_back() -> None:
    made = controller()
    run(made, FORWARD, 3)
    moved = Pose.from_euler([0.45, 0.25, 0.3], [np.pi, 0.0, 0.0])
    now_ns = 30 * PERIOD_NS
    assert made.has_been_silent(now_ns)
    made.begin(FORWARD, moved, now_ns)
    for tick in range(7):
        pose = made.command(now_ns + tick * TICK_NS).pose_tcp_in_base
        assert distance_m(pose, moved) <= 0.0105


def test_commands_move_steadily_between_policy_ticks() -> None:
    made = controller()
    now_ns = 0
    for _ in range(10):
        made.begin(FORWARD, HOME, now_ns)
        poses = []
        for _ in range(5):
            now_ns += TICK_NS
            poses.append(made.command(now_ns).pose_tcp_in_base)
    # The reference reaches a goal one command after the period, so it moves at 5/6 of the way per period.
    ways_m = [distance_m(a, b) for a, b in itertools.pairwise(poses)]
    np.testing.assert_allclose(ways_m, 0.01 / 5, rtol=0.25)


def test_without_a_new_action_the_arm_stands_still() -> None:
    made = controller()
    made.begin(FORWARD, HOME, 0)
    there = settled(made, 0)
    assert_pose_close(made.command(80 * TICK_NS).pose_tcp_in_base, there)


def test_a_motion_goes_on_without_a_stop_when_the_next_action_comes_between_two_commands() -> None:
    made = controller()
    poses, now_ns = [(HOME, 0)], 0
    for _ in range(5):
        made.begin(FORWARD, HOME, now_ns)
        for dt_ns in (1_000_000, TICK_NS, TICK_NS, TICK_NS, TICK_NS, TICK_NS - 2_000_000, 6_000_000):
            now_ns += dt_ns
            poses.append((made.command(now_ns).pose_tcp_in_base, dt_ns))
    speeds = [
        distance_m(before, after) / (dt_ns * 1e-9) for (before, _), (after, dt_ns) in itertools.pairwise(poses)
    ]
    assert min(speeds[7:]) > 0.05


def test_a_wall_is_left_by_as_many_actions_as_lead_away_from_it() -> None:
    limits = dataclasses.replace(SPEC.limits, workspace_max_m=(0.5, 1.0, 1.0))
    made = ActionController(dataclasses.replace(SPEC, limits=limits), ActionSpace(frame="base"), 0.1)
    made.anchor(HOME, 0)
    out, back = np.array([1, 0, 0, 0, 0, 0, 0.5]), np.array([-1, 0, 0, 0, 0, 0, 0.5])
    now_ns, pose = 0, HOME
    for action in [out] * 10 + [back]:
        made.begin(action, pose, now_ns)
        for _ in range(5):
            now_ns += TICK_NS
            pose = made.command(now_ns).pose_tcp_in_base
    assert settled(made, now_ns).position_m[0] == pytest.approx(0.5 - 0.02, abs=1e-5)


def test_hold_stops_on_the_way() -> None:
    made = controller()
    made.begin(FORWARD, HOME, 0)
    for k in range(1, 4):
        half_way = made.command(k * TICK_NS).pose_tcp_in_base
    made.hold()
    held = settled(made, 3 * TICK_NS)
    assert distance_m(held, half_way) < 0.005
    assert distance_m(held, target_pose(SPACE, HOME, FORWARD)) > 0.002


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("column", range(7))
def test_an_action_that_is_not_finite_stops_the_arm(value: float, column: int) -> None:
    made = controller()
    made.begin(FORWARD, HOME, 0)
    there = made.command(2 * TICK_NS).pose_tcp_in_base
    broken = FORWARD.copy()
    broken[column] = value
    assert not made.begin(broken, HOME, 2 * TICK_NS)
    assert distance_m(settled(made, 2 * TICK_NS), there) < 0.005
    assert made.guard.interventions["finite"] == 1


def test_the_gripper_is_left_alone_until_decided_and_does_not_chatter() -> None:
    made = controller()
    decisions = []
    for gripper_open in [0.5, 0.54, 0.56, 0.5, 0.46, 0.44, 0.5, 0.9]:
        made.begin([*FORWARD[:6], gripper_open], HOME, 0)
        decisions.append(made.command(0).gripper_open)
    assert decisions == [None, None, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    made.release()
    made.anchor(HOME, 0)
    assert made.command(0).gripper_open is None, "a person may have moved it"


def test_a_command_before_the_first_measured_pose_is_a_programming_error() -> None:
    with pytest.raises(AssertionError, match="anchor"):
        ActionController(SPEC, SPACE, 0.1).command(0)


numbers = st.floats(-1.5, 1.5) | st.sampled_from([np.nan, np.inf, -np.inf, 1e300, -1e300, 0.0])
actions = st.lists(numbers, min_size=7, max_size=7).map(np.array)


@given(st.lists(st.tuples(actions, st.integers(0, 6)), min_size=1, max_size=20))
def test_whatever_the_policy_says_no_command_leaves_the_limits(steps: list[tuple[np.ndarray, int]]) -> None:
    made, now_ns, record = controller(), 0, MotionRecord(HOME)
    for action, num_ticks in steps:
        made.begin(action, record.poses[-1], now_ns)
        for _ in range(num_ticks):
            now_ns += TICK_NS
            record.add(made.command(now_ns).pose_tcp_in_base, TICK_NS * 1e-9)
    record.assert_within(SPEC.limits)


def test_a_guard_that_says_stop_lets_nothing_begin_until_it_is_armed() -> None:
    limits = dataclasses.replace(SPEC.limits, reactions={"finite": "stop"})
    made = ActionController(dataclasses.replace(SPEC, limits=limits), SPACE, 0.1)
    made.anchor(HOME, 0)
    made.begin(np.full(7, np.nan), HOME, 0)
    made.begin(FORWARD, HOME, TICK_NS)
    assert_pose_close(settled(made, TICK_NS), HOME)
    made.guard.forget_trip(armed=True)
    made.begin(FORWARD, HOME, 60 * TICK_NS)
    assert_pose_close(settled(made, 60 * TICK_NS), target_pose(SPACE, HOME, FORWARD), atol=1e-5)


def test_half_of_an_action_goes_half_the_way() -> None:
    made = controller()
    made.begin(FORWARD, HOME, 0, share=0.5)
    assert distance_m(settled(made, 0), HOME) == pytest.approx(0.005, abs=1e-5)


def test_the_path_ahead_is_what_is_then_commanded_and_ends_at_rest() -> None:
    made = controller()
    made.begin(FORWARD, HOME, 0)
    now_ns = 0
    for _ in range(3):
        now_ns += TICK_NS
        made.command(now_ns)
    upcoming = [(PERIOD_NS, np.array([0, 0.5, 0, 0, 0, 0, 0.5])), (2 * PERIOD_NS, np.zeros(7))]
    path = made.path_ahead(upcoming, now_ns)
    before = dict(made.guard.interventions)
    for stamp_ns, expected in zip(path.stamps_ns, path.poses, strict=True):
        while upcoming and upcoming[0][0] <= stamp_ns:
            begin_ns, action = upcoming.pop(0)
            made.begin(action, made.guard.pose, begin_ns)
        assert_pose_close(made.command(int(stamp_ns)).pose_tcp_in_base, expected, atol=1e-9)
    assert made.guard.is_at_rest
    assert dict(made.guard.interventions) == before
    np.testing.assert_array_equal(np.diff(path.stamps_ns), TICK_NS)
