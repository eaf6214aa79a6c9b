# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from vla_core.chunk_schedule import FirstAction, RecedingHorizon, make_schedule
from vla_core.types import ActionChunk

PERIOD_NS = 100


def chunk(first: int, size: int = 5) -> ActionChunk:
    actions = np.tile(np.arange(first, first + size, dtype=np.float32)[:, None], (1, 7))
    return ActionChunk(stamp_ns=0, period_s=PERIOD_NS * 1e-9, actions=actions)


def first_number(action: np.ndarray | None) -> float | None:
    return None if action is None else float(action[0])


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


@pytest.mark.parametrize("name", ["first_action", "receding_horizon"])
def test_clear_drops_everything(name: str) -> None:
    schedule = make_schedule(name, 3)  # type: ignore[arg-type]
    schedule.push(chunk(0))
    schedule.due(0)
    schedule.push(chunk(10))
    schedule.clear()
    assert schedule.due(100) is None


def test_a_horizon_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RecedingHorizon(0)
