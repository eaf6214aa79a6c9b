# SPDX-License-Identifier: Apache-2.0
"""Batches of windows as the tensors that the objective reads, on the device of the model."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vla_core.model.config import ModelConfig
from vla_core.model.prompt import PromptTokenizer
from vla_training.datasets.augmentation import Augmentation
from vla_training.datasets.batches import (
    WindowBatch,
    pictures_to_device,
    points_in_pictures,
    target_chunks,
)


@dataclass(frozen=True, eq=False)
class ModelInputs:
    """One batch for ``Objective``.

    Attributes:
        tensors: On the device, by name: ``images`` (B, T, C, 3, S, S), ``state`` (B, T, 10), ``actions`` (B, T, 7)
            and ``share`` () of float32; ``arm`` (B, T, N, 6) and ``gripper_open`` (B, T, N) of float32, and
            ``is_valid`` (B, T, N) of bool, as in ``TargetChunks``; ``ids`` and ``mask`` (B, L) of int64, as in
            ``Tokens``; where the batch has named points also ``points`` (B, T, C, K, 2) and ``points_share`` () of
            float32.
        sentences: B sentences.
        has_padding: Whether they have different lengths.
    """

    tensors: Mapping[str, Tensor]
    sentences: tuple[str, ...]
    has_padding: bool


def model_inputs(
    batch: WindowBatch,
    config: ModelConfig,
    tokenizer: PromptTokenizer,
    augmentation: Augmentation | None,
    device: torch.device,
    *,
    share: float = 1.0,
    points_share: float = 1.0,
) -> ModelInputs:
    """Return a batch as a model reads it.

    Args:
        batch: The batch.
        config: Of the model.
        tokenizer: Of the model.
        augmentation: What is drawn at random; ``None`` leaves pictures as they are.
        device: Of the model.
        share: Factor of the policy's loss that makes micro batches add up to the mean of the whole batch.
        points_share: The same for the loss that is a mean over named points.
    """
    tokens = tokenizer(batch.instructions)
    target = target_chunks(batch, config.window_size, config.chunk_size, device)
    tensors = {
        "images": pictures_to_device(batch, config.cameras, config.image, augmentation, device=device),
        "ids": tokens.ids.to(device),
        "mask": tokens.mask.to(device),
        "state": batch.state.to(device),
        "actions": batch.actions[:, : config.window_size].to(device),
        "arm": target.arm,
        "gripper_open": target.gripper_open,
        "is_valid": target.is_valid,
        "share": torch.tensor(share, device=device),
    }
    points = points_in_pictures(batch, config.cameras, config.image, augmentation)
    if points is not None:
        tensors |= {"points": points.to(device), "points_share": torch.tensor(points_share, device=device)}
    return ModelInputs(tensors, tokens.sentences, tokens.has_padding)
