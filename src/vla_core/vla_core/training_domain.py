# SPDX-License-Identifier: Apache-2.0
"""What a policy was trained on, as far as its checkpoint remembers: sentences, range of actions, place of the TCP.

Away from it a policy may do anything. Nothing is forbidden here; people are told.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from vla_core.actions.action_space import MOTION_NAMES
from vla_core.geometry import FloatArray

Range = tuple[tuple[float, ...], ...]
"""Lowest and highest values, one of each per dimension; or nothing."""

_NUM_NEAREST = 3
_LIKE = 0.75
# Beyond the 1st and 99th percentile by more than this share of their distance.
_MARGIN = 0.5
_MARGIN_M = 0.03
_NUM_REMEMBERED = 50
_WARN_SHARE = 0.2


@dataclass(frozen=True)
class TrainingDomain:
    """The training data of a policy, summed up.

    Attributes:
        instructions: Sentences that it was trained with.
        action_range: 1st and 99th percentile of the six motions, in units of the policy's scale; empty when not
            known.
        position_range_m: The same of the TCP's position in base; empty when not known.
    """

    instructions: tuple[str, ...] = ()
    action_range: Range = ()
    position_range_m: Range = ()

    @classmethod
    def of(cls, statistics: Mapping[str, Any]) -> "TrainingDomain":
        """Return what a checkpoint's ``statistics.json`` tells; what it does not tell is not known."""
        sources = _mappings(_mapping(statistics.get("sources")).values())
        sentences = [text for source in sources for text in _texts(source.get("instructions"))]
        return cls(
            instructions=tuple(dict.fromkeys(sentences)),
            action_range=_widest(sources, 6),
            position_range_m=_widest(_mappings(source.get("tcp_position_m") for source in sources), 3),
        )

    def nearest(self, sentence: str) -> list[str]:
        """Return the sentences of the training that are most like this one, the nearest first."""
        by_likeness = sorted(self.instructions, key=lambda known: -likeness(sentence, known))
        return by_likeness[:_NUM_NEAREST]

    def why_unusual_sentence(self, sentence: str) -> str | None:
        """Return a warning when a sentence is far from all sentences of the training."""
        nearest = self.nearest(sentence)
        if not nearest or likeness(sentence, nearest[0]) >= _LIKE:
            return None
        known = ", ".join(f"'{text}'" for text in nearest)
        return f"'{sentence}' is unlike every sentence of the training; the nearest are {known}"

    def why_unusual_action(self, units: FloatArray) -> str | None:
        """Return a warning when (6,) a motion in units of the policy's scale is outside that of the training."""
        if not self.action_range:
            return None
        low, high = np.array(self.action_range)
        margin = _MARGIN * (high - low)
        off = np.flatnonzero((units < low - margin) | (units > high + margin))
        if len(off) == 0:
            return None
        axis = int(off[0])
        return f"{MOTION_NAMES[axis]} is {units[axis]:.2f}, in training {low[axis]:.2f} to {high[axis]:.2f}"

    def why_unusual_position(self, position_m: FloatArray) -> str | None:
        """Return a warning when the (3,) position of the TCP in base is outside that of the training."""
        if not self.position_range_m:
            return None
        low, high = np.array(self.position_range_m)
        off = np.flatnonzero((position_m < low - _MARGIN_M) | (position_m > high + _MARGIN_M))
        if len(off) == 0:
            return None
        axis = int(off[0])
        return f"TCP {'xyz'[axis]} is {position_m[axis]:.3f} m, in training {low[axis]:.3f} to {high[axis]:.3f} m"


class DomainWatch:
    """Looks at actions and poses as they come and warns when many of them are unusual.

    Args:
        domain: What is usual.
    """

    def __init__(self, domain: TrainingDomain) -> None:
        self._domain = domain
        self._found: dict[str, deque[str | None]] = {}
        self._sentence: str | None = None

    def note_sentence(self, sentence: str) -> str | None:
        """Take the sentence in force; return a warning when it is unusual."""
        self._sentence = self._domain.why_unusual_sentence(sentence) if sentence else None
        return self._sentence

    def note_tick(self, units: FloatArray, position_m: FloatArray) -> None:
        """Take what the policy wants, (6,) in units of its scale, and where the TCP is, (3,) in base."""
        for name, why in (
            ("actions", self._domain.why_unusual_action(units)),
            ("poses", self._domain.why_unusual_position(position_m)),
        ):
            self._found.setdefault(name, deque(maxlen=_NUM_REMEMBERED)).append(why)

    @property
    def warnings(self) -> list[str]:
        """What is unusual now."""
        warnings = [] if self._sentence is None else [self._sentence]
        for name, found in self._found.items():
            unusual = [why for why in found if why is not None]
            if len(unusual) > _WARN_SHARE * _NUM_REMEMBERED:
                count = f"{len(unusual)} of the last {len(found)} {name}"
                warnings.append(f"{count} are unlike those of the training: {unusual[-1]}")
        return warnings


def likeness(one: str, other: str) -> float:
    """Return how alike two sentences are, in [0, 1]: by their letters, and by their words in any order."""
    a, b = one.casefold(), other.casefold()
    by_letters = SequenceMatcher(None, a, b, autojunk=False).ratio()
    words_a, words_b = set(a.split()), set(b.split())
    by_words = len(words_a & words_b) / max(len(words_a | words_b), 1)
    return max(by_letters, by_words)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(values: Iterable[object]) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, Mapping)]


def _texts(value: object) -> list[str]:
    if not isinstance(value, list | tuple):
        return []
    return [text for text in value if isinstance(text, str)]


def _widest(sources: Sequence[Mapping[str, Any]], size: int) -> Range:
    """Return the range that holds those of all sources."""
    ranges = []
    for source in sources:
        try:
            found = np.array([source["q01"], source["q99"]], dtype=np.float64)
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        if found.shape == (2, size) and np.isfinite(found).all() and (found[0] <= found[1]).all():
            ranges.append(found)
    if not ranges:
        return ()
    low, high = np.min(ranges, axis=0)[0], np.max(ranges, axis=0)[1]
    return tuple(low.tolist()), tuple(high.tolist())
