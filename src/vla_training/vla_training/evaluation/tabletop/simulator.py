# SPDX-License-Identifier: Apache-2.0
"""The simulated tabletop (``vla_sim``): imported by this file alone, and only when asked."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from vla_core.errors import VlaError
from vla_core.policy_contract import PolicyContract
from vla_core.robot_spec import RobotSpec
from vla_core.schedules import ScheduleName, make_schedule
from vla_core.types import ActionChunk, Observation, RgbImage
from vla_training.evaluation.run_journal import digest_of

Trial = Any
"""``vla_sim.trials.Trial``: a frozen dataclass of plain values, made by ``TabletopSimulator.trial``."""
Turn = Literal["go on", "next sentence", "over"]


class World(Protocol):
    """What is used of ``vla_sim.policy_world.PolicyWorld``; its documentation is there."""

    @property
    def time_s(self) -> float:
        """Simulated time since the reset."""

    @property
    def interventions(self) -> dict[str, int]:
        """Stage of the guard to how often it acted."""

    def reset(self, seed: int, scene: str | None) -> Any:
        """Begin in the scene of a seed; return its state."""

    def begin_sentence(self) -> None:
        """Drop what is left of the actions for the sentence before."""

    def state(self) -> Any:
        """Return where the things are."""

    def observe(self) -> Observation:
        """Return what the policy sees now."""

    def other_pictures(self) -> Mapping[str, RgbImage]:
        """Return the pictures of the cameras that the policy does not look through."""

    def advance(self, chunk: ActionChunk) -> None:
        """Take a chunk and let one period of the policy pass."""

    def close(self) -> None:
        """Give back what it holds."""


class Referee(Protocol):
    """What is used of ``vla_sim.trials.Referee``; its documentation is there."""

    sentence: str

    def look(self, state: Any, time_s: float) -> Turn:
        """Judge a state."""

    def row(self, guard: Mapping[str, int]) -> dict[str, Any]:
        """Return the trial and how it went as plain data."""


class Simulator(Protocol):
    """Makes worlds and referees; picklable."""

    def world(self, contract: PolicyContract) -> World:
        """Return a new world for a policy."""

    def referee(self, trial: Trial, state: Any) -> Referee:
        """Return the referee of a trial that begins in a state at time 0."""


@dataclass(frozen=True, kw_only=True)
class TabletopSimulator:
    """Makes worlds and referees of ``vla_sim``.

    Attributes:
        robot: Robot spec of the simulated arm.
        schedule: Which actions of a chunk are executed, as the policy node's parameter.
        num_executed: How many, for ``receding_horizon``.
        latency_ms: How long after its observation a chunk comes.
        randomise: What of the looks of a scene its seed draws.
    """

    robot: Path
    schedule: ScheduleName = "first_action"
    num_executed: int = 1
    latency_ms: float = 0.0
    randomise: tuple[str, ...] = ()

    def check(self, contract: PolicyContract) -> RobotSpec:
        """Return the robot, if the policy fits it.

        Raises:
            VlaError: ``vla_sim`` is not installed, or the policy is made for another robot.
        """
        self.task_names()
        spec = RobotSpec.load(self.robot)
        contract.check_fits(spec)
        return spec

    @property
    def identity(self) -> dict[str, Any]:
        """What makes its answers what they are, as plain data."""
        driving = {"schedule": self.schedule, "num_executed": self.num_executed, "latency_ms": self.latency_ms}
        said = [(task.name, task.sentences, task.held_out_sentences) for task in _import("tasks").TASKS.values()]
        digests = {"robot": digest_of(self.robot.read_text()), "sentences": digest_of(str(said))}
        looks = {"randomise": sorted(set(self.randomise))} if self.randomise else {}
        return {**digests, **driving, **looks}

    def task_names(self) -> tuple[str, ...]:
        """Return the names of all tasks."""
        return tuple(_import("tasks").TASKS)

    def sentences_without_meaning(self) -> tuple[str, ...]:
        """Return sentences that ask for nothing on the table; no demonstration shows them."""
        return tuple(_import("nonsense").HELD_OUT_NONSENSE)

    def trial(self, **fields: Any) -> Trial:
        """Return what is tried, with the sentence that the seed draws for its task.

        Args:
            fields: Of ``vla_sim.trials.Trial``.

        Raises:
            VlaError: There is no such task, or no such sentence.
        """
        trials = _import("trials")
        trial = trials.Trial(**fields)
        if trial.length > 1:
            for name in self.task_names():
                trials.phrasings_of(name, trial.phrasings)
        if trial.task is None or trial.sentence is not None:
            return trial
        return replace(trial, sentence=trials.sentence_of(trial.task, trial.phrasings, trial.seed))

    def possible_tasks(self, seed: int) -> tuple[str, ...]:
        """Return the tasks that are possible in the scene of a seed that is fit for none in particular."""
        tasks, start, chains = _import("tasks"), _import("start_state"), _import("chains")
        state = start.draw_start(seed, tasks.StartScene()).tabletop
        return tuple(name for name, task in tasks.TASKS.items() if chains.is_possible(task, state))

    def world(self, contract: PolicyContract) -> World:
        """Return a new world for a policy.

        Raises:
            VlaError: The policy does not fit, or the latency is no multiple of the command period.
        """
        module = _import("policy_world")
        schedule = partial(make_schedule, self.schedule, self.num_executed)
        driving = module.Driving(make_schedule=schedule, latency_s=self.latency_ms / 1000.0)
        world: World = module.PolicyWorld(RobotSpec.load(self.robot), contract, driving, self.randomise)
        return world

    def referee(self, trial: Trial, state: Any) -> Referee:
        """Return the referee of a trial that begins in a state at time 0."""
        referee: Referee = _import("trials").Referee(trial, state)
        return referee


def plain(trial: Trial) -> dict[str, Any]:
    """Return a trial as plain data."""
    return asdict(trial)


def _import(name: str) -> Any:
    """Return a module of ``vla_sim``."""
    try:
        from vla_sim import (  # type: ignore[import-not-found,unused-ignore]
            chains,
            nonsense,
            policy_world,
            start_state,
            tasks,
            trials,
        )
    except ImportError as error:
        raise VlaError(
            f"the simulated tabletop is not here ({error}). It is the package vla_sim with mujoco: build the "
            "workspace with colcon, and source scripts/env.bash"
        ) from None
    modules = (chains, nonsense, policy_world, start_state, tasks, trials)
    return {module.__name__: module for module in modules}[f"vla_sim.{name}"]
