# SPDX-License-Identifier: Apache-2.0
"""The table at the end of the demo."""

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one sentence led to; rates in hertz, latencies in milliseconds."""

    policy: str
    sentence: str
    outcome: str
    duration_s: float
    policy_asked_hz: float
    policy_reached_hz: float
    command_asked_hz: float
    command_reached_hz: float
    latency_p50_ms: float
    latency_p95_ms: float
    guard_interventions: Counter[str]


HEADER = (
    "policy", "sentence", "outcome", "time", "policy Hz", "command Hz", "latency ms", "guard",
)  # fmt: skip
SUB_HEADER = ("", "", "", "s", "asked/real", "asked/real", "p50/p95", "acted")


def render(rows: list[Row]) -> str:
    """Return the rows as text in columns."""
    cells = [HEADER, SUB_HEADER, *[_cells(row) for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    lines.insert(2, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.policy,
        row.sentence,
        row.outcome,
        f"{row.duration_s:.1f}",
        f"{row.policy_asked_hz:.1f}/{row.policy_reached_hz:.1f}",
        f"{row.command_asked_hz:.0f}/{row.command_reached_hz:.1f}",
        f"{row.latency_p50_ms:.1f}/{row.latency_p95_ms:.1f}",
        ", ".join(f"{stage} {count}" for stage, count in row.guard_interventions.items()) or "none",
    )
