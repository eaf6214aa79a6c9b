# SPDX-License-Identifier: Apache-2.0
"""LLaVA-OneVision: SigLIP, two linear layers, Qwen2.

A picture is read once, at the size of the vision tower, and ends with the learned ``image_newline``: what the
native model does with each of several pictures. It is not cut into tiles (anyres), which would cost ten times the
tokens.

Shapes: B batch, V tokens per picture, D embedding, S image side.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

from vla_core.model.backbones.hugging_face import SIGLIP_MEAN, SIGLIP_STD
from vla_core.model.backbones.llava import LlavaBackbone
from vla_core.model.config import PromptConfig
from vla_core.model.question import QuestionFormat


class LlavaOnevisionBackbone(LlavaBackbone):
    """Wraps ``transformers.LlavaOnevisionForConditionalGeneration``."""

    title = "LLaVA-OneVision"
    model_types = ("llava_onevision",)
    config_class = LlavaOnevisionConfig
    model_class = LlavaOnevisionForConditionalGeneration
    default_mean = SIGLIP_MEAN
    default_std = SIGLIP_STD
    # "<|im_start|>", "user" and the line break come before the pictures.
    prompt: ClassVar[PromptConfig] = PromptConfig(
        text="<|im_start|>user\n{instruction}<|im_end|>\n<|im_start|>assistant\n",
        special_tokens=False,
        tokens_before_pictures=3,
        tokens_after_lrn=0,
    )
    question: ClassVar[QuestionFormat] = QuestionFormat(
        text="<|im_start|>user\n{picture}\n{question}<|im_end|>\n<|im_start|>assistant\n"
    )

    @property
    def num_image_tokens(self) -> int:
        """V, tokens that one picture becomes: patches and the end of the last line."""
        return super().num_image_tokens + 1

    def encode_images(self, images_B3SS: Tensor) -> Tensor:
        """Return picture tokens (B, V, D)."""
        features = self.model.model.get_image_features(images_B3SS, **_read_whole(images_B3SS))
        return torch.stack(tuple(features.pooler_output))

    def native_inputs(self, ids_BL: Tensor, is_place_BL: Tensor, images_BC3SS: Tensor) -> dict[str, Any]:
        """Return what the transformers model calls words and the pictures whose places are among them."""
        inputs = super().native_inputs(ids_BL, is_place_BL, images_BC3SS)
        return inputs | _read_whole(inputs["pixel_values"])


def _read_whole(images_B3SS: Tensor) -> dict[str, Tensor]:
    """Return what keeps the native model from cutting pictures into tiles: it counts one more than there are."""
    batch, _, *size = images_B3SS.shape
    return {"image_sizes": torch.tensor([size] * batch), "batch_num_images": torch.tensor([batch + 1])}


BACKBONE = LlavaOnevisionBackbone
