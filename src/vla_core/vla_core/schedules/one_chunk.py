# SPDX-License-Identifier: Apache-2.0
"""Schedules that execute one chunk at a time."""

from vla_core.schedules.contract import Action, TimedAction
from vla_core.types import ActionChunk
from vla_core.units import NS_PER_S


class FirstAction:
    """Execute the first action of the newest chunk, as RoboVLMs' evaluation does."""

    def __init__(self) -> None:
        self._newest: ActionChunk | None = None

    def push(self, chunk: ActionChunk) -> None:
        """Take a new chunk; an older one that has not begun is dropped."""
        self._newest = chunk

    def due(self, now_ns: int) -> Action | None:
        """Return the first action of a chunk that has just arrived."""
        chunk, self._newest = self._newest, None
        if chunk is None:
            return None
        action: Action = chunk.actions[0]
        return action

    def upcoming(self) -> list[TimedAction]:
        """Return nothing: what follows is the first action of a chunk that has not come yet."""
        return []

    def clear(self) -> None:
        """Drop the chunk that has not begun."""
        self._newest = None


class RecedingHorizon:
    """Execute ``num_executed`` actions of a chunk at its period, then change to the newest chunk.

    Args:
        num_executed: Actions of each chunk that are executed; a shorter chunk is executed whole.
    """

    def __init__(self, num_executed: int) -> None:
        if num_executed < 1:
            raise ValueError(f"num_executed must be at least 1, found {num_executed}")
        self._num_executed = num_executed
        self._current: ActionChunk | None = None
        self._newest: ActionChunk | None = None
        self._begin_ns = 0
        self._next_slot = 0

    def push(self, chunk: ActionChunk) -> None:
        """Take a new chunk; it begins when the current one has been executed."""
        self._newest = chunk

    def due(self, now_ns: int) -> Action | None:
        """Return the action whose slot has begun; slots that were missed are skipped, not caught up."""
        if self._current is not None:
            slot = (now_ns - self._begin_ns) // round(self._current.period_s * NS_PER_S)
            if slot < self._num_slots(self._current):
                return self._take(self._current, slot)
        if self._newest is None:
            return None
        self._current, self._newest = self._newest, None
        self._begin_ns, self._next_slot = now_ns, 0
        return self._take(self._current, 0)

    def upcoming(self) -> list[TimedAction]:
        """Return the rest of the current chunk."""
        if self._current is None:
            return []
        period_ns = round(self._current.period_s * NS_PER_S)
        return [
            (self._begin_ns + slot * period_ns, self._current.actions[slot])
            for slot in range(self._next_slot, self._num_slots(self._current))
        ]

    def clear(self) -> None:
        """Drop the rest of the current chunk and the one that waits."""
        self._current = self._newest = None

    def _num_slots(self, chunk: ActionChunk) -> int:
        return min(self._num_executed, len(chunk.actions))

    def _take(self, chunk: ActionChunk, slot: int) -> Action | None:
        if slot < self._next_slot:
            return None
        self._next_slot = slot + 1
        action: Action = chunk.actions[slot]
        return action
