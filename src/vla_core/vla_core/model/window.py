# SPDX-License-Identifier: Apache-2.0
"""The last W values of parallel streams, oldest first, each stream with its own age.

A stream that is younger than the window fills it from the left, so that whatever reads it causally needs no mask:
behind a stream's newest value lies only what it cannot see.

Shapes: B streams, W window.
"""

import torch
from torch import Tensor


def newest_index(num_ticks_B: Tensor, window_size: int) -> Tensor:
    """Return (B,) where the value of the next tick goes, for streams that have seen ``num_ticks_B`` ticks."""
    return num_ticks_B.clamp(max=window_size - 1)


def push(window_BW: Tensor, value_B: Tensor, num_ticks_B: Tensor) -> Tensor:
    """Return the windows (B, W, ...) with one more value (B, ...); full ones lose their oldest, new ones all."""
    per_row = (-1, *(1,) * (window_BW.dim() - 1))
    kept_BW = window_BW.masked_fill((num_ticks_B == 0).view(per_row), 0.0)
    is_full_B = (num_ticks_B >= window_BW.shape[1]).view(per_row)
    shifted_BW = torch.where(is_full_B, kept_BW.roll(-1, dims=1), kept_BW)
    return replace_newest(shifted_BW, value_B, num_ticks_B)


def replace_newest(window_BW: Tensor, value_B: Tensor, num_ticks_B: Tensor) -> Tensor:
    """Return the windows (B, W, ...) with another value (B, ...) in the place that ``push`` filled."""
    window_size = window_BW.shape[1]
    slots_W = torch.arange(window_size, device=window_BW.device)
    is_newest_BW = slots_W == newest_index(num_ticks_B, window_size)[:, None]
    is_newest = is_newest_BW.view(-1, window_size, *(1,) * (window_BW.dim() - 2))
    return torch.where(is_newest, value_B[:, None].to(window_BW.dtype), window_BW)


def take_newest(values_BW: Tensor, num_ticks_B: Tensor) -> Tensor:
    """Return (B, ...): of (B, W, ...) values that at the newest tick; ``num_ticks_B`` is from before ``push``."""
    streams = torch.arange(len(values_BW), device=values_BW.device)
    return values_BW[streams, newest_index(num_ticks_B, values_BW.shape[1])]
