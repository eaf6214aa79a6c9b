# SPDX-License-Identifier: Apache-2.0
"""What the model asks of a vision-language backbone, and the backbones that there are.

A new backbone is one file in ``backbones/``, named as its kind, with a class that satisfies ``Backbone`` under the
name ``BACKBONE``, and the kind's word in ``BackboneKind``.

Shapes: B batch, L tokens, V tokens per picture, D embedding, P picture embedding, S image side.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, cast, get_args

import torch
from torch import Tensor, nn

from vla_core.errors import CheckpointError
from vla_core.images import ImageSpec
from vla_core.model.config import BackboneKind, PromptConfig
from vla_core.model.question import QuestionFormat
from vla_core.model.token_sequence import TokenSequence


class Backbone(Protocol):
    """A causal vision-language model, opened up so that the suite builds the sequence itself.

    Implementations are also ``nn.Module``. Parameters carry the names that transformers gives them, behind
    ``model.``; the head that predicts words is there, but only ``logits`` runs it.

    Attributes:
        model_types: Values of ``model_type`` in the ``config.json`` of its kind.
        prompt: The text around an instruction that suits the pretrained model.
        question: How the pretrained model is asked about a picture.
        pictures_in_sequence: Whether pictures are tokens of the sequence, or are attended to beside it.
    """

    model_types: ClassVar[tuple[str, ...]]
    prompt: ClassVar[PromptConfig]
    question: ClassVar[QuestionFormat]
    pictures_in_sequence: ClassVar[bool]

    @property
    def embed_dim(self) -> int:
        """D, width of the language model."""

    @property
    def picture_dim(self) -> int:
        """P, width of picture tokens: D where they are in the sequence."""

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
    def vocabulary_size(self) -> int:
        """Words that ``logits`` scores."""

    @property
    def embedding_std(self) -> float:
        """Spread of the word embeddings, for initialising new tokens beside them."""

    @property
    def word_embedding(self) -> nn.Module:
        """The table of word embeddings."""

    @property
    def language_layers(self) -> nn.ModuleList:
        """The layers of the language model, first to last."""

    @property
    def vision_tower(self) -> nn.Module:
        """The network that reads pixels."""

    @property
    def generator(self) -> Any:
        """The transformers model, which can ``generate`` text."""

    @classmethod
    def from_pretrained(cls, folder: Path, dtype: torch.dtype) -> Self:
        """Return the backbone in a Hugging Face folder, with its weights."""

    @classmethod
    def without_weights(cls, folder: Path) -> Self:
        """Return the backbone that a folder's configuration describes: parameters on meta, buffers computed."""

    @classmethod
    def image_spec(cls, folder: Path) -> ImageSpec:
        """Return size and normalisation of pictures that a folder's image processor asks for."""

    def finish_loading(self, dtype: torch.dtype) -> None:
        """Tie weights and cast buffers, after weights took the place of meta tensors."""

    def embed_text(self, ids_BL: Tensor) -> Tensor:
        """Return word embeddings (B, L, D), as ``hidden_states`` reads them."""

    def encode_images(self, images_B3SS: Tensor) -> Tensor:
        """Return picture tokens (B, V, P); at the scale of word embeddings where they are in the sequence."""

    def hidden_states(self, sequence: TokenSequence, cache: Any = None) -> Tensor:
        """Return the last hidden states (B, L, D), after the final normalisation.

        Args:
            sequence: Tokens; with a cache only the new ones, but mask, picture starts and pictures of all.
            cache: From ``new_cache``; remembers keys and values.
        """

    def new_cache(self) -> Any:
        """Return an empty store of keys and values."""

    def logits(self, hidden_BLD: Tensor) -> Tensor:
        """Return the scores of the next word (B, L, vocabulary)."""

    def native_inputs(self, ids_BL: Tensor, is_place_BL: Tensor, images_BC3SS: Tensor) -> dict[str, Any]:
        """Return the arguments of ``generator`` for words with pictures among them, without the attention mask.

        Args:
            ids_BL: Token ids, those of pictures included.
            is_place_BL: (B, L) bool, True where a token stands for a part of a picture.
            images_BC3SS: Preprocessed pictures, in the order of their places.
        """


def backbone_class(kind: BackboneKind) -> type[Backbone]:
    """Return the class of a kind of backbone; its file is imported only now."""
    return cast(type[Backbone], import_module(f"vla_core.model.backbones.{kind}").BACKBONE)


def backbone_kind_of(folder: Path) -> BackboneKind:
    """Return the kind of backbone that a Hugging Face folder holds.

    Raises:
        CheckpointError: The folder is missing or holds no backbone that we know.
    """
    _require_config(folder)
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: not readable as a JSON object: {error}") from error
    kinds: tuple[BackboneKind, ...] = get_args(BackboneKind)
    known = {model_type: kind for kind in kinds for model_type in backbone_class(kind).model_types}
    if found not in known:
        raise CheckpointError(f"{path}: model_type is {found!r}; backbones are {sorted(known)}")
    return known[found]


def load_pretrained_backbone(kind: BackboneKind, folder: Path, dtype: torch.dtype = torch.float32) -> Backbone:
    """Return a backbone from a Hugging Face folder with weights.

    Raises:
        CheckpointError: The folder is missing or does not hold such a backbone.
    """
    _require_config(folder)
    return backbone_class(kind).from_pretrained(folder, dtype)


def build_backbone_without_weights(kind: BackboneKind, folder: Path) -> Backbone:
    """Return a backbone whose parameters are on the meta device, shaped by a folder's configuration.

    Raises:
        CheckpointError: The folder is missing or its configuration is not of that kind.
    """
    _require_config(folder)
    return backbone_class(kind).without_weights(folder)


def _require_config(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder}: no config.json. Give the folder of a backbone in Hugging Face's layout; "
            "nothing is downloaded"
        )
