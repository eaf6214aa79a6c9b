# SPDX-License-Identifier: Apache-2.0
"""The logbook of trials on a real arm: what was asked, which checkpoint acted, and how it ended.

Each thing that happens is one row of a journal (``begin``, ``intervention``, then ``success``, ``failure`` or
``discard``), so a trial whose logbook was killed is still there, unfinished. Terminal and ROS node write the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vla_core.errors import VlaError
from vla_core.instruction import clean_instruction
from vla_core.journal import Journal, Row, read_journal

TrialOutcome = Literal["success", "failure", "discarded", "unfinished"]
_ENDS: dict[str, TrialOutcome] = {"success": "success", "failure": "failure", "discard": "discarded"}


class TrialLogError(VlaError):
    """What is asked does not fit the state of the logbook, or a row is none of a logbook."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial.

    Attributes:
        instruction: What was asked.
        checkpoint: Name of the checkpoint that acted; empty when nobody said.
        started_ns: Begin, nanoseconds since 1970.
        ended_ns: End; ``None`` while it is open.
        outcome: How it ended.
        reason: Why it failed; empty otherwise.
        interventions: How often a person had to help.
    """

    instruction: str
    checkpoint: str
    started_ns: int
    ended_ns: int | None = None
    outcome: TrialOutcome = "unfinished"
    reason: str = ""
    interventions: int = 0

    @property
    def seconds(self) -> float | None:
        """How long it took; ``None`` while it is open."""
        return None if self.ended_ns is None else (self.ended_ns - self.started_ns) / 1e9


class TrialLog:
    """Writes a logbook. One trial is open at a time; a logbook that is opened again goes on with an open trial.

    Args:
        path: The file of JSON lines.

    Raises:
        JournalError: It is damaged, or another process writes it.
        TrialLogError: It is no logbook.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._journal = Journal(path)
        try:
            self._trials = list(trials_of(self._journal.rows, str(path)))
        except TrialLogError:
            self._journal.close()
            raise

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials so far."""
        return tuple(self._trials)

    @property
    def open_trial(self) -> Trial | None:
        """The trial that has begun and not ended."""
        last = self._trials[-1] if self._trials else None
        return last if last is not None and last.outcome == "unfinished" else None

    def begin(self, instruction: str, checkpoint: str, now_ns: int) -> Trial:
        """Begin a trial.

        Raises:
            TrialLogError: One is open, or there is no sentence.
            InstructionError: The sentence cannot be used.
        """
        if self.open_trial is not None:
            raise TrialLogError(
                f"trial {len(self._trials)} is open; end it with success, failure or discard first"
            )
        sentence = clean_instruction(instruction)
        if not sentence:
            raise TrialLogError("a trial needs the sentence that the robot is asked; none is known yet")
        return self._write(
            {"event": "begin", "stamp_ns": now_ns, "instruction": sentence, "checkpoint": checkpoint}
        )

    def intervene(self, now_ns: int) -> Trial:
        """Note that a person had to help in the open trial.

        Raises:
            TrialLogError: None is open.
        """
        return self._note("intervention", now_ns)

    def succeed(self, now_ns: int) -> Trial:
        """End the open trial as a success.

        Raises:
            TrialLogError: None is open.
        """
        return self._note("success", now_ns)

    def fail(self, reason: str, now_ns: int) -> Trial:
        """End the open trial as a failure.

        Args:
            reason: Why, in a few words; may be empty.
            now_ns: When.

        Raises:
            TrialLogError: None is open.
        """
        return self._note("failure", now_ns, reason=" ".join(reason.split()))

    def discard(self, now_ns: int) -> Trial:
        """End the open trial without counting it.

        Raises:
            TrialLogError: None is open.
        """
        return self._note("discard", now_ns)

    def close(self) -> None:
        """Let another writer in; an open trial stays open."""
        self._journal.close()

    def _note(self, event: str, now_ns: int, **facts: str) -> Trial:
        if self.open_trial is None:
            raise TrialLogError(f"no trial is open, so there is nothing to note {event} for; begin one first")
        return self._write({"event": event, "stamp_ns": now_ns, **facts})

    def _write(self, row: Row) -> Trial:
        changed = _after(self._trials, row, str(self._path))
        self._journal.append(row)
        self._trials = changed
        return changed[-1]


def read_trials(path: Path | str) -> tuple[Trial, ...]:
    """Return the trials in a logbook; a last line that was cut short is left out.

    Raises:
        JournalError: It is missing or damaged.
        TrialLogError: It is no logbook.
    """
    return trials_of(read_journal(path), str(path))


def trials_of(rows: Iterable[Row], where: str) -> tuple[Trial, ...]:
    """Return the trials that the rows of a logbook tell.

    Args:
        rows: In the order of the file.
        where: Name of the file, for errors.

    Raises:
        TrialLogError: A row is none of a logbook.
    """
    trials: list[Trial] = []
    for number, row in enumerate(rows, start=1):
        trials = _after(trials, row, f"{where}: line {number}")
    return tuple(trials)


def _after(trials: list[Trial], row: Row, where: str) -> list[Trial]:
    """Return the trials after one more row."""
    event = row.get("event")
    stamp_ns = _fact(row, "stamp_ns", int, where)
    if event == "begin":
        sentence, checkpoint = _fact(row, "instruction", str, where), _fact(row, "checkpoint", str, where)
        return [*trials, Trial(instruction=sentence, checkpoint=checkpoint, started_ns=stamp_ns)]
    if not trials or trials[-1].outcome != "unfinished":
        raise TrialLogError(f"{where}: '{event}' without an open trial. Correct the file")
    last = trials[-1]
    if event == "intervention":
        return [*trials[:-1], replace(last, interventions=last.interventions + 1)]
    if event not in _ENDS:
        raise TrialLogError(
            f"{where}: 'event' is {event!r}; allowed: begin, intervention, {', '.join(_ENDS)}. Is it a logbook?"
        )
    reason = _fact(row, "reason", str, where) if event == "failure" else ""
    return [*trials[:-1], replace(last, outcome=_ENDS[event], ended_ns=stamp_ns, reason=reason)]


def _fact(row: Row, key: str, kind: type, where: str) -> Any:
    value = row.get(key)
    if not isinstance(value, kind):
        raise TrialLogError(f"{where}: '{key}' is {value!r}, expected {kind.__name__}. Is it a logbook?")
    return value
