# SPDX-License-Identifier: Apache-2.0
"""IDEFICS, an open Flamingo: a vision transformer, a perceiver, Llama with gated cross-attention to the pictures.

Pictures are not in the sequence: every word attends to all picture tokens of its tick and of the ticks before.

Shapes: B batch, L tokens, T ticks, V tokens per picture, I tokens of all pictures, P picture embedding, S image
side.
"""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import IdeficsConfig, IdeficsForVisionText2Text

from vla_core.model.backbones.hugging_face import HuggingFaceBackbone
from vla_core.model.config import PromptConfig
from vla_core.model.question import QuestionFormat
from vla_core.model.token_sequence import TokenSequence

_AROUND = "<fake_token_around_image>"


class IdeficsBackbone(HuggingFaceBackbone):
    """Wraps ``transformers.IdeficsForVisionText2Text``."""

    title = "IDEFICS"
    model_types = ("idefics",)
    config_class = IdeficsConfig
    model_class = IdeficsForVisionText2Text
    pictures_in_sequence = False
    # One mark for all pictures of a tick: words cannot tell the pictures apart, whose tokens lie side by side.
    prompt: ClassVar[PromptConfig] = PromptConfig(
        text="<s><fake_token_around_image><image><fake_token_around_image>{instruction}",
        special_tokens=False,
        tokens_before_pictures=0,
        tokens_after_lrn=0,
    )
    question: ClassVar[QuestionFormat] = QuestionFormat(
        text="<s>User:{picture}{question}\nAssistant:", before=(_AROUND,), after=(_AROUND,)
    )

    def __init__(self, model: Any, folder: Path) -> None:
        super().__init__(model, folder)
        # transformers freezes most of IDEFICS when it builds it; what is trained is the training's choice.
        model.requires_grad_(True)

    @property
    def picture_dim(self) -> int:
        """P, width of picture tokens."""
        return int(self._config.vision_config.embed_dim)

    @property
    def num_image_tokens(self) -> int:
        """V, tokens that one picture becomes: the perceiver's, or else patches and the class token."""
        vision = self._config.vision_config
        if self._config.use_resampler:
            return int(self._config.perceiver_config.resampler_n_latents)
        return int(vision.image_size // vision.patch_size) ** 2 + 1

    @property
    def language_model(self) -> Any:
        """The transformers language model, which owns the vision model too."""
        return self.model.model

    @property
    def language_layers(self) -> nn.ModuleList:
        """The layers of the language model, each gated cross-attention in front of the layer that it feeds."""
        crossing, every = self.model.model.gated_cross_attn_layers, self._config.cross_layer_interval
        layers: list[nn.Module] = []
        for i, layer in enumerate(self.model.model.layers):
            layers += [crossing[i // every], layer] if i % every == 0 else [layer]
        return nn.ModuleList(layers)

    @property
    def vision_tower(self) -> nn.Module:
        """The vision transformer, without the perceiver."""
        return self.model.model.vision_model  # type: ignore[no-any-return]

    def encode_images(self, images_B3SS: Tensor) -> Tensor:
        """Return picture tokens (B, V, P)."""
        tokens_BVP = self.vision_tower(pixel_values=images_B3SS).last_hidden_state
        if self._config.use_resampler:
            tokens_BVP = self.model.model.perceiver_resampler(tokens_BVP)
        return tokens_BVP  # type: ignore[no-any-return]

    def native_inputs(self, ids_BL: Tensor, is_place_BL: Tensor, images_BC3SS: Tensor) -> dict[str, Any]:
        """Return what the transformers model calls words and pictures; words see the pictures in front of them."""
        sees_BL1 = is_place_BL.cumsum(dim=1)[..., None].clamp(max=1)
        return {
            "input_ids": ids_BL,
            "pixel_values": images_BC3SS,
            "image_attention_mask": sees_BL1.expand(-1, -1, images_BC3SS.shape[1]),
        }

    def hidden_states(self, sequence: TokenSequence, cache: Any = None) -> Tensor:
        """Return the last hidden states (B, L, D), after the final normalisation."""
        assert sequence.pictures is not None, "IDEFICS attends to pictures at every token"
        ticks = sequence.num_ticks
        # The pictures of a tick are one long picture to the model.
        pictures_BTIP = sequence.pictures.unflatten(1, (ticks, -1))
        name = "perceiver_embeddings" if self._config.use_resampler else "image_encoder_embeddings"
        output = self.language_model(
            inputs_embeds=sequence.embeds,
            attention_mask=sequence.mask,
            image_attention_mask=_ticks_seen(sequence.embeds, ticks),
            past_key_values=cache,
            use_cache=cache is not None,
            **{name: pictures_BTIP},
        )
        return output.last_hidden_state  # type: ignore[no-any-return]


def _ticks_seen(embeds_BLD: Tensor, ticks: int) -> Tensor:
    """Return (B, L, T) 1 where a token may attend to the pictures of a tick: its own or an earlier one."""
    batch, length, _ = embeds_BLD.shape
    index_T = torch.arange(ticks, device=embeds_BLD.device)
    tick_of_L = torch.arange(length, device=embeds_BLD.device) // (length // ticks)
    return (index_T <= tick_of_L[:, None]).long().expand(batch, -1, -1)


BACKBONE = IdeficsBackbone
