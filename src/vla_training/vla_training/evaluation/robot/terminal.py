# SPDX-License-Identifier: Apache-2.0
"""The logbook of trials in a terminal: one key for each thing that happens."""

import os
import sys
import time
from collections.abc import Callable

from vla_core.errors import VlaError
from vla_core.terminal_keys import single_keys, typed_line
from vla_core.trial_log import Trial, TrialLog

KEYS = """\
b  begin a trial
i  a person had to help
s  success
f  failure, with a reason
d  discard the trial: it does not count
c  another checkpoint
q  quit (an open trial stays open)"""
USUAL_REASONS = (
    "missed the object",
    "dropped it",
    "wrong object",
    "stopped moving",
    "stopped for safety",
    "too slow",
)

Ask = Callable[[str], str]


class RobotTerminal:
    """Writes what keys say into a logbook.

    Args:
        log: The logbook.
        ask: Asks the operator for a line of text.
        instruction: Sentence of the first trial, offered for the next ones.
        checkpoint: Name of the checkpoint that acts.
        now_ns: The clock, nanoseconds since 1970.
    """

    def __init__(
        self,
        log: TrialLog,
        ask: Ask,
        instruction: str = "",
        checkpoint: str = "",
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._log, self._ask, self._now_ns = log, ask, now_ns
        self._instruction, self._checkpoint = instruction, checkpoint
        last = log.trials[-1] if log.trials else None
        if last is not None:
            self._instruction = instruction or last.instruction
            self._checkpoint = checkpoint or last.checkpoint

    def press(self, key: str) -> str:
        """Do what a key stands for; return what came of it, empty for a key without meaning."""
        actions: dict[str, Callable[[], Trial]] = {
            "b": self._begin,
            "i": lambda: self._log.intervene(self._now_ns()),
            "s": lambda: self._log.succeed(self._now_ns()),
            "f": self._fail,
            "d": lambda: self._log.discard(self._now_ns()),
        }
        if key == "c":
            self._checkpoint = self._ask(f"checkpoint [{self._checkpoint}]: ").strip() or self._checkpoint
            return f"checkpoint: {self._checkpoint}"
        if key not in actions:
            return ""
        try:
            trial = actions[key]()
        except VlaError as error:
            return f"NO: {error}"
        return f"{len(self._log.trials)}: {described(trial)}"

    def greeting(self) -> str:
        """Return the keys, and the trial that an earlier run has left open."""
        trial = self._log.open_trial
        known = f"{len(self._log.trials)} trials so far"
        return f"{KEYS}\n{known}" + (f"; still open: {described(trial)}" if trial else "")

    def _begin(self) -> Trial:
        if self._log.open_trial is None:  # else the logbook says what to do, before anything is typed
            self._instruction = self._ask(f"sentence [{self._instruction}]: ").strip() or self._instruction
        return self._log.begin(self._instruction, self._checkpoint, self._now_ns())

    def _fail(self) -> Trial:
        reason = ""
        if self._log.open_trial is not None:
            choices = "  ".join(f"{number} {words}" for number, words in enumerate(USUAL_REASONS, start=1))
            typed = self._ask(f"why ({choices}, or your words): ").strip()
            is_choice = typed.isdecimal() and 1 <= int(typed) <= len(USUAL_REASONS)
            reason = USUAL_REASONS[int(typed) - 1] if is_choice else typed
        return self._log.fail(reason, self._now_ns())


def described(trial: Trial) -> str:
    """Return a trial in words."""
    outcome = "open" if trial.outcome == "unfinished" else trial.outcome
    reason = f" ({trial.reason})" if trial.reason else ""
    helped = f", interventions: {trial.interventions}" if trial.interventions else ""
    who = f" [{trial.checkpoint}]" if trial.checkpoint else ""
    return f"{outcome}{reason}: {trial.instruction}{who}{helped}"


def run_terminal(log: TrialLog, instruction: str = "", checkpoint: str = "") -> None:
    """Act on the keys of this terminal until ``q`` or the end of the input.

    Raises:
        VlaError: The input is no terminal.
    """
    if not sys.stdin.isatty():
        raise VlaError("the input is no terminal; run it in one, or use the node trial_logbook and its services")
    with single_keys():
        terminal = RobotTerminal(log, typed_line, instruction, checkpoint)
        print(terminal.greeting(), flush=True)
        while True:
            # Not through sys.stdin, which would keep back what follows from input().
            key = os.read(sys.stdin.fileno(), 1).decode(errors="replace")
            if key in ("q", "", "\x04"):
                return
            answer = terminal.press(key)
            if answer:
                print(answer, flush=True)
