# SPDX-License-Identifier: Apache-2.0
"""Kosmos-2.

Image features are taken as in Kosmos-2 and RoboVLMs: vision transformer, its final layer norm over every patch,
unit length, then the resampler to ``latent_query_num`` tokens. The language model scales everything that it is
given by the square root of its width and adds sinusoidal positions, pictures and [LRN] included.

Shapes: B batch, L tokens, V tokens per picture, D embedding, S image side, P patches, E width of the vision tower.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Kosmos2Config, Kosmos2ForConditionalGeneration

from vla_core.model.backbones.hugging_face import HuggingFaceBackbone
from vla_core.model.config import PromptConfig
from vla_core.model.question import QuestionFormat
from vla_core.model.token_sequence import TokenSequence

# The native processor marks the places of a picture by the ids behind "<unk>".
_FIRST_PLACE_ID = 4


class Kosmos2Backbone(HuggingFaceBackbone):
    """Wraps ``transformers.Kosmos2ForConditionalGeneration``."""

    title = "Kosmos-2"
    model_types = ("kosmos-2",)
    config_class = Kosmos2Config
    model_class = Kosmos2ForConditionalGeneration
    prompt: ClassVar[PromptConfig] = PromptConfig(text="<grounding>An image of a robot {instruction}")
    question: ClassVar[QuestionFormat] = QuestionFormat(
        text="<s><image>{picture}</image>Question: {question} Answer:"
    )

    @property
    def embed_dim(self) -> int:
        """D, width of the language model."""
        return int(self._config.text_config.embed_dim)

    @property
    def num_image_tokens(self) -> int:
        """V, tokens that one picture becomes."""
        return int(self._config.latent_query_num)

    @property
    def language_model(self) -> Any:
        """The transformers language model, without the head that predicts words."""
        return self.model.text_model.model

    @property
    def vision_tower(self) -> nn.Module:
        """The vision transformer."""
        return self.model.vision_model  # type: ignore[no-any-return]

    def finish_loading(self, dtype: torch.dtype) -> None:
        """Tie weights and cast the table of positions, which is added to embeddings."""
        super().finish_loading(dtype)
        positions = self.language_model.embed_positions
        positions.weights = positions.weights.to(dtype=dtype)

    def encode_images(self, images_B3SS: Tensor) -> Tensor:
        """Return picture tokens (B, V, D)."""
        vision = self.model.vision_model
        patches_BPE = vision.model.post_layernorm(vision(pixel_values=images_B3SS).last_hidden_state)
        tokens_BVD, _ = self.model.image_to_text_projection(functional.normalize(patches_BPE, dim=-1))
        return tokens_BVD  # type: ignore[no-any-return]

    def native_inputs(self, ids_BL: Tensor, is_place_BL: Tensor, images_BC3SS: Tensor) -> dict[str, Any]:
        """Return what the transformers model calls words and the pictures whose places are among them."""
        place_ids_BL = is_place_BL.cumsum(dim=1) + _FIRST_PLACE_ID - 1
        return {
            "input_ids": torch.where(is_place_BL, place_ids_BL, ids_BL),
            "pixel_values": images_BC3SS.flatten(0, 1),
            "image_embeds_position_mask": is_place_BL.long(),
        }

    def _positions(self, sequence: TokenSequence) -> Tensor | None:
        """Return the row of the table of positions that each token reads."""
        positions_BL = sequence.positions
        return None if positions_BL is None else positions_BL + self.language_model.embed_positions.padding_idx + 1


BACKBONE = Kosmos2Backbone
