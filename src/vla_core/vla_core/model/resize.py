# SPDX-License-Identifier: Apache-2.0
"""Pillow's image resize as matrix products, equal to the bit on any device.

Pillow (``src/libImaging/Resample.c``) resizes rows, rounds to 8 bits, then resizes columns. Each new pixel is a
sum of old pixels times coefficients that are whole numbers of 22 bits; the filter is widened when the picture
shrinks. Floating-point products of such numbers are exact while sums stay below the mantissa, so every coefficient
is split into two halves of 11 bits, which go through one matrix product side by side. New pixels are computed in
blocks, because each needs only its neighbourhood of the old ones.

Shapes: C channels, H height, W width, S side, N old pixels along an axis, R everything else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_core.images import Resample

_BITS, _HALF_BITS = 22, 11
_BLOCK = 16
# More planes at once than these fall out of a processor's cache and take three times as long.
_CACHED_PLANES = 3
# Sums of more products of 8 and 11 bits than these may exceed the 24 bits of a float32.
_MOST_TAPS_IN_FLOAT32 = 32


@dataclass(frozen=True, eq=False)
class _Block:
    """Coefficients of some neighbouring new pixels.

    Attributes:
        begin: First old pixel that they need.
        end: Behind the last.
        weights: (2 * block, end - begin): upper halves in units of the result, then lower halves in units of the
            upper halves' last bit; rows behind the last new pixel are 0.
        rounding: (2 * block, 1) the half that rounds, for upper halves alone.
    """

    begin: int
    end: int
    weights: Tensor
    rounding: Tensor


def resize(picture_CHW: Tensor, size_px: int, resample: Resample) -> Tensor:
    """Return a uint8 picture (C, H, W) as (C, S, S) float32 whole numbers; it is squashed to a square."""
    channels, height, width = picture_CHW.shape
    if picture_CHW.device.type == "cpu" and channels > _CACHED_PLANES:
        return torch.cat([resize(part, size_px, resample) for part in picture_CHW.split(_CACHED_PLANES)])
    rows = _plan(width, size_px, resample, picture_CHW.device)
    columns = _plan(height, size_px, resample, picture_CHW.device)
    old_WCH = picture_CHW.new_empty((width, channels, height), dtype=rows[0].weights.dtype)
    old_WR = old_WCH.copy_(picture_CHW.permute(2, 0, 1)).flatten(1)
    narrow_SR = _rounded(torch.stack([_halves(block, old_WR[block.begin : block.end]) for block in rows]))
    narrow_SR = narrow_SR.flatten(0, 1)[:size_px]
    old_HR = narrow_SR.view(size_px * channels, height).to(columns[0].weights.dtype).t()
    square_SR = _rounded(torch.stack([_halves(block, old_HR[block.begin : block.end]) for block in columns]))
    return square_SR.flatten(0, 1)[:size_px].view(size_px, size_px, channels).permute(2, 0, 1).float()


def _halves(block: _Block, old_NR: Tensor) -> Tensor:
    """Return (2 * block, R): sums of the upper halves, with the half that rounds, and of the lower halves."""
    return torch.addmm(block.rounding, block.weights, old_NR)


def _rounded(sums: Tensor) -> Tensor:
    """Return (blocks, block, R) whole numbers of 8 bits: (upper * 2^11 + lower + 2^21) >> 22, every step exact."""
    upper, lower = sums.unflatten(1, (2, _BLOCK)).unbind(1)
    rounded: Tensor = upper.add_(lower.floor_(), alpha=2.0**-_HALF_BITS).floor_().clamp_(0, 255)
    return rounded


@lru_cache(maxsize=32)
def _plan(old_size: int, new_size: int, resample: Resample, device: torch.device) -> tuple[_Block, ...]:
    begins, coefficients = _coefficients(old_size, new_size, resample)
    taps = coefficients.shape[1]
    dtype = torch.float32 if taps <= _MOST_TAPS_IN_FLOAT32 else torch.float64
    rounding = torch.tensor([0.5, 0.0], device=device, dtype=dtype).repeat_interleave(_BLOCK)[:, None]
    blocks = []
    for first in range(0, new_size, _BLOCK):
        last = min(first + _BLOCK, new_size)
        begin, end = int(begins[first]), int(min(begins[last - 1] + taps, old_size))
        dense = np.zeros((_BLOCK, end - begin), dtype=np.int64)
        for new in range(first, last):
            own = coefficients[new, : end - begins[new]]
            dense[new - first, begins[new] - begin : begins[new] - begin + len(own)] = own
        halves = np.concatenate([dense >> _HALF_BITS, dense & ((1 << _HALF_BITS) - 1)]) * 2.0**-_HALF_BITS
        blocks.append(_Block(begin, end, torch.from_numpy(halves).to(device=device, dtype=dtype), rounding))
    return tuple(blocks)


def _coefficients(old_size: int, new_size: int, resample: Resample) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (new,) the first old pixel and (new, taps) the whole-number coefficients of each new pixel."""
    filter_of, radius = _FILTERS[resample]
    scale = old_size / new_size
    stretch = max(scale, 1.0)
    support = radius * stretch
    centers = (np.arange(new_size) + 0.5) * scale
    begins = np.maximum((centers - support + 0.5).astype(np.int64), 0)
    ends = np.minimum((centers + support + 0.5).astype(np.int64), old_size)
    taps = int((ends - begins).max())
    index = begins[:, None] + np.arange(taps)
    weights = filter_of((index - centers[:, None] + 0.5) / stretch)
    weights[index >= ends[:, None]] = 0.0
    # Pillow adds the weights one after the other; so does cumsum.
    weights /= weights.cumsum(axis=1)[:, -1:]
    scaled = weights * (1 << _BITS)
    return begins, np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int64)


def _bilinear(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Keys' cubic convolution with a = -0.5 (Keys 1981)."""
    a, x = -0.5, np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 3.0, np.sinc(x) * np.sinc(x / 3.0), 0.0)


_FILTERS: dict[Resample, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float]] = {
    "bilinear": (_bilinear, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
