# SPDX-License-Identifier: Apache-2.0
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_core.schedules import (
    ChunkSchedule,
    FirstAction,
    OverlapBlend,
    RecedingHorizon,
    ScheduleName,
    TemporalEnsemble,
    make_schedule,
)
from vla_core.types import ActionChunk

PERIOD_NS = 100
NAMES = get_args(ScheduleName)


def chunk(first: int, size: int = 5, stamp_ns: int = 0) -> ActionChunk:
    actions = np.tile(np.arange(first, first + size, dtype=np.float32)[:, None], (1, 7))
    return ActionChunk(stamp_ns=stamp_ns, period_s=PERIOD_NS * 1e-9, actions=actions)


def time_chunk(stamp_ns: int, size: int = 10, off: float = 0.0) -> ActionChunk:
    """Return a chunk whose actions say for which period of time they are meant, plus something."""
    return (
        chunk(0, size, stamp_ns)
        if off == 0.0 and stamp_ns == 0
        else ActionChunk(
            stamp_ns=stamp_ns,
            period_s=PERIOD_NS * 1e-9,
            actions=np.tile((stamp_ns / PERIOD_NS + off + np.arange(size, dtype=np.float32))[:, None], (1, 7)),
        )
    )


def first_number(action: np.ndarray | None) -> float | None:
    return None if action is None else float(action[0])


def executed(
    schedule: ChunkSchedule, arrivals: dict[int, ActionChunk], until_ns: int, step_ns: int = 10
) -> dict[int, float]:
    """Return time to first number of each action, with chunks that arrive at given times."""
    found = {}
    for now_ns in range(0, until_ns, step_ns):
        if now_ns in arrivals:
            schedule.push(arrivals[now_ns])
        action = schedule.due(now_ns)
        if action is not None:
            found[now_ns] = float(action[0])
    return found


def test_first_action_is_given_once_per_chunk() -> None:
    schedule = FirstAction()
    assert schedule.due(0) is None
    schedule.push(chunk(10))
    schedule.push(chunk(20))
    assert [first_number(schedule.due(t)) for t in (0, 50, 100, 500)] == [20, None, None, None]


def test_receding_horizon_executes_its_actions_then_takes_the_newest_chunk() -> None:
    schedule = RecedingHorizon(num_executed=3)
    found = []
    for now in range(0, 700, 50):
        if now % PERIOD_NS == 0:
            schedule.push(chunk(100 + now))
        found.append(first_number(schedule.due(now)))
    assert [value for value in found if value is not None] == [100, 101, 102, 400, 401, 402, 700]


def test_receding_horizon_skips_slots_that_were_missed() -> None:
    schedule = RecedingHorizon(num_executed=4)
    schedule.push(chunk(0))
    assert [first_number(schedule.due(t)) for t in (0, 250, 260, 310)] == [0, 2, None, 3]


def test_a_chunk_shorter_than_the_horizon_is_executed_whole() -> None:
    schedule = RecedingHorizon(num_executed=10)
    schedule.push(chunk(0, size=2))
    assert [first_number(schedule.due(t)) for t in (0, 100, 200, 300)] == [0, 1, None, None]


@pytest.mark.parametrize("name", ["temporal_ensemble", "overlap_blend"])
@pytest.mark.parametrize("latency_ns", [0, 50, 150, 300])
def test_chunks_that_agree_give_the_action_of_the_time_whatever_the_latency(name: str, latency_ns: int) -> None:
    arrivals = {stamp + latency_ns: time_chunk(stamp) for stamp in range(0, 2000, PERIOD_NS)}
    found = executed(make_schedule(name), arrivals, 2000)  # type: ignore[arg-type]
    times = sorted(found)
    assert np.all(np.diff(times) == PERIOD_NS), "no stall"
    for now_ns, value in found.items():
        assert value == pytest.approx(now_ns // PERIOD_NS, abs=1e-4), "steps in the past are skipped"


@pytest.mark.parametrize("name", ["temporal_ensemble", "overlap_blend"])
def test_a_slow_policy_stalls_only_when_its_chunk_has_ended(name: str) -> None:
    arrivals = {0: time_chunk(0, size=4), 800: time_chunk(700, size=4)}
    found = executed(make_schedule(name), arrivals, 1500)  # type: ignore[arg-type]
    assert [round(value) for value in found.values()] == [0, 1, 2, 3, 8, 9, 10]


@pytest.mark.parametrize("name", ["temporal_ensemble", "overlap_blend"])
@given(st.lists(st.integers(0, 60), min_size=12, max_size=12))
def test_jitter_of_arrival_neither_skips_nor_repeats_an_action(name: str, jitter_ns: list[int]) -> None:
    arrivals = {
        i * PERIOD_NS + j // 10 * 10 + 20: time_chunk(i * PERIOD_NS + j % 7) for i, j in enumerate(jitter_ns)
    }
    found = executed(make_schedule(name), arrivals, 1200)  # type: ignore[arg-type]
    steps = np.diff([round(value) for value in found.values()])
    assert np.all(steps == 1)


def test_a_new_chunk_is_faded_in_over_the_one_before() -> None:
    schedule = OverlapBlend(num_blended=3)
    found = executed(schedule, {0: time_chunk(0), 100: time_chunk(100, off=8.0)}, 700)
    offs = [value - now // PERIOD_NS for now, value in found.items()]
    np.testing.assert_allclose(offs, [0, 2, 4, 6, 8, 8, 8], atol=1e-4)


def test_without_blending_the_newest_chunk_counts_at_once() -> None:
    found = executed(OverlapBlend(0), {0: time_chunk(0), 100: time_chunk(100, off=8.0)}, 300)
    assert [value - now // PERIOD_NS for now, value in found.items()] == [0, 8, 8]


@pytest.mark.parametrize("name", ["temporal_ensemble", "overlap_blend"])
def test_a_correction_that_comes_late_is_neither_lost_nor_made_twice(name: str) -> None:
    """Chunks that want to go one unit, seen two periods ago, and say so until they see that it was done."""
    schedule, done, seen = make_schedule(name), 0.0, {0: 0.0}  # type: ignore[arg-type]
    for now_ns in range(0, 4000, 10):
        seen[now_ns] = done
        if now_ns >= 200 and now_ns % 100 == 0:
            actions = np.zeros((10, 7), np.float32)
            actions[0, 0] = 1.0 - seen[now_ns - 200]
            schedule.push(ActionChunk(now_ns - 200, PERIOD_NS * 1e-9, actions))
        action = schedule.due(now_ns)
        done += 0.0 if action is None else float(action[0])
        assert done <= 1.6
    assert done == pytest.approx(1.0, abs=0.02)


def test_an_ensemble_weights_by_age() -> None:
    schedule = TemporalEnsemble(decay=np.log(3.0))
    found = executed(schedule, {0: time_chunk(0), 100: time_chunk(100, off=4.0)}, 200)
    assert found[100] == pytest.approx(1 + 0.75 * 4.0)


@given(
    st.lists(st.floats(-1.0, 1.0, width=32), min_size=2, max_size=6),
    st.sampled_from(["temporal_ensemble", "overlap_blend"]),
)
def test_what_is_joined_lies_between_what_the_chunks_say(values: list[float], name: str) -> None:
    schedule = make_schedule(name)  # type: ignore[arg-type]
    found = []
    for number, value in enumerate(values):
        schedule.push(ActionChunk(number * PERIOD_NS, PERIOD_NS * 1e-9, np.full((10, 7), value, np.float32)))
        action = schedule.due(number * PERIOD_NS)
        assert action is not None
        found.append(float(action[0]))
    assert min(values) - 1e-6 <= min(found)
    assert max(found) <= max(values) + 1e-6


@pytest.mark.parametrize("name", ["receding_horizon", "temporal_ensemble", "overlap_blend"])
def test_what_is_upcoming_is_what_comes(name: str) -> None:
    schedule = make_schedule(name, num_executed=6)  # type: ignore[arg-type]
    schedule.push(time_chunk(0))
    schedule.due(0)
    schedule.push(time_chunk(100, off=3.0))
    schedule.due(100)
    upcoming = schedule.upcoming()
    assert len(upcoming) >= 4
    for begin_ns, action in upcoming:
        found = schedule.due(begin_ns)
        assert found is not None
        np.testing.assert_allclose(found, action)
    assert schedule.upcoming() == []


@pytest.mark.parametrize("name", NAMES)
def test_clear_drops_everything(name: str) -> None:
    schedule = make_schedule(name, 3)  # type: ignore[arg-type]
    schedule.push(chunk(0))
    schedule.due(0)
    schedule.push(chunk(10))
    schedule.clear()
    assert schedule.due(100) is None
    assert schedule.upcoming() == []


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: RecedingHorizon(0), "at least 1"),
        (lambda: TemporalEnsemble(-1.0), "negative"),
        (lambda: OverlapBlend(-1), "negative"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: object, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        make()  # type: ignore[operator]
