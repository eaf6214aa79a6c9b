# SPDX-License-Identifier: Apache-2.0
"""LLaVA 1.5: CLIP, two linear layers, a language model of Llama's kind.

Which layer of the vision tower is read, and whether its class token is left out, are the configuration's
``vision_feature_layer`` and ``vision_feature_select_strategy``. No marker words stand around a picture.

Shapes: B batch, V tokens per picture, D embedding, S image side.
"""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import LlavaConfig, LlavaForConditionalGeneration

from vla_core.errors import CheckpointError
from vla_core.model.backbones.hugging_face import HuggingFaceBackbone
from vla_core.model.config import PromptConfig
from vla_core.model.question import QuestionFormat

_NUM_CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0}


class LlavaBackbone(HuggingFaceBackbone):
    """Wraps ``transformers.LlavaForConditionalGeneration``."""

    title = "LLaVA"
    model_types = ("llava",)
    config_class: ClassVar[Any] = LlavaConfig
    model_class: ClassVar[Any] = LlavaForConditionalGeneration
    # Llama's tokenizer writes "<s>", "_US", "ER", ":" and "_" in front of the pictures, and no EOS.
    prompt: ClassVar[PromptConfig] = PromptConfig(
        text="USER: \n{instruction} ASSISTANT:", tokens_before_pictures=5, tokens_after_lrn=0
    )
    question: ClassVar[QuestionFormat] = QuestionFormat(
        text="USER: {picture}\n{question} ASSISTANT:", special_tokens=True
    )

    @classmethod
    def read_config(cls, folder: Path) -> Any:
        """Return the configuration in a folder.

        Raises:
            CheckpointError: It is missing, of another kind of model, or its vision tower has no fixed size.
        """
        config = super().read_config(folder)
        found = config.vision_config.model_type
        if found not in _NUM_CLASS_TOKENS:
            expected = " or ".join(repr(kind) for kind in _NUM_CLASS_TOKENS)
            raise CheckpointError(
                f"{folder / 'config.json'}: vision_config.model_type is {found!r}, expected {expected}"
            )
        return config

    @property
    def num_image_tokens(self) -> int:
        """V, tokens that one picture becomes: patches, and the class token where it is kept."""
        vision = self._config.vision_config
        num_patches = int(vision.image_size // vision.patch_size) ** 2
        num_left_out = int(self._config.vision_feature_select_strategy == "default")
        return num_patches + _NUM_CLASS_TOKENS[vision.model_type] - num_left_out

    def encode_images(self, images_B3SS: Tensor) -> Tensor:
        """Return picture tokens (B, V, D)."""
        return torch.stack(tuple(self.model.model.get_image_features(images_B3SS).pooler_output))


BACKBONE = LlavaBackbone
