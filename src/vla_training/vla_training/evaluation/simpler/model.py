# SPDX-License-Identifier: Apache-2.0
"""A checkpoint as the model that SimplerEnv asks, ``reset(task)`` and ``step(image, task)``, for K episodes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from vla_core.checkpoint import Checkpoint, load_checkpoint
from vla_core.errors import CheckpointError
from vla_core.geometry import FloatArray, Pose
from vla_core.policy import BatchedPolicy
from vla_core.types import Observation, RgbImage
from vla_training.evaluation.simpler.actions import (
    ActionStatistics,
    SimplerRobot,
    environment_action,
    gripper_of,
    raw_action,
    raw_parts,
    require_simpler,
)

Answer = tuple[Mapping[str, Any], dict[str, FloatArray]]
"""Raw action, and what the environment is sent."""


class BatchedSimplerModel:
    """Answers K episodes in one inference. An episode's answers do not depend on the others.

    Args:
        checkpoint: The model and all its facts; it looks through one camera.
        robot: Whose gripper it moves.
        num_episodes: K.
        statistics: See ``raw_action``.

    Raises:
        CheckpointError: The checkpoint needs more than SimplerEnv's interface hands over.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        robot: SimplerRobot,
        num_episodes: int = 1,
        statistics: ActionStatistics | None = None,
    ) -> None:
        self._space = checkpoint.card.action_space
        require_simpler(self._space)
        cameras = checkpoint.card.model.cameras
        reads_state = checkpoint.card.model.use_state
        if len(cameras) != 1 or reads_state:
            read = f"cameras {list(cameras)}{' and the state' if reads_state else ''}"
            raise CheckpointError(
                f"the checkpoint reads {read}; SimplerEnv's interface hands over one picture. Use a checkpoint "
                "with one camera and without use_state"
            )
        self._camera = cameras[0]
        self._statistics = statistics
        self._policy = BatchedPolicy(checkpoint, num_episodes)
        self._grippers = [gripper_of(robot) for _ in range(num_episodes)]

    def reset(self, is_new: Sequence[bool]) -> None:
        """Begin the episodes that are marked."""
        self._policy.reset(is_new)
        for gripper, mark in zip(self._grippers, is_new, strict=True):
            if mark:
                gripper.reset()

    def step(self, images: Sequence[RgbImage], sentences: Sequence[str]) -> list[Answer]:
        """Return the answer for each episode.

        Args:
            images: K pictures, (H, W, 3) uint8 RGB.
            sentences: K sentences.
        """
        chunks = self._policy.infer([self._observation(image) for image in images], sentences)
        answers: list[Answer] = []
        for chunk, gripper in zip(chunks, self._grippers, strict=True):
            raw = raw_action(self._space, chunk.actions[0], self._statistics)
            answers.append((raw_parts(raw), environment_action(raw, gripper)))
        return answers

    def _observation(self, image: NDArray[np.uint8]) -> Observation:
        return Observation(
            stamp_ns=0,
            images={self._camera: image},
            pose_tcp_in_base=Pose.identity(),
            joint_positions_rad=np.zeros(0),
            gripper_open=0.0,
            source_stamps_ns={},
        )


class SimplerModel:
    """One episode at a time, as SimplerEnv's own evaluator asks.

    Args:
        checkpoint: As ``BatchedSimplerModel``.
        robot: Whose gripper it moves.
        statistics: See ``raw_action``.
    """

    def __init__(
        self, checkpoint: Checkpoint, robot: SimplerRobot, statistics: ActionStatistics | None = None
    ) -> None:
        self._model = BatchedSimplerModel(checkpoint, robot, 1, statistics)
        self._sentence: str | None = None

    @classmethod
    def load(
        cls,
        checkpoint: Path | str,
        robot: SimplerRobot,
        device: str | torch.device = "cpu",
        statistics: Path | None = None,
    ) -> Self:
        """Return the model of a checkpoint directory.

        Raises:
            VlaError: Checkpoint or statistics cannot be used.
        """
        loaded = None if statistics is None else ActionStatistics.load(statistics)
        return cls(load_checkpoint(checkpoint, device), robot, loaded)

    def reset(self, task_description: str) -> None:
        """Begin an episode."""
        self._model.reset([True])
        self._sentence = task_description

    def step(self, image: RgbImage, task_description: str | None = None) -> Answer:
        """Return raw action and environment action; another sentence than the last one begins anew."""
        if task_description is not None and task_description != self._sentence:
            self.reset(task_description)
        if self._sentence is None:
            raise CheckpointError("step: no sentence is known; call reset(task_description) first")
        return self._model.step([image], [self._sentence])[0]
