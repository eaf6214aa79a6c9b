# SPDX-License-Identifier: Apache-2.0
"""Episodes of one task of SimplerEnv: K side by side in one inference, resumable, a row per episode.

An episode is known by its number, which is its seed and its ``episode_id``. It counts as a success when the
environment says so at its last step, as in SimplerEnv's own evaluator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vla_core.checkpoint import Checkpoint
from vla_core.errors import VlaError
from vla_core.types import RgbImage
from vla_training.evaluation.run_journal import open_run
from vla_training.evaluation.simpler.actions import ActionStatistics
from vla_training.evaluation.simpler.model import BatchedSimplerModel
from vla_training.evaluation.simpler.simulator import SimplerEnvironment, SimplerWorld

JOURNAL = "episodes.jsonl"


@dataclass(frozen=True, kw_only=True)
class SimplerEpisode:
    """How an episode went.

    Attributes:
        number: Its seed.
        instruction: Its last sentence.
        success: Whether the environment says so at its end.
        steps: How long it took.
    """

    number: int
    instruction: str
    success: bool
    steps: int


def evaluate_simpler(
    checkpoint: Checkpoint,
    identity: Mapping[str, Any],
    world: SimplerWorld,
    out: Path,
    *,
    num_episodes: int,
    batch_size: int = 1,
    max_steps: int = 400,
    statistics: ActionStatistics | None = None,
    show_progress: bool = False,
) -> list[SimplerEpisode]:
    """Return how each episode went, in their order; what an earlier run has done is not done again.

    Args:
        checkpoint: The model and all its facts.
        identity: What must be the same for a run to go on.
        world: Makes the environments.
        out: Folder that gets ``episodes.jsonl``.
        num_episodes: Episodes 0 to this.
        batch_size: K, environments side by side.
        max_steps: An episode that its environment does not end is ended then.
        statistics: See ``raw_action``.
        show_progress: Draw a bar with the time that is left.

    Raises:
        VlaError: The folder belongs to another run, or the checkpoint cannot be used.
    """
    if num_episodes < 1 or batch_size < 1:
        raise VlaError(f"episodes and batch must be at least 1, found {num_episodes} and {batch_size}")
    journal, rows = open_run(
        out / JOURNAL, {"kind": "simpler", **identity}, [own.name for own in fields(SimplerEpisode)]
    )
    with journal:
        done = {row["number"]: SimplerEpisode(**row) for row in rows if row["number"] < num_episodes}
        left = [number for number in range(num_episodes) if number not in done]
        with tqdm(total=num_episodes, initial=len(done), unit="episode", disable=not show_progress) as bar:
            if left:
                size = min(batch_size, len(left))
                batch = _Batch(checkpoint, world, left, size=size, max_steps=max_steps, statistics=statistics)
                while not batch.is_over:
                    for episode in batch.step():
                        journal.append(asdict(episode))
                        done[episode.number] = episode
                        bar.update()
    return [done[number] for number in range(num_episodes)]


@dataclass(eq=False)
class _Place:
    """One of the K environments, and the episode in it; ``number`` is ``None`` when there is none left."""

    environment: SimplerEnvironment
    number: int | None
    image: RgbImage
    sentence: str
    steps: int = 0


class _Batch:
    """Runs episodes until none is left; an environment whose episode has ended takes the next one."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        world: SimplerWorld,
        numbers: Sequence[int],
        *,
        size: int,
        max_steps: int,
        statistics: ActionStatistics | None,
    ) -> None:
        self._world, self._max_steps = world, max_steps
        self._waiting = list(numbers)
        self._model = BatchedSimplerModel(checkpoint, world.robot, size, statistics)
        self._places = [self._begun(world.make(), self._waiting.pop(0)) for _ in range(size)]
        self._model.reset([True] * size)

    @property
    def is_over(self) -> bool:
        """Whether every episode has ended."""
        return all(place.number is None for place in self._places)

    def step(self) -> list[SimplerEpisode]:
        """Advance every episode by one step; return those that have ended."""
        answers = self._model.step([p.image for p in self._places], [p.sentence for p in self._places])
        ended = []
        is_new = [False] * len(self._places)
        for k, (place, (_, action)) in enumerate(zip(self._places, answers, strict=True)):
            if place.number is None:
                continue  # its stream is fed the last picture, and nobody listens
            episode, has_new_sentence = self._advance(place, action)
            is_new[k] = has_new_sentence
            if episode is not None:
                ended.append(episode)
                is_new[k] = True
                self._places[k] = self._next(place)
        self._model.reset(is_new)
        return ended

    def _advance(self, place: _Place, action: Mapping[str, Any]) -> tuple[SimplerEpisode | None, bool]:
        assert place.number is not None
        sent = np.concatenate([action["world_vector"], action["rot_axangle"], action["gripper"]])
        observation, _, success, truncated, _ = place.environment.step(sent)
        place.steps += 1
        sentence = place.environment.get_language_instruction()
        has_new_sentence, place.sentence = sentence != place.sentence, sentence
        place.image = self._world.picture(place.environment, observation)
        if not truncated and place.steps < self._max_steps:
            return None, has_new_sentence
        episode = SimplerEpisode(
            number=place.number, instruction=sentence, success=bool(success), steps=place.steps
        )
        return episode, has_new_sentence

    def _next(self, place: _Place) -> _Place:
        if self._waiting:
            return self._begun(place.environment, self._waiting.pop(0))
        return _Place(place.environment, None, place.image, place.sentence)

    def _begun(self, environment: SimplerEnvironment, number: int) -> _Place:
        options = {"obj_init_options": {"episode_id": number}}
        observation, _ = environment.reset(seed=number, options=options)
        image = self._world.picture(environment, observation)
        return _Place(environment, number, image, environment.get_language_instruction())
