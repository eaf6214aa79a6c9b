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
_BLOCK = 32
# Sums of more products of 8 and 11 bits than these may exceed the 24 bits of a float32.
_MOST_TAPS_IN_FLOAT32 = 32


@dataclass(frozen=True, eq=False)
class _Block:
    """Coefficients of some neighbouring new pixels.

    Attributes:
        begin: First old pixel that they need.
        end: Behind the last.
        weights: (2 * block, end - begin) upper halves, then lower halves; rows behind the last new pixel are 0.
    """

    begin: int
    end: int
    weights: Tensor


def resize(picture_CHW: Tensor, size_px: int, resample: Resample) -> Tensor:
    """Return a uint8 picture (C, H, W) as (C, S, S) float32 whole numbers; it is squashed to a square."""
    channels, height, width = picture_CHW.shape
    rows_WR = picture_CHW.permute(2, 0, 1).reshape(width, channels * height)
    narrow_SR = _resize_first(rows_WR, size_px, resample)
    columns_HCS = narrow_SR.view(size_px, channels, height).permute(2, 1, 0).reshape(height, channels * size_px)
    return _resize_first(columns_HCS, size_px, resample).view(size_px, channels, size_px).transpose(0, 1).float()


def _resize_first(old_NR: Tensor, new_size: int, resample: Resample) -> Tensor:
    """Return (S, R): the first axis resized, rounded to whole numbers of 8 bits."""
    blocks = _plan(old_NR.shape[0], new_size, resample, old_NR.device)
    old_NR = old_NR.to(blocks[0].weights.dtype)
    sums = torch.cat([block.weights @ old_NR[block.begin : block.end] for block in blocks])
    upper, lower = sums.view(len(blocks), 2, _BLOCK, -1).unbind(1)
    # (upper * 2^11 + lower + 2^21) >> 22, in steps that are exact in the type of the sums.
    carried = lower.mul(2.0**-_HALF_BITS).floor_().add_(upper).add_(1 << (_HALF_BITS - 1))
    rounded = carried.mul_(2.0**-_HALF_BITS).floor_().clamp_(0, 255)
    return rounded.flatten(0, 1)[:new_size]


@lru_cache(maxsize=32)
def _plan(old_size: int, new_size: int, resample: Resample, device: torch.device) -> tuple[_Block, ...]:
    begins, coefficients = _coefficients(old_size, new_size, resample)
    taps = coefficients.shape[1]
    dtype = torch.float32 if taps <= _MOST_TAPS_IN_FLOAT32 else torch.float64
    blocks = []
    for first in range(0, new_size, _BLOCK):
        last = min(first + _BLOCK, new_size)
        begin, end = int(begins[first]), int(min(begins[last - 1] + taps, old_size))
        dense = np.zeros((_BLOCK, end - begin), dtype=np.int64)
        for new in range(first, last):
            own = coefficients[new, : end - begins[new]]
            dense[new - first, begins[new] - begin : begins[new] - begin + len(own)] = own
        halves = np.concatenate([dense >> _HALF_BITS, dense & ((1 << _HALF_BITS) - 1)])
        blocks.append(_Block(begin, end, torch.from_numpy(halves).to(device=device, dtype=dtype)))
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
