# SPDX-License-Identifier: Apache-2.0
"""The baseline of train_step.py: RoboVLMs' training step, re-implemented plainly on the same weights.

What it does with a batch (``base_trainer.py:380``, ``base_backbone.py:972``): moves the future pictures of every
tick to the device, encodes each camera by itself, runs the language model in eager attention with all hidden
states and the scores of all words, the LSTM over the window, and the losses of arm and gripper.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_core.model.policy_head import PolicyHeadModel


class RoboVlmsTraining(nn.Module):
    """RoboVLMs' loss around a Kosmos-2 policy with an LSTM head; its attention is switched to eager."""

    def __init__(self, model: PolicyHeadModel) -> None:
        super().__init__()
        self.model = model
        self._kosmos: Any = model.backbone.generator
        self._kosmos.set_attn_implementation("eager")

    def forward(self, batch: dict[str, Tensor], device: torch.device) -> Tensor:
        """Return the loss of a batch: pictures (B, T, C, 3, S, S), future pictures, tokens and targets."""
        moved = {name: value.contiguous().to(device, copy=True) for name, value in batch.items()}
        lrn_BTD = self._read(moved)
        features, _ = self.model.head.rnn(lrn_BTD)
        chunks = self.model.head.decode(features)
        valid = moved["is_valid"].bool()
        arm = functional.huber_loss(chunks.arm[valid], moved["arm"][valid])
        labels = moved["gripper_open"][valid].to(chunks.gripper_logit.dtype)
        gripper = functional.binary_cross_entropy_with_logits(chunks.gripper_logit[valid], labels)
        return arm + self.model.config.loss.gripper_weight * gripper

    def _read(self, batch: dict[str, Tensor]) -> Tensor:
        size, ticks = batch["images"].shape[:2]
        ids = batch["ids"].repeat_interleave(ticks, dim=0)
        sequence = self._kosmos.text_model.model.embed_tokens(ids)
        for camera in reversed(range(batch["images"].shape[2])):
            pictures = self._encode(batch["images"][:, :, camera].flatten(0, 1))
            sequence = torch.cat([sequence[:, :1], pictures, sequence[:, 1:]], dim=1)
        lrn = self.model.lrn_token.expand(len(ids), 1, -1)
        sequence = torch.cat([sequence[:, :-1], lrn, sequence[:, -1:]], dim=1)
        mask = torch.ones(sequence.shape[:2], dtype=torch.long, device=sequence.device)
        output = self._kosmos.text_model(
            inputs_embeds=sequence, attention_mask=mask, use_cache=False, output_hidden_states=True
        )
        return output.hidden_states[-1][:, -2].view(size, ticks, -1)

    def _encode(self, pictures: Tensor) -> Tensor:
        states = self._kosmos.vision_model(pixel_values=pictures).last_hidden_state
        states = self._kosmos.vision_model.model.post_layernorm(states)
        tokens, _ = self._kosmos.image_to_text_projection(functional.normalize(states, dim=-1))
        return tokens
