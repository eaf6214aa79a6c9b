# SPDX-License-Identifier: Apache-2.0
"""A checkpoint as a ``Policy``: observations and a sentence in, action chunks out, one tick at a time.

``VlaPolicy`` runs one robot, ``BatchedPolicy`` several independent episodes in one call. A history changes only
through ``infer`` and ``reset``: whoever runs the policy decides when a new sentence starts afresh.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from vla_core.actions.gripper import open_from_logit
from vla_core.checkpoint import Checkpoint, load_checkpoint
from vla_core.geometry import Pose
from vla_core.model.chunks import PredictedChunks
from vla_core.policy_contract import PolicyContract
from vla_core.streams import StreamOptions, Streams
from vla_core.training_domain import TrainingDomain
from vla_core.types import ActionChunk, Observation


class BatchedPolicy:
    """Runs the model of a checkpoint in K episodes at once. Not thread-safe: one owner at a time.

    Args:
        checkpoint: The model and all its facts; the model is put into evaluation mode.
        num_streams: K.
        options: Ways to make a tick cheaper.
    """

    def __init__(self, checkpoint: Checkpoint, num_streams: int = 1, options: StreamOptions | None = None) -> None:
        self._contract = replace(checkpoint.card.contract, domain=TrainingDomain.of(checkpoint.statistics))
        self._streams = Streams(checkpoint, num_streams, options)

    @property
    def contract(self) -> PolicyContract:
        """What the policy promises and needs."""
        return self._contract

    def reset(self, is_new: Sequence[bool] | None = None) -> None:
        """Forget the history of the episodes that are marked, as at their start; of all by default."""
        self._streams.restart(is_new)

    def warm_up(self) -> None:
        """Run on grey pictures, so that the first real inference is not slow; histories are left empty."""
        self._streams.warm_up(_grey_observation(self._contract.cameras))

    def infer(self, observations: Sequence[Observation], instructions: Sequence[str]) -> list[ActionChunk]:
        """Advance every episode by one tick and return the chunk for each observation.

        Raises:
            InstructionError: A sentence cannot be used; all histories are as before.
            ValueError: There is not one observation and one sentence per episode.
        """
        chunks = self._streams.advance(observations, instructions)
        return [
            ActionChunk(observation.stamp_ns, self._contract.period_s, actions)
            for observation, actions in zip(observations, _actions_of(chunks), strict=True)
        ]


class VlaPolicy:
    """Runs the model of a checkpoint on one robot. Not thread-safe: one owner at a time.

    Args:
        checkpoint: The model and all its facts; the model is put into evaluation mode.
        options: Ways to make a tick cheaper.
    """

    def __init__(self, checkpoint: Checkpoint, options: StreamOptions | None = None) -> None:
        self._batch = BatchedPolicy(checkpoint, options=options)

    @classmethod
    def load(
        cls,
        directory: Path | str,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        options: StreamOptions | None = None,
    ) -> Self:
        """Return the policy of a checkpoint directory.

        Raises:
            CheckpointError: The checkpoint is incomplete or damaged.
        """
        return cls(load_checkpoint(directory, device, dtype), options)

    @property
    def contract(self) -> PolicyContract:
        """What the policy promises and needs."""
        return self._batch.contract

    def reset(self) -> None:
        """Forget all history, as at the start of an episode."""
        self._batch.reset()

    def infer(self, observation: Observation, instruction: str) -> ActionChunk:
        """Advance by one tick and return the chunk for this observation.

        The observation is of a robot that ``contract.check_fits`` accepts.

        Raises:
            InstructionError: The sentence cannot be used; history is as before.
        """
        return self._batch.infer([observation], [instruction])[0]

    def warm_up(self) -> None:
        """Run on grey pictures, so that the first real inference is not slow; history is left empty."""
        self._batch.warm_up()


def _actions_of(chunks: PredictedChunks) -> NDArray[np.float32]:
    """Return the chunks of streams at one tick as (K, N, 7): six normalised arm numbers and ``gripper_open``."""
    joined = torch.cat([chunks.arm[:, 0], chunks.gripper_logit[:, 0, :, None]], dim=-1)
    actions = joined.float().cpu().numpy()  # one way from the device, not two
    actions[..., 6] = open_from_logit(actions[..., 6])
    return actions


def _grey_observation(cameras: Sequence[str]) -> Observation:
    grey = np.full((64, 64, 3), 127, dtype=np.uint8)
    return Observation(
        stamp_ns=0,
        images=dict.fromkeys(cameras, grey),
        pose_tcp_in_base=Pose.identity(),
        joint_positions_rad=np.zeros(0),
        gripper_open=0.0,
        source_stamps_ns={},
    )
