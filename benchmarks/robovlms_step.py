# SPDX-License-Identifier: Apache-2.0
"""The baseline of policy_step.py: RoboVLMs' control step, re-implemented plainly on the same weights.

What it does at every tick (``eval/calvin/model_wrapper.py``, ``base_backbone.py``, ``base_policy.py``): each
camera through PIL and the vision tower by itself, the sentence through the tokenizer, the language model in eager
attention with all hidden states and the scores of all words, and, once the window is full, the LSTM over all of it
again.
"""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vla_core.checkpoint import Checkpoint
from vla_core.model.policy_head import PolicyHeadModel
from vla_core.types import Observation


class RoboVlmsStep:
    """One robot under RoboVLMs' step.

    Args:
        checkpoint: A Kosmos-2 policy with an LSTM head; its attention is switched to eager.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        assert isinstance(checkpoint.model, PolicyHeadModel)
        self._model = checkpoint.model
        self._tokenizer = checkpoint.tokenizer
        self._kosmos: Any = checkpoint.model.backbone.generator
        self._kosmos.set_attn_implementation("eager")
        self._memory: list[Tensor] = []
        self._state: Any = None

    @torch.no_grad()
    def infer(self, observation: Observation, instruction: str) -> Tensor:
        """Return the chunk (N, 7): six arm numbers and the gripper's logit."""
        lrn = self._read(observation, instruction)
        head: Any = self._model.head
        self._memory.append(lrn)
        if len(self._memory) <= self._model.config.window_size:
            features, self._state = head.rnn(lrn, self._state)
        else:
            self._memory.pop(0)
            features, self._state = head.rnn(torch.cat(self._memory, dim=1), None)
        chunks = head.decode(features[:, -1:])
        return torch.cat([chunks.arm[0, 0], chunks.gripper_logit[0, 0, :, None]], dim=-1).cpu()

    def _read(self, observation: Observation, instruction: str) -> Tensor:
        tokens = self._tokenizer([instruction]).to(self._model.device)
        text = self._kosmos.text_model.model.embed_tokens(tokens.ids)
        sequence = text
        for camera in reversed(self._model.config.cameras):
            sequence = torch.cat(
                [sequence[:, :1], self._encode(observation.images[camera]), sequence[:, 1:]], dim=1
            )
        assert self._model.lrn_token is not None
        sequence = torch.cat([sequence[:, :-1], self._model.lrn_token[None, None], sequence[:, -1:]], dim=1)
        mask = torch.ones(sequence.shape[:2], dtype=torch.long, device=sequence.device)
        output = self._kosmos.text_model(
            inputs_embeds=sequence, attention_mask=mask, use_cache=False, output_hidden_states=True
        )
        return output.hidden_states[-1][:, -2:-1].clone()  # type: ignore[no-any-return]

    def _encode(self, picture: Any) -> Tensor:
        spec = self._model.config.image
        resized = Image.fromarray(picture).resize((spec.size_px, spec.size_px), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float().div(255.0)
        mean, std = (torch.tensor(values)[:, None, None] for values in (spec.mean, spec.std))
        return self._model.backbone.encode_images(((pixels - mean) / std)[None].to(self._model.device))
