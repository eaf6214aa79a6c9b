# SPDX-License-Identifier: Apache-2.0
"""Random shifts and colours of training pictures, on the device of the model.

What is drawn for a sample depends on the seed and the sample's number in the run alone: not on the process that
reads it, not on its neighbours in the batch, and not on whether the run was interrupted.

A shift moves a picture by whole pixels; pixels of the edge are repeated. By default all ticks of a window are
shifted alike, because a camera that jumps between two ticks is no camera. RoboVLMs
(``RandomShiftsAug.forward_traj``) shifts each tick for itself, and never by -p: ``per_tick`` repeats that.

Shapes: B batch, T ticks, C cameras, S image side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vla_core.robot_spec import CameraName
from vla_training.datasets.colour import colour_matrix, recolour


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """What is drawn at random for training pictures.

    Attributes:
        shift_px: Camera to the largest shift p in either direction, in pixels of the resized picture.
        brightness: Factor drawn from [1 - x, 1 + x].
        contrast: The same, about the mean grey.
        saturation: The same, about each pixel's grey.
        hue: Turn of the colour circle drawn from [-x, x]; 0.5 is half of it.
        per_tick: Shift each tick of a window for itself, by 1 - p to p, as RoboVLMs does.
    """

    shift_px: dict[CameraName, int] = field(default_factory=dict)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    per_tick: bool = False

    def __post_init__(self) -> None:
        for camera, pixels in self.shift_px.items():
            if pixels < 0:
                raise ValueError(f"shift_px.{camera} must not be below 0, found {pixels}")
        for key, most in (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.5)):
            if not 0 <= getattr(self, key) <= most:
                raise ValueError(f"{key} must be between 0 and {most:g}, found {getattr(self, key):g}")

    @property
    def recolours(self) -> bool:
        """Whether colours are drawn."""
        return max(self.brightness, self.contrast, self.saturation, self.hue) > 0


class Augmentation:
    """Draws and applies what a configuration allows.

    Args:
        config: What may be drawn.
        seed: Of everything drawn.
    """

    def __init__(self, config: AugmentationConfig, seed: int) -> None:
        self._config = config
        self._seed = seed

    def shifted(self, pictures: Tensor, cameras: Sequence[str], numbers: Sequence[int]) -> Tensor:
        """Return pictures (B, T, C, 3, S, S) of any type, shifted.

        Args:
            pictures: Resized pictures.
            cameras: Names of the cameras.
            numbers: (B,) number of each sample in the run.
        """
        shifts = self._shifts(cameras, pictures.shape[1], numbers)
        return pictures if shifts is None else shift(pictures, shifts)

    def shifted_points(
        self, points: Tensor, cameras: Sequence[str], numbers: Sequence[int], *, size_px: int
    ) -> Tensor:
        """Return points (B, T, C, K, 2) where ``shifted`` puts what they mark; they may leave the picture.

        Args:
            points: Shares (u, v) of width and height.
            cameras: Names of the cameras.
            numbers: (B,) number of each sample in the run.
            size_px: S of the pictures that are shifted.
        """
        shifts = self._shifts(cameras, points.shape[1], numbers)
        return points if shifts is None else points - shifts[..., None, :] / size_px

    def recoloured(self, pictures: Tensor, numbers: Sequence[int]) -> Tensor:
        """Return pictures (B, T, C, 3, S, S) in [0, 1] with other colours.

        Args:
            pictures: Pictures, not normalised.
            numbers: (B,) number of each sample in the run.
        """
        config = self._config
        if not config.recolours:
            return pictures
        widths = torch.tensor([config.brightness, config.saturation, config.hue, config.contrast])
        drawn = torch.stack(
            [(2 * torch.rand(4, generator=self._generator(number, 1)) - 1) * widths for number in numbers]
        )
        brightness, saturation, hue, contrast = drawn.unbind(1)
        matrix = colour_matrix(1 + brightness, 1 + saturation, hue).to(pictures)
        return recolour(pictures, matrix, (1 + contrast).to(pictures))

    def _shifts(self, cameras: Sequence[str], ticks: int, numbers: Sequence[int]) -> Tensor | None:
        """Return what is drawn for samples (B, T, C, 2), pixels to the right and down; ``None`` without shifts."""
        if not any(self._config.shift_px.values()):
            return None
        drawn = [draw_shifts(self._generator(number, 0), cameras, ticks, self._config) for number in numbers]
        return torch.stack(drawn)

    def _generator(self, number: int, purpose: int) -> torch.Generator:
        state = np.random.SeedSequence([self._seed, number, purpose]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0] >> 1))


def draw_shifts(
    generator: torch.Generator, cameras: Sequence[str], ticks: int, config: AugmentationConfig
) -> Tensor:
    """Return the shifts (T, C, 2) of one sample, pixels to the right and down, each between -p and p."""
    rows = ticks if config.per_tick else 1
    shifts = []
    for camera in cameras:
        most = _shift_of(config.shift_px, camera)
        low = 1 if config.per_tick and most else 0
        drawn = torch.randint(low, 2 * most + 1, (rows, 2), generator=generator) - most
        shifts.append(drawn.expand(ticks, 2))
    return torch.stack(shifts, dim=1)


def shift(pictures: Tensor, shifts: Tensor) -> Tensor:
    """Return pictures whose pixel (x, y) was at (x + right, y + down); edges are repeated.

    Args:
        pictures: (B, T, C, 3, S, S).
        shifts: (B, T, C, 2) whole pixels, right and down.
    """
    shifted = torch.empty_like(pictures)
    for row, camera in np.ndindex(pictures.shape[0], pictures.shape[2]):
        moves = shifts[row, :, camera].tolist()
        together = all(move == moves[0] for move in moves)  # the usual case: one copy for the whole window
        for ticks, (right, down) in [(slice(None), moves[0])] if together else enumerate(moves):
            picture = pictures[row, ticks, camera]
            shifted[row, ticks, camera] = _moved(_moved(picture, right, -1), down, -2)
    return shifted


def _moved(picture: Tensor, pixels: int, axis: int) -> Tensor:
    """Return a picture moved along an axis; slices are copied, which is far cheaper than gathering pixels."""
    if pixels == 0:
        return picture
    size = picture.shape[axis]
    distance = min(abs(pixels), size)
    kept = picture.narrow(axis, distance if pixels > 0 else 0, size - distance)
    edge = picture.narrow(axis, size - 1 if pixels > 0 else 0, 1).expand(
        *[distance if dim == axis % picture.ndim else length for dim, length in enumerate(picture.shape)]
    )
    return torch.cat([kept, edge] if pixels > 0 else [edge, kept], dim=axis)


def _shift_of(shift_px: Mapping[CameraName, int], camera: str) -> int:
    return next((pixels for name, pixels in shift_px.items() if name == camera), 0)
