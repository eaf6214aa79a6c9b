# SPDX-License-Identifier: Apache-2.0
"""What a check has found: one line of the table, with one fix."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How a check ended, best first."""

    OK = "OK"
    SKIP = "SKIP"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        subject: What was looked at, for example ``camera static``.
        check: What was checked about it, for example ``rate``.
        state: How it ended.
        found: What was found, in words and numbers.
        fix: The one thing to do about it; empty where there is nothing to do.
    """

    subject: str
    check: str
    state: State
    found: str
    fix: str = ""


class Notes:
    """Collects the findings about one subject.

    Attributes:
        findings: What has been noted so far.

    Args:
        subject: What all of them are about.
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self.findings: list[Finding] = []

    def ok(self, check: str, found: str) -> None:
        """Note that all is well."""
        self.findings.append(Finding(self._subject, check, State.OK, found))

    def skip(self, check: str, why: str, fix: str = "") -> None:
        """Note that a check could not be made, and why."""
        self.findings.append(Finding(self._subject, check, State.SKIP, why, fix))

    def warn(self, check: str, found: str, fix: str) -> None:
        """Note what is unusual, but does not keep the robot from working."""
        self.findings.append(Finding(self._subject, check, State.WARN, found, fix))

    def fail(self, check: str, found: str, fix: str) -> None:
        """Note what keeps the robot from working, or makes it dangerous."""
        self.findings.append(Finding(self._subject, check, State.FAIL, found, fix))


def count_states(findings: Iterable[Finding]) -> dict[State, int]:
    """Return how many findings there are of each state."""
    counts = dict.fromkeys(State, 0)
    for finding in findings:
        counts[finding.state] += 1
    return counts
