# SPDX-License-Identifier: Apache-2.0
"""One sequence of CALVIN's long-horizon protocol (mees/calvin, ``evaluate_policy.py``), against its interfaces."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vla_core.errors import VlaError
from vla_training.evaluation.calvin.sequences import CalvinSequence
from vla_training.evaluation.calvin.start import simulator_state

MAX_STEPS = 360
"""Steps that a subtask may take; 12 s at 30 Hz."""


class CalvinEnvironment(Protocol):
    """What is used of CALVIN's ``PlayTableSimEnv``."""

    def reset(self, robot_obs: Any = None, scene_obs: Any = None) -> Any:
        """Put robot and scene where two arrays say."""

    def get_obs(self) -> Any:
        """Return the observation."""

    def get_info(self) -> Any:
        """Return what the task oracle compares."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any]:
        """Act; return observation, reward, done and info."""


class TaskOracle(Protocol):
    """What is used of CALVIN's ``Tasks``."""

    def get_task_info_for_set(self, start_info: Any, end_info: Any, task_filter: set[str]) -> set[str]:
        """Return which of some subtasks were done between two infos."""


class StepModel(Protocol):
    """What CALVIN's evaluator asks."""

    def reset(self) -> None:
        """Begin a subtask."""

    def step(self, obs: Any, goal: str) -> Any:
        """Return the action."""


@dataclass(frozen=True, eq=False)
class CalvinWorld:
    """A simulator, its oracle and the sentence of each subtask.

    Attributes:
        environment: The simulator.
        oracle: Says which subtask was done.
        sentences: Subtask to the sentence that asks for it.
    """

    environment: CalvinEnvironment
    oracle: TaskOracle
    sentences: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class SequenceResult:
    """How a sequence went.

    Attributes:
        number: Its place in the list of sequences.
        subtasks: What was to be done.
        steps: Steps that each subtask took that was tried; all but the last were done.
        successes: How many were done in a row.
    """

    number: int
    subtasks: tuple[str, ...]
    steps: tuple[int, ...]
    successes: int


def run_sequence(
    world: CalvinWorld, model: StepModel, number: int, sequence: CalvinSequence, max_steps: int = MAX_STEPS
) -> SequenceResult:
    """Return how a sequence went; it ends at the first subtask that is not done.

    Args:
        world: Where.
        model: Who acts.
        number: Place of the sequence in its list.
        sequence: What to do.
        max_steps: Steps that a subtask may take.

    Raises:
        VlaError: There is no sentence for a subtask.
    """
    missing = sorted(set(sequence.subtasks) - set(world.sentences))
    if missing:
        raise VlaError(
            f"sequence {number}: no sentence for the subtask '{missing[0]}'; there are {sorted(world.sentences)}"
        )
    robot_obs, scene_obs = simulator_state(sequence.start)
    world.environment.reset(robot_obs=robot_obs, scene_obs=scene_obs)
    steps: list[int] = []
    successes = 0
    for subtask in sequence.subtasks:
        is_done, num_steps = _run_subtask(world, model, subtask, max_steps)
        steps.append(num_steps)
        if not is_done:
            break
        successes += 1
    return SequenceResult(number=number, subtasks=sequence.subtasks, steps=tuple(steps), successes=successes)


def _run_subtask(world: CalvinWorld, model: StepModel, subtask: str, max_steps: int) -> tuple[bool, int]:
    """Return whether a subtask was done, and after how many steps."""
    environment, sentence = world.environment, world.sentences[subtask]
    obs = environment.get_obs()
    model.reset()
    before = environment.get_info()
    for step in range(1, max_steps + 1):
        obs, _, _, info = environment.step(model.step(obs, sentence))
        if world.oracle.get_task_info_for_set(before, info, {subtask}):
            return True, step
    return False, max_steps
