# SPDX-License-Identifier: Apache-2.0
"""What all backbones share that wrap a transformers model: reading a folder, with and without weights.

A model without weights has its parameters on the meta device and its buffers (position tables, rotary frequencies)
computed, because transformers saves no buffers that it can compute.

Shapes: B batch, L tokens, V tokens per picture, D embedding.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.utils import logging as transformers_logging

from vla_core.errors import CheckpointError
from vla_core.images import CLIP_MEAN, CLIP_STD, ImageSpec, Resample
from vla_core.model.backbone import Backbone
from vla_core.model.question import QuestionFormat
from vla_core.model.token_sequence import TokenSequence

SIGLIP_MEAN = SIGLIP_STD = (0.5, 0.5, 0.5)


class HuggingFaceBackbone(nn.Module, Backbone):
    """Base of the backbones: holds a transformers model that can also generate text.

    Args:
        model: The transformers model.
        folder: Where its configuration and tokenizer lie.

    Attributes:
        title: Name for people.
        model_types: Values of ``model_type`` in ``config.json`` that it reads.
        config_class: Of transformers.
        model_class: Of transformers, with the language-model head.
        question: How the pretrained model is asked about a picture.
        pictures_in_sequence: Whether pictures are tokens of the sequence.
        default_mean: Mean of a picture's channels, where a folder names none.
        default_std: Standard deviation of a picture's channels, where a folder names none.
    """

    title: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]]
    config_class: ClassVar[Any]
    model_class: ClassVar[Any]
    question: ClassVar[QuestionFormat]
    pictures_in_sequence: ClassVar[bool] = True
    default_mean: ClassVar[tuple[float, float, float]] = CLIP_MEAN
    default_std: ClassVar[tuple[float, float, float]] = CLIP_STD

    def __init__(self, model: Any, folder: Path) -> None:
        super().__init__()
        self.model = model
        self._config = model.config

    @classmethod
    def from_pretrained(cls, folder: Path, dtype: torch.dtype = torch.float32) -> Self:
        """Return the model in a Hugging Face folder with ``safetensors`` weights.

        Raises:
            CheckpointError: Weights are missing, do not fit the configuration, or cannot be read.
        """
        config = cls.read_config(folder)
        try:
            with _no_progress_bar():
                model, report = cls.model_class.from_pretrained(
                    folder,
                    config=config,
                    dtype=dtype,
                    local_files_only=True,
                    use_safetensors=True,
                    ignore_mismatched_sizes=True,  # refused below, by a sentence
                    output_loading_info=True,
                )
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{folder}: cannot load {cls.title} weights: {error}") from error
        cls._require_all_weights(folder, report)
        backbone = cls(model, folder)
        backbone.finish_loading(dtype)
        return backbone

    @classmethod
    def without_weights(cls, folder: Path) -> Self:
        """Return the model that a folder's ``config.json`` describes, its parameters on the meta device."""
        config = cls.read_config(folder)
        with init_empty_weights(include_buffers=False):
            backbone = cls(cls.model_class(config), folder)
        backbone.model.tie_weights()
        return backbone

    @classmethod
    def _require_all_weights(cls, folder: Path, report: dict[str, Any]) -> None:
        for name, found, expected in sorted(report["mismatched_keys"]):
            raise CheckpointError(
                f"{folder}: weight '{name}' has shape {tuple(found)}, config.json asks for {tuple(expected)}. "
                "They belong to different models"
            )
        if report["missing_keys"]:
            raise CheckpointError(
                f"{folder}: weights lack {sorted(report['missing_keys'])[:3]}; is it a whole {cls.title}?"
            )

    @classmethod
    def read_config(cls, folder: Path) -> Any:
        """Return the configuration in a folder.

        Raises:
            CheckpointError: It is missing, or of another kind of model.
        """
        path = folder / "config.json"
        if not path.is_file():
            raise CheckpointError(
                f"{folder}: no config.json. Give the folder of a {cls.title} in Hugging Face's layout; nothing is "
                "downloaded"
            )
        try:
            found = json.loads(path.read_text(encoding="utf-8")).get("model_type")
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{path}: not a {cls.title} configuration: {error}") from error
        if found not in cls.model_types:
            expected = " or ".join(repr(kind) for kind in cls.model_types)
            raise CheckpointError(f"{path}: model_type is {found!r}, expected {expected}")
        try:
            return cls.config_class.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # wrong values of a foreign file surface in many ways
            raise CheckpointError(f"{path}: not a {cls.title} configuration: {error}") from error

    @classmethod
    def image_spec(cls, folder: Path) -> ImageSpec:
        """Return size and normalisation of pictures that a folder asks for; the default where it names none.

        Raises:
            CheckpointError: The image processor's file cannot be read.
        """
        path = folder / "preprocessor_config.json"
        if not path.is_file():
            path = folder / "processor_config.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            found = found.get("image_processor", found)
            mean = tuple(found.get("image_mean", cls.default_mean))
            std = tuple(found.get("image_std", cls.default_std))
            resample = _RESAMPLE.get(found.get("resample"), ImageSpec.resample)
            size_px = cls._image_size_px(cls.read_config(folder))
            return ImageSpec(size_px=size_px, mean=mean, std=std, resample=resample)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: not an image processor's configuration: {error}") from error

    @staticmethod
    def _image_size_px(config: Any) -> int:
        return int(config.vision_config.image_size)

    @property
    def embed_dim(self) -> int:
        """D, width of the language model."""
        return int(self._config.get_text_config().hidden_size)

    @property
    def picture_dim(self) -> int:
        """P, width of picture tokens."""
        return self.embed_dim

    @property
    def image_size_px(self) -> int:
        """S, side of the pictures."""
        return self._image_size_px(self._config)

    @property
    def max_tokens(self) -> int:
        """Longest sequence, pictures included."""
        return int(self._config.get_text_config().max_position_embeddings)

    @property
    def vocabulary_size(self) -> int:
        """Words that ``logits`` scores."""
        return int(self.model.get_output_embeddings().out_features)

    @property
    def embedding_std(self) -> float:
        """Spread of the word embeddings."""
        table: Any = self.word_embedding
        return float(table.weight.detach().float().std())

    @property
    def word_embedding(self) -> nn.Module:
        """The table of word embeddings."""
        return self.model.get_input_embeddings()  # type: ignore[no-any-return]

    @property
    def language_model(self) -> Any:
        """The transformers language model, without the head that predicts words."""
        return self.model.model.language_model

    @property
    def language_layers(self) -> nn.ModuleList:
        """The layers of the language model, first to last."""
        return self.language_model.layers  # type: ignore[no-any-return]

    @property
    def vision_tower(self) -> nn.Module:
        """The network that reads pixels."""
        return self.model.model.vision_tower  # type: ignore[no-any-return]

    @property
    def generator(self) -> Any:
        """The transformers model."""
        return self.model

    def finish_loading(self, dtype: torch.dtype) -> None:
        """Tie weights, after weights took the place of meta tensors."""
        self.model.tie_weights()

    def embed_text(self, ids_BL: Tensor) -> Tensor:
        """Return word embeddings (B, L, D), as the language model reads them."""
        return self.word_embedding(ids_BL)  # type: ignore[no-any-return]

    def hidden_states(self, sequence: TokenSequence, cache: Any = None) -> Tensor:
        """Return the last hidden states (B, L, D), after the final normalisation."""
        output = self.language_model(
            inputs_embeds=sequence.embeds,
            attention_mask=sequence.mask if sequence.has_padding else None,
            position_ids=self._positions(sequence),
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return output.last_hidden_state  # type: ignore[no-any-return]

    def new_cache(self) -> Any:
        """Return an empty store of keys and values."""
        return DynamicCache(config=self._config.get_text_config())

    def logits(self, hidden_BLD: Tensor) -> Tensor:
        """Return the scores of the next word (B, L, vocabulary)."""
        return self.model.get_output_embeddings()(hidden_BLD)  # type: ignore[no-any-return]

    def native_inputs(self, ids_BL: Tensor, is_place_BL: Tensor, images_BC3SS: Tensor) -> dict[str, Any]:
        """Return what the transformers model calls words and the pictures whose places are among them."""
        return {"input_ids": ids_BL, "pixel_values": images_BC3SS.flatten(0, 1)}

    def _positions(self, sequence: TokenSequence) -> Tensor | None:
        """Return what the language model reads as positions; ``None`` lets it count by itself."""
        return sequence.positions

    def _with_markers(self, before: Sequence[int], tokens_BVD: Tensor, after: Sequence[int]) -> Tensor:
        """Return picture tokens with the embeddings of marker words before and after them."""
        ids = torch.tensor([*before, *after], device=tokens_BVD.device)
        words_BKD = self.embed_text(ids).to(tokens_BVD.dtype).expand(tokens_BVD.shape[0], -1, -1)
        return torch.cat([words_BKD[:, : len(before)], tokens_BVD, words_BKD[:, len(before) :]], dim=1)


# PIL's numbers, as image processors save them.
_RESAMPLE: dict[int | None, Resample] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    logs: Any = transformers_logging
    was_enabled = logs.is_progress_bar_enabled()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logs.enable_progress_bar()
