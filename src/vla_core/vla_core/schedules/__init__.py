# SPDX-License-Identifier: Apache-2.0
"""Which action of which chunk is due now: small pure classes with one contract."""

from collections.abc import Callable
from typing import Literal

from vla_core.schedules.contract import Action, ChunkSchedule, TimedAction
from vla_core.schedules.one_chunk import FirstAction, RecedingHorizon
from vla_core.schedules.overlapping_chunks import OverlapBlend, TemporalEnsemble

ScheduleName = Literal["first_action", "receding_horizon", "temporal_ensemble", "overlap_blend"]

__all__ = [
    "Action",
    "ChunkSchedule",
    "FirstAction",
    "OverlapBlend",
    "RecedingHorizon",
    "ScheduleName",
    "TemporalEnsemble",
    "TimedAction",
    "make_schedule",
]


def make_schedule(
    name: ScheduleName, num_executed: int = 1, ensemble_decay: float = 0.3, num_blended: int = 2
) -> ChunkSchedule:
    """Return the schedule called ``name``; each setting matters to one schedule alone.

    Args:
        name: The schedule.
        num_executed: Actions of a chunk that ``receding_horizon`` executes.
        ensemble_decay: How fast older chunks lose weight in ``temporal_ensemble``, per period.
        num_blended: Actions over which ``overlap_blend`` fades a new chunk in.
    """
    schedules: dict[ScheduleName, Callable[[], ChunkSchedule]] = {
        "first_action": FirstAction,
        "receding_horizon": lambda: RecedingHorizon(num_executed),
        "temporal_ensemble": lambda: TemporalEnsemble(ensemble_decay),
        "overlap_blend": lambda: OverlapBlend(num_blended),
    }
    return schedules[name]()
