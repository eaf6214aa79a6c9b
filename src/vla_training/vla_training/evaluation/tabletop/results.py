# SPDX-License-Identifier: Apache-2.0
"""How trials went, read back from the rows of the journal."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vla_core.errors import VlaError
from vla_training.evaluation.run_journal import digest_of


@dataclass(frozen=True, kw_only=True)
class Leg:
    """How one sentence went.

    Attributes:
        task: What was asked for; ``None`` for a sentence without meaning.
        sentence: What was said.
        is_held_out: Whether the task keeps this sentence for tests.
        success: Whether it was done in time.
        duration_s: Simulated time until success or end.
        first: The task that came true first, on the way to what was asked for or not.
    """

    task: str | None
    sentence: str
    is_held_out: bool
    success: bool
    duration_s: float
    first: str | None


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """How a trial went.

    Attributes:
        trial: What was tried, as plain data.
        legs: Its sentences in their order.
        guard: Stage of the guard to how often it acted.
    """

    trial: Mapping[str, Any]
    legs: tuple[Leg, ...]
    guard: Mapping[str, int]

    @property
    def kind(self) -> str:
        """What it counts for."""
        return str(self.trial["kind"])

    @property
    def successes(self) -> int:
        """How many tasks were done in a row."""
        return sum(leg.success for leg in self.legs)


def digest_of_trial(trial: Mapping[str, Any]) -> str:
    """Return what a trial, as plain data, is known by in the journal."""
    return digest_of(json.dumps(trial, sort_keys=True))


def result_of_row(row: Mapping[str, Any]) -> TrialResult:
    """Return the result that a row holds.

    Raises:
        VlaError: It holds none.
    """
    try:
        legs = tuple(Leg(**{name: leg[name] for name in Leg.__dataclass_fields__}) for leg in row["legs"])
        return TrialResult(trial=row["trial"], legs=legs, guard=row["guard"])
    except (KeyError, TypeError) as error:
        raise VlaError(
            f"a row of the journal holds no trial ({error!r}): {str(row)[:80]}. Remove that line"
        ) from None
