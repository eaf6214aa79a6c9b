# SPDX-License-Identifier: Apache-2.0
"""The table at the end of the demo."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one sentence led to.

    Attributes:
        sentence: What was said.
        outcome: What happened, in words.
        duration_s: Time until it had happened or the limit was reached, seconds.
        guard: Stage of the guard to how often it acted.
        inference_ms: Wall time of each inference, milliseconds.
        ticks_asked_hz: Rate that the policy was trained with.
        ticks_reached_hz: Measured rate of its ticks.
    """

    sentence: str
    outcome: str
    duration_s: float
    guard: Counter[str]
    inference_ms: Sequence[float]
    ticks_asked_hz: float
    ticks_reached_hz: float


HEADER = ("sentence", "what happened", "time", "guard", "inference ms", "ticks/s")
SUB_HEADER = ("", "", "s", "acted", "p50/p95", "asked/real")
_SENTENCE_CHARS = 60


def render(rows: Sequence[Row]) -> str:
    """Return the rows as text in columns."""
    cells = [HEADER, SUB_HEADER, *[_cells(row) for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    lines.insert(2, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    p50_ms, p95_ms = np.percentile(row.inference_ms, (50, 95)) if row.inference_ms else (np.nan, np.nan)
    return (
        shorten(row.sentence, _SENTENCE_CHARS, placeholder=" ..."),
        row.outcome,
        f"{row.duration_s:.1f}",
        ", ".join(f"{stage} {count}" for stage, count in row.guard.items()) or "-",
        f"{p50_ms:.1f}/{p95_ms:.1f}",
        f"{row.ticks_asked_hz:.1f}/{row.ticks_reached_hz:.1f}",
    )
