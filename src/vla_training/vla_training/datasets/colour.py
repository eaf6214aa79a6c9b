# SPDX-License-Identifier: Apache-2.0
"""Brightness, contrast, saturation and hue of pictures as linear maps of colours, one per sample.

Hue turns the colour about the grey axis: in YIQ space (NTSC) that is a rotation of I and Q.

Shapes: B batch; pictures (B, ..., 3, S, S) in [0, 1].
"""

import math

import torch
from torch import Tensor

_GREY = (0.299, 0.587, 0.114)  # luma of red, green and blue, ITU-R BT.601
_YIQ_OF_RGB = (_GREY, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))


def colour_matrix(brightness: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Return (B, 3, 3) maps from colour to colour.

    Args:
        brightness: (B,) factor of the whole.
        saturation: (B,) factor of the distance from grey.
        hue: (B,) part of a whole turn.
    """
    yiq_of_rgb = torch.tensor(_YIQ_OF_RGB, dtype=torch.float64)
    angle = 2 * math.pi * hue.double()
    cos, sin, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    factor = saturation.double()
    rows = [one, zero, zero, zero, factor * cos, -factor * sin, zero, factor * sin, factor * cos]
    turn = torch.stack(rows, dim=-1).view(-1, 3, 3)
    matrix = torch.linalg.inv(yiq_of_rgb) @ turn @ yiq_of_rgb
    scaled: Tensor = brightness.double()[:, None, None] * matrix
    return scaled.float()


def recolour(pictures: Tensor, matrix: Tensor, contrast: Tensor) -> Tensor:
    """Return pictures with other colours, cut to [0, 1].

    Args:
        pictures: (B, ..., 3, S, S).
        matrix: (B, 3, 3) from ``colour_matrix``.
        contrast: (B,) factor of the distance from the sample's mean grey.
    """
    flat = pictures.flatten(1, -4)
    coloured = torch.einsum("bij,bnjyx->bniyx", matrix, flat)
    grey = torch.tensor(_GREY, device=pictures.device, dtype=pictures.dtype)
    mean = torch.einsum("j,bnjyx->b", grey, coloured) / coloured[:, :, 0].flatten(1).shape[1]
    mean, factor = (value[:, None, None, None, None] for value in (mean, contrast))
    return (mean + factor * (coloured - mean)).clamp_(0.0, 1.0).view(pictures.shape)
