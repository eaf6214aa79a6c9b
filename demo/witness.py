# SPDX-License-Identifier: Apache-2.0
"""Sees what happens on the table after a sentence, and says it in words."""

from vla_sim.chains import stages_of
from vla_sim.task_state import TabletopState
from vla_sim.tasks import TASKS, Task


class Witness:
    """Judges by the oracles of all tasks, whatever was asked for.

    Args:
        task: What was asked for, if that is known.
        start: Where the things were when it was said.
    """

    def __init__(self, task: Task | None, start: TabletopState) -> None:
        self._task, self._start = task, start
        # A block that lies on another one already, say, does not get there by what is said now.
        self._open = {name for name, other in TASKS.items() if not other.is_success(start, start)}
        self._happened: list[str] = []

    def look(self, state: TabletopState) -> bool:
        """Note which tasks have come true in a state; return whether what was asked for has."""
        came_true = [name for name in TASKS if name in self._open and TASKS[name].is_success(self._start, state)]
        self._happened += came_true
        self._open -= set(came_true)
        return self._task is not None and self._task.name in self._happened

    def in_words(self) -> str:
        """Return what happened: for a known task whether it was done, and otherwise the tasks that came true."""
        if self._task is None:
            return ", ".join(self._happened) or "nothing happened"
        expected = {self._task.name, *stages_of(self._task)}
        others = ", ".join(name for name in self._happened if name not in expected)
        verdict = "done" if self._task.name in self._happened else "NOT done"
        return f"{verdict}, but also {others}" if others else verdict
