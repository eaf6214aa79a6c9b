# SPDX-License-Identifier: Apache-2.0
"""One trial of a policy on the tabletop: what it is told, and what happens. Knows states and time, no arm.

Physics without ROS and the robot behind its topics are judged by the same ``Referee``.
"""

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from vla_core.errors import VlaError
from vla_sim.chains import next_task, stages_of
from vla_sim.task_state import TabletopState
from vla_sim.tasks import TASKS, InDrawer, Stacked, task_named

TIME_LIMIT_S = 12.0
LONG_TIME_LIMIT_S = 15.0
_JUST_S = 1e-6

Turn = Literal["go on", "next sentence", "over"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is tried.

    Attributes:
        kind: What it counts for, such as ``tasks``, ``chains`` or ``confusion``.
        seed: Seed of the scene, of the drawn sentences and of a chain.
        scene: Task whose start scene it is; ``None`` leaves it to chance.
        task: What is asked for; ``None`` when nothing can succeed (a sentence without meaning), or for a chain.
        sentence: What is said; ``None`` draws it from the task's by the seed.
        phrasings: What is drawn from; see ``sentence_of``.
        length: Tasks in a row; above 1 they are drawn.
        time_limit_s: Of each task; ``None`` for ``time_limit_of``.
    """

    kind: str
    seed: int
    scene: str | None = None
    task: str | None = None
    sentence: str | None = None
    phrasings: str = "seen"
    length: int = 1
    time_limit_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Leg:
    """How one sentence of a trial went.

    Attributes:
        task: What was asked for, or ``None``.
        sentence: What was said.
        is_held_out: Whether the sentence is one that the task keeps for tests.
        success: Whether the task was done in time.
        duration_s: Simulated time from sentence to success or end.
        happened: Names of all tasks that came true, and when, in this order.
        first: The task that came true first; one that is done on the way to what was asked for does not count.
    """

    task: str | None
    sentence: str
    is_held_out: bool
    success: bool
    duration_s: float
    happened: tuple[tuple[str, float], ...]
    first: str | None


def phrasings_of(task_name: str, phrasings: str) -> tuple[str, ...]:
    """Return the sentences of a task that are meant: ``seen``, ``held_out``, ``all``, or the number of one.

    Raises:
        VlaError: There is no such task, or no such sentence.
    """
    task = task_named(task_name)
    both = (*task.sentences, *task.held_out_sentences)
    groups = {"seen": task.sentences, "held_out": task.held_out_sentences, "all": both}
    if phrasings.isdigit() and int(phrasings) < len(both):
        return (both[int(phrasings)],)
    if not groups.get(phrasings):
        raise VlaError(
            f"task '{task_name}' has no phrasings '{phrasings}'; it has seen, held_out, all, or a number from "
            f"0 to {len(both) - 1}"
        )
    return groups[phrasings]


def sentence_of(task_name: str, phrasings: str, seed: int) -> str:
    """Return the sentence that a seed draws for a task. Equal seeds draw independently for each task.

    Raises:
        VlaError: There is no such task, or no such sentence.
    """
    sentences = phrasings_of(task_name, phrasings)
    drawn = np.random.default_rng([seed, zlib.crc32(task_name.encode())]).integers(len(sentences))
    return sentences[int(drawn)]


def time_limit_of(task_name: str | None) -> float:
    """Return how long a task may take, seconds: several times as long as the expert does."""
    is_long = task_name is not None and isinstance(task_named(task_name).is_success, Stacked | InDrawer)
    return LONG_TIME_LIMIT_S if is_long else TIME_LIMIT_S


class Referee:
    """Judges one trial: says which sentence is in force, and writes down what happens.

    Args:
        trial: What is tried.
        state: Where the things are when it begins.
        time_s: Simulated time at which it begins.

    Attributes:
        sentence: The sentence in force.
        legs: How the sentences before it went.
    """

    def __init__(self, trial: Trial, state: TabletopState, time_s: float = 0.0) -> None:
        self._trial = trial
        self.legs: list[Leg] = []
        self._begin(state, time_s)

    def look(self, state: TabletopState, time_s: float) -> Turn:
        """Judge a state; return whether the sentence stays in force.

        A task is done as soon as its oracle holds between the state at its sentence and this one, as in CALVIN.
        """
        after_s = time_s - self._began_s
        for name in list(self._open):
            if TASKS[name].is_success(self._start, state):
                self._open.remove(name)
                self._happened.append((name, round(after_s, 3)))
        is_done = self._task is not None and any(name == self._task for name, _ in self._happened)
        is_settled = self._task is None and bool(self._happened)
        if not is_done and not is_settled and after_s < self._limit_s - _JUST_S:
            return "go on"
        self._end(is_done, after_s)
        if not is_done or len(self.legs) == self._trial.length:
            return "over"
        self._begin(state, time_s)
        return "next sentence"

    def row(self, guard: Mapping[str, int]) -> dict[str, Any]:
        """Return the trial and how it went as plain data.

        Args:
            guard: Stage of the guard to how often it acted.
        """
        return {"trial": asdict(self._trial), "legs": [asdict(leg) for leg in self.legs], "guard": dict(guard)}

    def _begin(self, state: TabletopState, time_s: float) -> None:
        trial = self._trial
        self._task = trial.task
        if trial.length > 1:
            done = [leg.task for leg in self.legs if leg.task is not None]
            self._task = next_task(trial.seed, done, state, trial.length - len(self.legs))
        if trial.sentence is not None:
            self.sentence = trial.sentence
        elif self._task is not None:
            self.sentence = sentence_of(self._task, trial.phrasings, trial.seed)
        else:
            raise VlaError(f"trial {trial}: neither a task nor a sentence. Give one of them")
        self._limit_s = time_limit_of(self._task) if trial.time_limit_s is None else trial.time_limit_s
        self._start, self._began_s = state, time_s
        self._open = [name for name, task in TASKS.items() if not task.is_success(state, state)]
        self._happened: list[tuple[str, float]] = []

    def _end(self, is_done: bool, after_s: float) -> None:
        held_out = () if self._task is None else TASKS[self._task].held_out_sentences
        self.legs.append(
            Leg(
                task=self._task,
                sentence=self.sentence,
                is_held_out=self.sentence in held_out,
                success=is_done,
                duration_s=round(after_s, 3),
                happened=tuple(self._happened),
                first=self._first(),
            )
        )

    def _first(self) -> str | None:
        on_the_way = frozenset() if self._task is None else stages_of(TASKS[self._task])
        events = [
            (after_s, name != self._task, name) for name, after_s in self._happened if name not in on_the_way
        ]
        return min(events)[2] if events else None
