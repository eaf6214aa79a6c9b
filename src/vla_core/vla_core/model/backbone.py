# SPDX-License-Identifier: Apache-2.0
"""What the model asks of a vision-language backbone, and the backbones that there are.

A new backbone is one file with a class that satisfies ``Backbone``, and one line in ``BACKBONES``.

Shapes: B batch, L tokens, V tokens per picture, D embedding, S image side.
"""

from pathlib import Path
from typing import Protocol, Self

import torch
from torch import Tensor

from vla_core.errors import CheckpointError
from vla_core.model.config import BackboneKind
from vla_core.model.kosmos2 import Kosmos2Backbone


class Backbone(Protocol):
    """A causal vision-language model, opened up so that the suite builds the sequence itself.

    Implementations are also ``nn.Module``. The head that predicts words is not part of a backbone.
    """

    @property
    def embed_dim(self) -> int:
        """D, width of the language model."""

    @property
    def num_image_tokens(self) -> int:
        """V, tokens that one picture becomes."""

    @property
    def image_size_px(self) -> int:
        """S, side of the pictures."""

    @property
    def max_tokens(self) -> int:
        """Longest sequence, pictures included."""

    @property
    def embedding_std(self) -> float:
        """Spread of the word embeddings, for initialising new tokens beside them."""

    @classmethod
    def from_pretrained(cls, folder: Path, dtype: torch.dtype) -> Self:
        """Return the backbone in a Hugging Face folder, with its weights."""

    @classmethod
    def without_weights(cls, folder: Path) -> Self:
        """Return the backbone that a folder's configuration describes, on the meta device."""

    def fill_buffers(self, device: torch.device, dtype: torch.dtype) -> None:
        """Compute what is not saved with the weights, after weights took the place of meta tensors."""

    def embed_text(self, ids_BL: Tensor) -> Tensor:
        """Return word embeddings (B, L, D), unscaled."""

    def encode_images(self, images_B3SS: Tensor) -> Tensor:
        """Return picture tokens (B, V, D) at the scale of word embeddings."""

    def hidden_states(self, embeds_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """Return the last hidden states (B, L, D), after the final normalisation; the mask is 0 at padding."""


BACKBONES: dict[BackboneKind, type[Backbone]] = {"kosmos2": Kosmos2Backbone}


def load_pretrained_backbone(kind: BackboneKind, folder: Path, dtype: torch.dtype = torch.float32) -> Backbone:
    """Return a backbone from a Hugging Face folder with weights.

    Raises:
        CheckpointError: The folder is missing or does not hold such a backbone.
    """
    _require_config(folder)
    return BACKBONES[kind].from_pretrained(folder, dtype)


def build_backbone_without_weights(kind: BackboneKind, folder: Path) -> Backbone:
    """Return a backbone on the meta device, shaped by a folder's configuration.

    Raises:
        CheckpointError: The folder is missing or its configuration is not of that kind.
    """
    _require_config(folder)
    return BACKBONES[kind].without_weights(folder)


def _require_config(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder}: no config.json. Give the folder of a backbone in Hugging Face's layout; "
            "nothing is downloaded"
        )
