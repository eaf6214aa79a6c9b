# SPDX-License-Identifier: Apache-2.0
"""PaliGemma and PaliGemma 2: SigLIP, one linear layer, Gemma or Gemma 2.

The word embedding of transformers 5 already holds Gemma's factor sqrt(D), and picture tokens are used as the
linear layer gives them. Attention is causal over pictures and text, as in RoboVLMs. The native model lets
pictures and question see each other in both directions; causally, no token depends on what follows it, so that
ticks can be joined and keys be cached.

Shapes: B batch, L tokens, V tokens per picture, D embedding, S image side.
"""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

from vla_core.model.backbones.hugging_face import SIGLIP_MEAN, SIGLIP_STD, HuggingFaceBackbone
from vla_core.model.config import PromptConfig
from vla_core.model.question import QuestionFormat
from vla_core.model.token_sequence import TokenSequence


class PaliGemmaBackbone(HuggingFaceBackbone):
    """Wraps ``transformers.PaliGemmaForConditionalGeneration``."""

    title = "PaliGemma"
    model_types = ("paligemma",)
    config_class = PaliGemmaConfig
    model_class = PaliGemmaForConditionalGeneration
    default_mean = SIGLIP_MEAN
    default_std = SIGLIP_STD
    prompt: ClassVar[PromptConfig] = PromptConfig(
        text="<bos>{instruction}\n", special_tokens=False, tokens_before_pictures=0, tokens_after_lrn=0
    )
    # It was trained on tasks, such as "answer en what is this?" and "caption en".
    question: ClassVar[QuestionFormat] = QuestionFormat(text="{picture}<bos>{question}\n")

    def __init__(self, model: Any, folder: Path) -> None:
        super().__init__(model, folder)
        # Without padding, transformers makes no mask and asks the layers, which PaliGemma's configuration tells
        # to look in both directions.
        layer: Any
        for layer in self.language_layers:
            layer.self_attn.is_causal = True

    @property
    def num_image_tokens(self) -> int:
        """V, tokens that one picture becomes: its patches."""
        vision = self._config.vision_config
        return int(vision.image_size // vision.patch_size) ** 2

    def encode_images(self, images_B3SS: Tensor) -> Tensor:
        """Return picture tokens (B, V, D)."""
        return self.model.model.get_image_features(images_B3SS).pooler_output  # type: ignore[no-any-return]

    def native_inputs(self, ids_BL: Tensor, is_place_BL: Tensor, images_BC3SS: Tensor) -> dict[str, Any]:
        """Return what the transformers model calls words and pictures, all of which see each other."""
        inputs = super().native_inputs(ids_BL, is_place_BL, images_BC3SS)
        return inputs | {"token_type_ids": torch.zeros_like(ids_BL)}

    def logits(self, hidden_BLD: Tensor) -> Tensor:
        """Return the scores of the next word (B, L, vocabulary), within Gemma 2's limit."""
        scores = super().logits(hidden_BLD)
        limit = getattr(self._config.get_text_config(), "final_logit_softcapping", None)
        return scores if limit is None else limit * torch.tanh(scores / limit)

    def _positions(self, sequence: TokenSequence) -> Tensor:
        """Return positions (B or 1, L); PaliGemma counts from 1."""
        num_all, num_new = sequence.mask.shape[1], sequence.embeds.shape[1]
        if sequence.positions is not None:
            return sequence.positions + 1
        return torch.arange(num_all - num_new, num_all, device=sequence.embeds.device)[None] + 1


BACKBONE = PaliGemmaBackbone
