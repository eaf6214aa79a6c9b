# SPDX-License-Identifier: Apache-2.0
"""What all adapters around transformers models share: reading a folder, with and without weights.

A model without weights has its parameters on the meta device and its buffers (position tables, rotary frequencies)
computed, because transformers saves no buffers that it can compute.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.utils import logging as transformers_logging

from vla_core.errors import CheckpointError
from vla_core.images import CLIP_MEAN, CLIP_STD, ImageSpec


class HuggingFaceBackbone(nn.Module):
    """Base of the adapters: holds a transformers model that can also generate text.

    Attributes:
        title: Name for people.
        model_types: Values of ``model_type`` in ``config.json`` that the adapter reads.
        config_class: Of transformers.
        model_class: Of transformers, with the language-model head.
        pictures_in_sequence: Whether pictures are tokens of the sequence.
    """

    title: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]]
    config_class: ClassVar[Any]
    model_class: ClassVar[Any]
    pictures_in_sequence: ClassVar[bool] = True

    def __init__(self, model: Any) -> None:
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
                    output_loading_info=True,
                )
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{folder}: cannot load {cls.title} weights: {error}") from error
        if report["missing_keys"]:
            raise CheckpointError(
                f"{folder}: weights lack {sorted(report['missing_keys'])[:3]}; is it a whole {cls.title}?"
            )
        backbone = cls(model)
        backbone.finish_loading(dtype)
        return backbone

    @classmethod
    def without_weights(cls, folder: Path) -> Self:
        """Return the model that a folder's ``config.json`` describes, its parameters on the meta device."""
        config = cls.read_config(folder)
        with init_empty_weights(include_buffers=False):
            return cls(cls.model_class(config))

    @classmethod
    def read_config(cls, folder: Path) -> Any:
        """Return the configuration in a folder.

        Raises:
            CheckpointError: It is missing, or of another kind of model.
        """
        path = folder / "config.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8")).get("model_type")
        except (OSError, ValueError, AttributeError) as error:
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
        """Return size and normalisation of pictures that a folder asks for; CLIP's where it says nothing.

        Raises:
            CheckpointError: The image processor's file cannot be read.
        """
        path = folder / "preprocessor_config.json"
        if not path.is_file():
            path = folder / "processor_config.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            found = found.get("image_processor", found)
            mean, std = (tuple(found.get(key, default)) for key, default in _NORMALIZATION)
            return ImageSpec(size_px=cls._image_size_px(cls.read_config(folder)), mean=mean, std=std)
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
    def embedding_std(self) -> float:
        """Spread of the word embeddings."""
        table: Any = self.word_embedding
        return float(table.weight.detach().float().std())

    @property
    def word_embedding(self) -> nn.Module:
        """The table of word embeddings."""
        return self.model.get_input_embeddings()  # type: ignore[no-any-return]

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

    def new_cache(self) -> Any:
        """Return an empty store of keys and values."""
        return DynamicCache(config=self._config.get_text_config())

    def logits(self, hidden_BLD: Tensor) -> Tensor:
        """Return the scores of the next word (B, L, vocabulary)."""
        return self.model.get_output_embeddings()(hidden_BLD)  # type: ignore[no-any-return]


_NORMALIZATION = (("image_mean", CLIP_MEAN), ("image_std", CLIP_STD))


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
