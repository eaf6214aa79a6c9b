# SPDX-License-Identifier: Apache-2.0
"""Samples of several sources to one batch on the training device: resized, augmented, normalised.

A worker process only reads; everything that costs arithmetic happens here, on the device of the model. Pictures of
sources with different sizes meet only when they have been resized.

Shapes: B batch, T ticks, C cameras, H height, W width, S image side, N chunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vla_core.images import ImageSpec
from vla_core.model.loss import TargetChunks
from vla_core.model.resize import resize
from vla_training.datasets.augmentation import Augmentation
from vla_training.datasets.window_dataset import WindowSample


@dataclass(frozen=True, eq=False)
class PictureGroup:
    """Pictures of one size of one camera.

    Attributes:
        rows: (n,) which samples of the batch they belong to.
        pixels: (n, T, 3, H, W) uint8.
    """

    rows: Tensor
    pixels: Tensor


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """Samples side by side, in the memory of the processor.

    Attributes:
        pictures: Camera to groups of pictures of equal size.
        actions: (B, T + N - 1, 7) float32.
        is_valid: (B, T + N - 1) bool.
        state: (B, T, 10) float32.
        instructions: B sentences.
        numbers: (B,) number of each sample in the run.
        points: (B, T, C, K, 2) float32 named points in the order of ``pictures``, or ``None``.
    """

    pictures: dict[str, list[PictureGroup]]
    actions: Tensor
    is_valid: Tensor
    state: Tensor
    instructions: tuple[str, ...]
    numbers: tuple[int, ...]
    points: Tensor | None = None

    def pin_memory(self) -> "WindowBatch":
        """Return the batch with its pictures (nearly all of it) in memory that a GPU copies from at once."""
        pinned = {
            camera: [PictureGroup(group.rows, group.pixels.pin_memory()) for group in groups]
            for camera, groups in self.pictures.items()
        }
        return replace(self, pictures=pinned)


def collate(samples: Sequence[WindowSample]) -> WindowBatch:
    """Return samples side by side."""
    points = [sample.points for sample in samples if sample.points is not None]
    return WindowBatch(
        pictures={camera: _groups(samples, camera) for camera in samples[0].pictures},
        actions=torch.from_numpy(np.stack([sample.actions for sample in samples])),
        is_valid=torch.from_numpy(np.stack([sample.is_valid for sample in samples])),
        state=torch.from_numpy(np.stack([sample.state for sample in samples])),
        instructions=tuple(sample.instruction for sample in samples),
        numbers=tuple(sample.number for sample in samples),
        points=torch.from_numpy(np.stack(points)) if points else None,
    )


def pictures_to_device(
    batch: WindowBatch,
    cameras: Sequence[str],
    spec: ImageSpec,
    augmentation: Augmentation | None,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the pictures of a batch as a model reads them, (B, T, C, 3, S, S).

    Without augmentation they equal what a policy makes of the same pictures, to the bit.

    Args:
        batch: The batch.
        cameras: Order of the cameras.
        spec: Size and normalisation of pictures.
        augmentation: What is drawn at random; ``None`` leaves pictures as they are.
        device: Device of the model.
        dtype: Type of the result.
    """
    squares = torch.stack([_squares(batch, camera, spec, device) for camera in cameras], dim=2)
    if augmentation is not None:
        squares = augmentation.shifted(squares, cameras, batch.numbers)
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (spec.mean, spec.std))
    levels = torch.empty(squares.shape, device=device)
    # A processor is quickest with what fits into its cache, a GPU with much at once.
    at_once = 1 if device.type == "cpu" else len(levels)
    for first in range(0, len(levels), at_once):
        rows = slice(first, first + at_once)
        levels[rows].copy_(squares[rows]).div_(255.0)
        if augmentation is not None:
            levels[rows] = augmentation.recoloured(levels[rows], batch.numbers[rows])
        levels[rows].sub_(mean).div_(std)
    return levels.to(dtype)


def points_in_pictures(
    batch: WindowBatch, cameras: Sequence[str], spec: ImageSpec, augmentation: Augmentation | None
) -> Tensor | None:
    """Return where the named things are in the pictures that ``pictures_to_device`` returns.

    Args:
        batch: The batch.
        cameras: Order of the cameras.
        spec: Size of the pictures.
        augmentation: The same as for the pictures.

    Returns:
        (B, T, C, K, 2) shares of width and height, in the memory of the processor; ``None`` if the batch has none.
    """
    if batch.points is None:
        return None
    stored = list(batch.pictures)
    points = batch.points[:, :, [stored.index(camera) for camera in cameras]]
    if augmentation is None:
        return points
    return augmentation.shifted_points(points, cameras, batch.numbers, size_px=spec.size_px)


def target_chunks(batch: WindowBatch, window_size: int, chunk_size: int, device: torch.device) -> TargetChunks:
    """Return the chunk of each tick: row t holds the actions of the frames t to t + N - 1 (B, T, N, ...)."""
    actions_BTN7 = batch.actions.unfold(1, chunk_size, 1).movedim(-1, 2)[:, :window_size].to(device)
    is_valid_BTN = batch.is_valid.unfold(1, chunk_size, 1)[:, :window_size].to(device)
    return TargetChunks(actions_BTN7[..., :6], actions_BTN7[..., 6], is_valid_BTN)


def _groups(samples: Sequence[WindowSample], camera: str) -> list[PictureGroup]:
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for row, sample in enumerate(samples):
        by_shape.setdefault(sample.pictures[camera].shape, []).append(row)
    return [
        PictureGroup(
            torch.tensor(rows), torch.from_numpy(np.stack([samples[row].pictures[camera] for row in rows]))
        )
        for rows in by_shape.values()
    ]


def _squares(batch: WindowBatch, camera: str, spec: ImageSpec, device: torch.device) -> Tensor:
    """Return the pictures of a camera (B, T, 3, S, S) uint8."""
    groups = batch.pictures[camera]
    ticks, side = groups[0].pixels.shape[1], spec.size_px
    squares = torch.empty((len(batch.instructions), ticks, 3, side, side), device=device, dtype=torch.uint8)
    for group in groups:
        pixels = group.pixels.to(device, non_blocking=True)
        if pixels.shape[-2:] != (side, side):
            planes = resize(pixels.flatten(0, 2), side, spec.resample)
            pixels = planes.view(*pixels.shape[:3], side, side).to(torch.uint8)
        squares[group.rows.to(device)] = pixels
    return squares
