# SPDX-License-Identifier: Apache-2.0
"""A checkpoint as a ``Policy``: observations and a sentence in, action chunks out, one tick at a time.

The history is owned here and changes only through ``infer`` and ``reset``: whoever runs the policy decides when a
new sentence starts afresh. What depends only on the sentence is computed once per sentence.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_core.actions.gripper import open_from_logit
from vla_core.checkpoint import Checkpoint, load_checkpoint
from vla_core.geometry import Pose
from vla_core.images import preprocess_image
from vla_core.model.heads.head import PredictedChunks
from vla_core.model.token_sequence import TokenSequence
from vla_core.policy_contract import PolicyContract
from vla_core.robot_state import robot_state
from vla_core.types import ActionChunk, Observation

_MAX_CACHED_SENTENCES = 16


class VlaPolicy:
    """Runs the model of a checkpoint on one robot. Not thread-safe: one owner at a time.

    Args:
        checkpoint: The model and all its facts; the model is put into evaluation mode.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._model = checkpoint.model.eval()
        self._tokenizer = checkpoint.tokenizer
        self._contract = checkpoint.card.contract
        self._texts: OrderedDict[str, TokenSequence] = OrderedDict()
        self._history = self._model.new_history()

    @classmethod
    def load(
        cls, directory: Path | str, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
    ) -> "VlaPolicy":
        """Return the policy of a checkpoint directory.

        Raises:
            CheckpointError: The checkpoint is incomplete or damaged.
        """
        return cls(load_checkpoint(directory, device, dtype))

    @property
    def contract(self) -> PolicyContract:
        """What the policy promises and needs."""
        return self._contract

    def reset(self) -> None:
        """Forget all history, as at the start of an episode."""
        self._history = self._model.new_history()

    def infer(self, observation: Observation, instruction: str) -> ActionChunk:
        """Advance by one tick and return the chunk for this observation.

        The observation is of a robot that ``contract.check_fits`` accepts.

        Raises:
            InstructionError: The sentence cannot be used; history is as before.
        """
        with torch.inference_mode():
            text = self._text(instruction)
            images_1C3SS = self._images(observation)
            chunks, self._history = self._model.step(images_1C3SS, text, self._history, self._state(observation))
        return ActionChunk(
            stamp_ns=observation.stamp_ns, period_s=self._contract.period_s, actions=_actions_of(chunks)
        )

    def warm_up(self, instruction: str = "stand still") -> None:
        """Run one inference on grey pictures, so that the first real one is not slow; history is left empty."""
        self.infer(_grey_observation(self._contract.cameras), instruction)
        self.reset()

    def _text(self, instruction: str) -> TokenSequence:
        if instruction not in self._texts:
            tokens = self._tokenizer([instruction]).to(self._model.device)
            self._texts[instruction] = self._model.embed_tokens(tokens)
            if len(self._texts) > _MAX_CACHED_SENTENCES:
                self._texts.popitem(last=False)
        self._texts.move_to_end(instruction)
        return self._texts[instruction]

    def _state(self, observation: Observation) -> Tensor | None:
        if not self._model.config.use_state:
            return None
        return torch.from_numpy(robot_state(observation))[None].to(self._model.device)

    def _images(self, observation: Observation) -> Tensor:
        spec = self._model.config.image
        pictures = np.empty((1, len(self._contract.cameras), 3, spec.size_px, spec.size_px), dtype=np.float32)
        for i, camera in enumerate(self._contract.cameras):
            assert camera in observation.images, f"no camera '{camera}'; check_fits was not called"
            pictures[0, i] = preprocess_image(observation.images[camera], spec)
        return torch.from_numpy(pictures).to(device=self._model.device, dtype=self._model.dtype)


def _actions_of(chunks: PredictedChunks) -> NDArray[np.float32]:
    """Return the chunk of one stream at one tick as (N, 7): six normalised arm numbers and ``gripper_open``."""
    arm = chunks.arm[0, 0].float().cpu().numpy()
    gripper_open = open_from_logit(chunks.gripper_logit[0, 0].float().cpu().numpy())
    return np.column_stack([arm, gripper_open]).astype(np.float32)


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
