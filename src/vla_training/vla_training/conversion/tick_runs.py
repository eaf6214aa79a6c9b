# SPDX-License-Identifier: Apache-2.0
"""Ticks that cannot be frames, counted by reason, and the unbroken runs of those that can."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from vla_training.conversion.tick_table import Refusal, TickTable


def refusals_of(
    table: TickTable, first: int, sentences: Sequence[str], damaged: Mapping[str, Collection[int]]
) -> list[Refusal | None]:
    """Return why each tick of an episode cannot be a frame, ``None`` where it can.

    Args:
        table: The ticks of the bag.
        first: Row of the first tick of the episode.
        sentences: The sentence at each of its ticks, empty for none.
        damaged: Camera to the numbers of pictures that cannot be decoded.
    """
    return [_refusal(table, tick, sentence, damaged) for tick, sentence in enumerate(sentences, start=first)]


def unbroken_runs(table: TickTable, first: int, refusals: Sequence[Refusal | None], period_ns: int) -> list[range]:
    """Return the rows of ticks that follow each other at equal spacing without a refusal."""
    runs: list[range] = []
    for tick, refusal in enumerate(refusals, start=first):
        if refusal is not None:
            continue
        follows = runs and runs[-1].stop == tick and table.stamp_ns[tick] - table.stamp_ns[tick - 1] == period_ns
        if follows:
            runs[-1] = range(runs[-1].start, tick + 1)
        else:
            runs.append(range(tick, tick + 1))
    return runs


def num_silent(table: TickTable, first: int, num_ticks: int, period_ns: int) -> int:
    """Return how many ticks of an episode were left out of the grid, because every stream was silent."""
    steps = np.diff(table.stamp_ns[first : first + num_ticks])
    return int(np.sum(steps // period_ns - 1))


def count_refusals(refusals: Sequence[Refusal | None], silent: int) -> dict[str, dict[str, int]]:
    """Return stream to reason to number of ticks."""
    counts = Counter(refusal for refusal in refusals if refusal is not None)
    if silent:
        counts["every stream", "silent"] = silent
    report: dict[str, dict[str, int]] = {}
    for (stream, reason), number in sorted(counts.items()):
        report.setdefault(stream, {})[reason] = number
    return report


def worst_refusal(refused: Mapping[str, Mapping[str, int]], reasons: Mapping[Refusal, str]) -> str:
    """Return the most frequent refusal in words, and what was said when it was refused so for the first time."""
    counts = {(stream, reason): number for stream, own in refused.items() for reason, number in own.items()}
    if not counts:
        return "it has no tick"
    (stream, reason), number = max(counts.items(), key=lambda entry: entry[1])
    words = f"stream '{stream}' is {reason} at {number} ticks"
    first = reasons.get((stream, reason))
    return f"{words}. The first: {first}" if first else words


def _refusal(table: TickTable, tick: int, sentence: str, damaged: Mapping[str, Collection[int]]) -> Refusal | None:
    refusal = table.refusals[tick]
    if refusal is not None:
        return refusal
    for camera, numbers in damaged.items():
        if int(table.pictures[camera][tick]) in numbers:
            return camera, "invalid"
    return None if sentence else ("instruction", "missing")
