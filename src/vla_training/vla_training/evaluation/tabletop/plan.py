# SPDX-License-Identifier: Apache-2.0
"""Which trials answer which question: single tasks, chains of five, the same scene with other sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vla_core.errors import VlaError
from vla_core.instruction import clean_instruction
from vla_training.evaluation.tabletop.simulator import TabletopSimulator, Trial

TASKS, CHAINS, CONFUSION = "tasks", "chains", "confusion"
CHAIN_LENGTH = 5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked for.

    Attributes:
        tasks: Names of the tasks; none for all.
        episodes: Scenes of each task.
        chains: Chains of five.
        confusion: Scenes in each of which every possible task is asked for, and sentences without meaning.
        seed: Seed of the first scene; the others follow.
        phrasings: ``seen``, ``held_out``, ``all``, or the number of a sentence.
        instruction: Said in the scenes of all tasks instead of their sentences; then nothing can succeed.
        time_limit_s: Of each task; ``None`` for what the simulator thinks right.
    """

    tasks: tuple[str, ...] = ()
    episodes: int = 20
    chains: int = 0
    confusion: int = 0
    seed: int = 0
    phrasings: str = "seen"
    instruction: str | None = None
    time_limit_s: float | None = None

    def __post_init__(self) -> None:
        counts = {"episodes": self.episodes, "chains": self.chains, "confusion": self.confusion, "seed": self.seed}
        for name, count in counts.items():
            if count < 0:
                raise VlaError(f"--{name} is {count}; it must be 0 or more")
        if self.episodes + self.chains + self.confusion == 0:
            raise VlaError("there is nothing to do: --episodes, --chains and --confusion are 0. Give one of them")
        if self.time_limit_s is not None and not 0.0 < self.time_limit_s < 3600.0:
            raise VlaError(f"--time-limit-s is {self.time_limit_s:g}; it must lie between 0 and 3600")


def trials_of(plan: Plan, simulator: TabletopSimulator) -> list[Trial]:
    """Return the trials of a plan.

    Raises:
        VlaError: A task or a sentence does not exist.
    """
    names = plan.tasks or simulator.task_names()
    common: dict[str, Any] = {"phrasings": plan.phrasings, "time_limit_s": plan.time_limit_s}
    seeds = range(plan.seed, plan.seed + plan.episodes)
    if plan.instruction is None:
        singles = [
            simulator.trial(kind=TASKS, seed=seed, scene=name, task=name, **common)
            for seed in seeds
            for name in names
        ]
    else:
        said = {"sentence": clean_instruction(plan.instruction), "time_limit_s": plan.time_limit_s}
        singles = [
            simulator.trial(kind=CONFUSION, seed=seed, scene=name, **said) for seed in seeds for name in names
        ]
    chains = [
        simulator.trial(kind=CHAINS, seed=seed, length=CHAIN_LENGTH, **common)
        for seed in range(plan.seed, plan.seed + plan.chains)
    ]
    return [*singles, *chains, *_confusion_trials(plan, simulator, names)]


def _confusion_trials(plan: Plan, simulator: TabletopSimulator, names: Sequence[str]) -> list[Trial]:
    trials: list[Trial] = []
    without_meaning = simulator.sentences_without_meaning()
    for seed in range(plan.seed, plan.seed + plan.confusion):
        common: dict[str, Any] = {"kind": CONFUSION, "seed": seed, "time_limit_s": plan.time_limit_s}
        possible = simulator.possible_tasks(seed)
        trials += [
            simulator.trial(task=name, phrasings=plan.phrasings, **common) for name in names if name in possible
        ]
        trials.append(simulator.trial(sentence=without_meaning[seed % len(without_meaning)], **common))
    return trials
