# SPDX-License-Identifier: Apache-2.0
"""Kosmos-2 as a backbone, through transformers.

Image features are taken as in Kosmos-2 and RoboVLMs: vision transformer, its final layer norm over every patch,
unit length, then the resampler to ``latent_query_num`` tokens. The language model scales everything that it is
given by the square root of its width and adds sinusoidal positions, pictures and [LRN] included.

Shapes: B batch, L tokens, V tokens per picture, D embedding, S image side.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Kosmos2Config, Kosmos2Model
from transformers.utils import logging as transformers_logging

from vla_core.errors import CheckpointError


class Kosmos2Backbone(nn.Module):
    """Adapter around ``transformers.Kosmos2Model``, which has no language-model head."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._config = model.config

    @classmethod
    def from_pretrained(cls, folder: Path, dtype: torch.dtype = torch.float32) -> Self:
        """Return the Kosmos-2 in a Hugging Face folder with ``safetensors`` weights.

        Raises:
            CheckpointError: Weights are missing, do not fit the configuration, or cannot be read.
        """
        config = _read_config(folder)
        load: Any = Kosmos2Model.from_pretrained
        try:
            with _no_progress_bar():
                model, report = load(
                    folder,
                    config=config,
                    dtype=dtype,
                    local_files_only=True,
                    use_safetensors=True,
                    output_loading_info=True,
                )
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{folder}: cannot load Kosmos-2 weights: {error}") from error
        if report["missing_keys"]:
            raise CheckpointError(
                f"{folder}: weights lack {sorted(report['missing_keys'])[:3]}; is it a whole Kosmos-2?"
            )
        backbone = cls(model)
        backbone.fill_buffers(torch.device("cpu"), dtype)
        return backbone

    @classmethod
    def without_weights(cls, folder: Path) -> Self:
        """Return the Kosmos-2 that a folder's ``config.json`` describes, on the meta device."""
        config = _read_config(folder)
        with torch.device("meta"):
            return cls(Kosmos2Model(config))

    @property
    def embed_dim(self) -> int:
        """D, width of the language model."""
        return int(self._config.text_config.embed_dim)

    @property
    def num_image_tokens(self) -> int:
        """V, tokens that one picture becomes."""
        return int(self._config.latent_query_num)

    @property
    def image_size_px(self) -> int:
        """S, side of the pictures."""
        return int(self._config.vision_config.image_size)

    @property
    def max_tokens(self) -> int:
        """Longest sequence, pictures included."""
        return int(self._config.text_config.max_position_embeddings)

    @property
    def embedding_std(self) -> float:
        """Spread of the word embeddings."""
        return float(self.model.text_model.model.embed_tokens.weight.detach().float().std())

    def fill_buffers(self, device: torch.device, dtype: torch.dtype) -> None:
        """Compute the position tables, which transformers does not save."""
        positions = self.model.text_model.model.embed_positions
        table = positions.get_embedding(
            positions.num_positions + positions.offset, positions.embedding_dim, positions.padding_idx
        )
        positions.weights = table.to(device=device, dtype=dtype)
        embeddings = self.model.vision_model.model.embeddings
        embeddings.position_ids = torch.arange(embeddings.num_positions, device=device)[None]

    def embed_text(self, ids_BL: Tensor) -> Tensor:
        """Return word embeddings (B, L, D), unscaled."""
        return self.model.text_model.model.embed_tokens(ids_BL)  # type: ignore[no-any-return]

    def encode_images(self, images_B3SS: Tensor) -> Tensor:
        """Return picture tokens (B, V, D)."""
        vision = self.model.vision_model
        patches_BPE = vision.model.post_layernorm(vision(pixel_values=images_B3SS).last_hidden_state)
        tokens_BVD, _ = self.model.image_to_text_projection(functional.normalize(patches_BPE, dim=-1))
        return tokens_BVD  # type: ignore[no-any-return]

    def hidden_states(self, embeds_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """Return the last hidden states (B, L, D), after the final layer norm."""
        output = self.model.text_model(inputs_embeds=embeds_BLD, attention_mask=mask_BL, use_cache=False)
        return output.last_hidden_state  # type: ignore[no-any-return]


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


def _read_config(folder: Path) -> Any:
    try:
        config = Kosmos2Config.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder}/config.json: not a Kosmos-2 configuration: {error}") from error
    found = Kosmos2Config.get_config_dict(folder, local_files_only=True)[0].get("model_type")
    if found != "kosmos-2":
        raise CheckpointError(f"{folder}/config.json: model_type is {found!r}, expected 'kosmos-2'")
    return config
