# SPDX-License-Identifier: Apache-2.0
"""A frozen text encoder from a folder in Hugging Face's layout: sentences to vectors of unit length.

CLIP gives the vector that it compares with pictures. Of any other encoder the last hidden states are averaged over
the words of a sentence. Nothing is downloaded, and only ``safetensors`` weights are read.

Shapes: B sentences, L tokens, W width of the vectors.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    CLIPTextModel,
    CLIPTextModelWithProjection,
)

from vla_core.errors import CheckpointError
from vla_core.instruction import MAX_INSTRUCTION_CHARS, clean_instruction
from vla_core.model.prompt import read_tokenizer

_CLIP_TYPES = ("clip", "clip_text_model")
# transformers makes an empty tokenizer of a missing one, to which words are alike; one that cannot pad fails, too.
_SAMPLES = ("open the drawer", "close the drawer", "lift it up now")
# No more than bytes; a tokenizer without a limit names a number that is too large for it.
_MOST_TOKENS = 4 * MAX_INSTRUCTION_CHARS
# Weights that many encoders come without, and that averaging does not read.
_UNUSED = ("pooler.",)


class TextEncoder(nn.Module):
    """Turns sentences into vectors; it is never trained.

    Args:
        model: A transformers model that reads ``input_ids``.
        tokenizer: Its tokenizer.

    Attributes:
        width: W.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        longest = getattr(model.config, "max_position_embeddings", None) or _MOST_TOKENS
        self._max_tokens = min(tokenizer.model_max_length, longest, _MOST_TOKENS)
        self.width = int(self(_SAMPLES[:1]).shape[-1])

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the encoder in a folder, in float32.

        Raises:
            CheckpointError: The folder is missing, or holds no text encoder with tokenizer and ``safetensors``.
        """
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"{folder}: no config.json. Give the folder of a text encoder in Hugging Face's layout, such as a "
                "CLIP; nothing is downloaded"
            )
        tokenizer = read_tokenizer(folder)
        try:
            encoder = cls(_load_model(folder), tokenizer)
            first, second, *_ = encoder(_SAMPLES)
        except CheckpointError:
            raise
        except Exception as error:  # what is no text encoder fails in many ways
            raise CheckpointError(
                f"{folder}: cannot be used as a text encoder: {type(error).__name__}: {error}"
            ) from error
        if torch.equal(first, second):
            raise CheckpointError(
                f"{folder}: {_SAMPLES[0]!r} and {_SAMPLES[1]!r} give the same vector. Copy all tokenizer files of "
                "the text encoder"
            )
        return encoder

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever the rest of a training run does."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, sentences: Sequence[str]) -> Tensor:
        """Return a vector of unit length (B, W) for each sentence; what is too long for the encoder is cut off."""
        batch = self._tokenizer(
            [clean_instruction(sentence) for sentence in sentences],
            padding=True,
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
        )
        device = next(self.model.parameters()).device
        ids_BL, mask_BL = batch["input_ids"].to(device), batch["attention_mask"].to(device)
        output = self.model(input_ids=ids_BL, attention_mask=mask_BL)
        return functional.normalize(self._pool(output, mask_BL), dim=-1)

    def _pool(self, output: Any, mask_BL: Tensor) -> Tensor:
        if self.model.config.model_type in _CLIP_TYPES:
            projected = getattr(output, "text_embeds", None)
            return output.pooler_output if projected is None else projected  # type: ignore[no-any-return]
        hidden_BLW = output.last_hidden_state
        mask_BL1 = mask_BL[..., None].to(hidden_BLW.dtype)
        return (hidden_BLW * mask_BL1).sum(dim=1) / mask_BL1.sum(dim=1)  # type: ignore[no-any-return]


def _load_model(folder: Path) -> Any:
    model, report = _model_class(folder).from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(_UNUSED))
    if missing or report["mismatched_keys"]:
        raise CheckpointError(f"{folder}: weights lack {missing[:3]}; is it a whole text encoder?")
    return model


def _model_class(folder: Path) -> Any:
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type in _CLIP_TYPES:
        has_projection = config.architectures != ["CLIPTextModel"]
        return CLIPTextModelWithProjection if has_projection else CLIPTextModel
    return AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel
