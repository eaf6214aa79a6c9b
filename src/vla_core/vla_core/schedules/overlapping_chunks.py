# SPDX-License-Identifier: Apache-2.0
"""Schedules that join all chunks that say something about the same moment.

Action ``k`` of a chunk is for ``k`` periods after its observation. Time is cut into slots of one period; each
chunk is laid on them by the stamp of its observation, so steps that inference took too long for are skipped, and
what two chunks say about one slot is joined. Slots lie as the first chunk's arrival says; later chunks lie by
their stamps' distance from it, so that jitter of arrival moves nothing.

A late chunk was made to begin where its observation was, but other actions have been executed since. What it would
have moved in the slots that have passed, less what was moved in them, is still owed: it is spread over the slots
that follow, so that a correction is neither lost nor made twice.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from vla_core.schedules.contract import Action, TimedAction
from vla_core.types import ActionChunk
from vla_core.units import NS_PER_S

_NUM_MOTIONS = 6
_ENSEMBLE_SPREAD = 3
# Slots that a chunk may be late by; what it owes for earlier ones is forgotten.
_LONGEST_DEBT = 64


@dataclass(frozen=True, eq=False)
class _LaidChunk:
    """A chunk on the slots.

    Attributes:
        chunk: The chunk.
        slot: Slot of its first action; may be in the past.
        begun_slot: First slot that could use it.
    """

    chunk: ActionChunk
    slot: int
    begun_slot: int

    def at(self, slot: int) -> Action | None:
        index = slot - self.slot
        return self.chunk.actions[index] if 0 <= index < len(self.chunk.actions) else None


class _OverlappingChunks(ABC):
    """The slots, and the chunks that lie on them.

    Args:
        num_spread: Slots over which what is owed is spread.
    """

    def __init__(self, num_spread: int) -> None:
        self._num_spread = num_spread
        self.clear()

    def push(self, chunk: ActionChunk) -> None:
        """Take a new chunk; it counts from the next slot on."""
        self._arrived.append(chunk)

    def due(self, now_ns: int) -> Action | None:
        """Return the joined action of a slot that has begun; slots that were missed are skipped."""
        if not self._laid and self._arrived:
            chunk = self._arrived[0]
            self._period_ns = round(chunk.period_s * NS_PER_S)
            self._begin_ns, self._next_slot = now_ns, 0
        if not self._laid and not self._arrived:
            return None
        slot = (now_ns - self._begin_ns) // self._period_ns
        if slot < self._next_slot:
            return None
        self._lay(slot, now_ns)
        action = self._action_at(slot)
        if action is not None:
            self._executed[slot] = action
            self._next_slot = slot + 1
        return action

    def upcoming(self) -> list[TimedAction]:
        """Return what the chunks that are there say about the slots to come."""
        if not self._laid:
            return []
        last = max(laid.slot + len(laid.chunk.actions) for laid in self._laid)
        joined = ((slot, self._action_at(slot)) for slot in range(self._next_slot, last))
        return [(self._begin_ns + slot * self._period_ns, action) for slot, action in joined if action is not None]

    def clear(self) -> None:
        """Drop all chunks."""
        self._arrived: list[ActionChunk] = []
        self._laid: list[_LaidChunk] = []
        self._begin_ns, self._period_ns, self._next_slot = 0, 1, 0
        self._executed: dict[int, Action] = {}
        self._owed = np.zeros(_NUM_MOTIONS, dtype=np.float32)
        self._owed_from = 0

    def _lay(self, slot: int, now_ns: int) -> None:
        for chunk in self._arrived:
            if self._laid:
                newest = self._laid[-1]
                begin = newest.slot + round((chunk.stamp_ns - newest.chunk.stamp_ns) / self._period_ns)
            else:
                begin = slot - max(now_ns - chunk.stamp_ns, 0) // self._period_ns
            self._laid.append(_LaidChunk(chunk, begin, slot))
            self._owe(self._laid[-1], slot)
        self._arrived = []
        self._executed = {past: self._executed[past] for past in self._executed if past > slot - _LONGEST_DEBT}
        # The newest stays although it has ended: the next one is laid beside it.
        ended = [laid for laid in self._laid[:-1] if laid.at(slot) is None]
        self._laid = [laid for laid in self._laid if laid not in ended]

    def _owe(self, laid: _LaidChunk, slot: int) -> None:
        """Take what a chunk would have moved in the slots before ``slot`` and has not been moved in them."""
        passed = (past for past in range(laid.slot, slot) if past in self._executed)
        missed = [said - self._executed[past] for past in passed if (said := laid.at(past)) is not None]
        self._owed = np.sum(missed, axis=0)[:_NUM_MOTIONS] if missed else np.zeros(_NUM_MOTIONS, dtype=np.float32)
        self._owed_from = slot

    def _action_at(self, slot: int) -> Action | None:
        joined = self._joined_at(slot)
        if joined is None or not 0 <= slot - self._owed_from < self._num_spread:
            return joined
        action = joined.copy()
        action[:_NUM_MOTIONS] += self._owed / self._num_spread
        return action

    def _joined_at(self, slot: int) -> Action | None:
        said = [(laid, action) for laid in self._laid if (action := laid.at(slot)) is not None]
        return self._join(said, slot) if said else None

    @abstractmethod
    def _join(self, said: list[tuple[_LaidChunk, Action]], slot: int) -> Action:
        """Return one action of those of a slot, oldest chunk first."""


class TemporalEnsemble(_OverlappingChunks):
    """Average what all chunks say about a slot; newer ones count more.

    After ACT (Zhao et al., arXiv 2304.13705, section IV-B), which weights older chunks more. Weights are
    ``exp(-decay * age)``, age in periods.

    Args:
        decay: 0 weights all chunks equally.
    """

    def __init__(self, decay: float) -> None:
        if decay < 0.0:
            raise ValueError(f"decay may not be negative, found {decay:g}")
        super().__init__(num_spread=_ENSEMBLE_SPREAD)
        self._decay = decay

    def _join(self, said: list[tuple[_LaidChunk, Action]], slot: int) -> Action:
        newest_ns = said[-1][0].chunk.stamp_ns
        ages = np.array([(newest_ns - laid.chunk.stamp_ns) / self._period_ns for laid, _ in said])
        joined: Action = np.average(
            np.stack([action for _, action in said]), axis=0, weights=np.exp(-self._decay * ages)
        ).astype(np.float32)
        return joined


class OverlapBlend(_OverlappingChunks):
    """Execute the newest chunk, faded in over the one before.

    Args:
        num_blended: Slots in which both count; 0 changes at once.
    """

    def __init__(self, num_blended: int) -> None:
        if num_blended < 0:
            raise ValueError(f"num_blended may not be negative, found {num_blended}")
        super().__init__(num_spread=num_blended + 1)
        self._num_blended = num_blended

    def _join(self, said: list[tuple[_LaidChunk, Action]], slot: int) -> Action:
        joined = said[0][1]
        for laid, action in said[1:]:
            share = min((slot - laid.begun_slot + 1) / (self._num_blended + 1), 1.0)
            joined = ((1.0 - share) * joined + share * action).astype(np.float32)
        return joined
