# SPDX-License-Identifier: Apache-2.0
"""Findings as a table of at most 100 columns, in colour on a terminal only, and as plain data."""

import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import Any, TextIO

from vla_policy_node.doctor.findings import Finding, State, count_states

WIDTH = 100
_COLOURS = {State.OK: "32", State.SKIP: "2", State.WARN: "33", State.FAIL: "1;31"}
_CHECK_COLUMN, _FOUND_COLUMN = 8, 28


def is_coloured(stream: TextIO) -> bool:
    """Return whether a stream shows colours."""
    return stream.isatty()


def as_table(findings: Sequence[Finding], *, coloured: bool, verdict: bool = True) -> str:
    """Return the table: findings under their subjects, each with its fix, and a last line that sums up.

    Args:
        findings: Rows, in their order.
        coloured: Whether the terminal shows colours.
        verdict: Whether there is a last line.
    """
    lines: list[str] = []
    for subject, group in groupby(findings, key=lambda finding: finding.subject):
        lines += ["", _painted(subject.upper(), "1", coloured)]
        for finding in group:
            lines += _rows(finding, coloured)
    return "\n".join([*lines, "", summary(findings)] if verdict else lines)


def summary(findings: Sequence[Finding]) -> str:
    """Return what failed, how many findings there are of each state, and what that means."""
    counts = count_states(findings)
    numbers = ", ".join(
        f"{counts[state]} {state.value}" for state in (State.FAIL, State.WARN, State.OK, State.SKIP)
    )
    if counts[State.FAIL]:
        verdict = "not ready: do what the FAIL lines say, then look again"
    elif counts[State.WARN]:
        verdict = "ready, with warnings: read each WARN line before the arm moves"
    else:
        verdict = "ready"
    failed = [f"{each.subject}: {each.check}" for each in findings if each.state is State.FAIL]
    lines = textwrap.wrap(f"FAIL: {'; '.join(failed)}.", WIDTH, subsequent_indent="      ") if failed else []
    return "\n".join([*lines, f"{numbers}: {verdict}."])


def as_plain(findings: Sequence[Finding], about: dict[str, Any]) -> dict[str, Any]:
    """Return findings and facts about the look as plain data for JSON."""
    rows = [
        {
            "subject": finding.subject,
            "check": finding.check,
            "state": finding.state.value,
            "found": finding.found,
            "fix": finding.fix,
        }
        for finding in findings
    ]
    counts = {state.value: number for state, number in count_states(findings).items()}
    return {**about, "counts": counts, "findings": rows}


def _rows(finding: Finding, coloured: bool) -> list[str]:
    state = _painted(f"{finding.state.value:<4}", _COLOURS[finding.state], coloured)
    found = _wrapped(finding.found)
    room = _FOUND_COLUMN - _CHECK_COLUMN - 1
    beside = found.pop(0) if len(finding.check) <= room else ""  # a longer name has its line alone
    row = f"  {state}  {finding.check:<{room}} {beside}".rstrip()
    rows = [row, *(" " * _FOUND_COLUMN + line for line in found)]
    if finding.fix:
        first, *rest = _wrapped(f"-> {finding.fix}", hanging=3)
        rows += [" " * _FOUND_COLUMN + line for line in (first, *rest)]
    return rows


def _wrapped(text: str, hanging: int = 0) -> list[str]:
    room = WIDTH - _FOUND_COLUMN
    indent = " " * hanging
    return textwrap.wrap(text, room, subsequent_indent=indent, break_on_hyphens=False) or [""]


def _painted(text: str, colour: str, coloured: bool) -> str:
    return f"\033[{colour}m{text}\033[0m" if coloured else text
