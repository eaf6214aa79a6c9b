# SPDX-License-Identifier: Apache-2.0
"""SmolVLM: SigLIP, pixel shuffle and one linear layer, SmolLM2.

A picture is read whole, at the size of the vision tower, and not cut into tiles. As the native processor writes it
then, ``<fake_token_around_image><global-img>`` stands before it and ``<fake_token_around_image>`` behind it; these
words count among its tokens.

Shapes: B batch, V tokens per picture, D embedding, S image side.
"""

import json
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from vla_core.errors import CheckpointError
from vla_core.model.backbones.hugging_face import SIGLIP_MEAN, SIGLIP_STD, HuggingFaceBackbone
from vla_core.model.config import PromptConfig
from vla_core.model.question import QuestionFormat

_AROUND, _WHOLE_PICTURE = "<fake_token_around_image>", "<global-img>"


class SmolVlmBackbone(HuggingFaceBackbone):
    """Wraps ``transformers.SmolVLMForConditionalGeneration``."""

    title = "SmolVLM"
    model_types = ("smolvlm",)
    config_class = SmolVLMConfig
    model_class = SmolVLMForConditionalGeneration
    default_mean = SIGLIP_MEAN
    default_std = SIGLIP_STD
    # "<|im_start|>", "User" and ":" come before the pictures.
    prompt: ClassVar[PromptConfig] = PromptConfig(
        text="<|im_start|>User:{instruction}<end_of_utterance>\nAssistant:",
        special_tokens=False,
        tokens_before_pictures=3,
        tokens_after_lrn=0,
    )
    question: ClassVar[QuestionFormat] = QuestionFormat(
        text="<|im_start|>User:{picture}{question}<end_of_utterance>\nAssistant:",
        before=(_AROUND, _WHOLE_PICTURE),
        after=(_AROUND,),
    )

    def __init__(self, model: Any, folder: Path) -> None:
        super().__init__(model, folder)
        around, whole_picture = _ids_of_added_words(folder, _AROUND, _WHOLE_PICTURE)
        self._before, self._after = (around, whole_picture), (around,)

    @property
    def num_image_tokens(self) -> int:
        """V, tokens that one picture becomes, with the words around it."""
        vision = self._config.vision_config
        side = vision.image_size // vision.patch_size // self._config.scale_factor
        return int(side**2) + len(self._before) + len(self._after)

    @property
    def language_model(self) -> Any:
        """The transformers language model."""
        return self.model.model.text_model

    @property
    def vision_tower(self) -> nn.Module:
        """The vision transformer."""
        return self.model.model.vision_model  # type: ignore[no-any-return]

    def encode_images(self, images_B3SS: Tensor) -> Tensor:
        """Return picture tokens (B, V, D)."""
        patches_BPE = self.vision_tower(pixel_values=images_B3SS).last_hidden_state
        return self._with_markers(self._before, self.model.model.connector(patches_BPE), self._after)

    def native_inputs(self, ids_BL: Tensor, is_place_BL: Tensor, images_BC3SS: Tensor) -> dict[str, Any]:
        """Return what the transformers model calls words and the pictures whose places are among them."""
        return {"input_ids": ids_BL, "pixel_values": images_BC3SS}


def _ids_of_added_words(folder: Path, *words: str) -> tuple[int, ...]:
    """Return the ids of words that a tokenizer knows as a whole; the configuration does not name them."""
    path = folder / "tokenizer.json"
    try:
        added = json.loads(path.read_text(encoding="utf-8"))["added_tokens"]
        ids = {word["content"]: int(word["id"]) for word in added}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a tokenizer: {error}") from error
    for word in words:
        if word not in ids:
            raise CheckpointError(f"{path}: lacks the word '{word}', which SmolVLM writes around a picture")
    return tuple(ids[word] for word in words)


BACKBONE = SmolVlmBackbone
