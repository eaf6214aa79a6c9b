# SPDX-License-Identifier: Apache-2.0
"""Camera pictures into the tensors that a vision encoder reads, on the device of the model.

The result equals RoboVLMs' chain of PIL ``Resize((S, S), BICUBIC)``, ``ToTensor`` and ``Normalize`` to the bit,
and with it what the backbones' own image processors make of square pictures. A picture is squashed to a square,
never cropped, so a checkpoint remembers the aspect ratio of its training.

Rows are resized before columns, as in the Pillow that the published checkpoints were trained with. Pillow 13 takes
the cheaper order for narrow, tall pictures (480 high and 200 wide, for example); those differ from it by 0.2 to
0.35 of 255 levels on average, and by up to 27 at hard edges. 640x480, upright too, is equal in both.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from vla_core.images import ImageSpec
from vla_core.model.resize import resize
from vla_core.types import RgbImage


def preprocess(
    pictures: Sequence[RgbImage],
    spec: ImageSpec,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return pictures, each (H, W, 3) uint8 RGB of any size, as (C, 3, S, S), resized and normalised.

    Raises:
        ValueError: A picture is not (H, W, 3) uint8.
    """
    pixels = [_pixels(picture, device) for picture in pictures]
    if len({each.shape for each in pixels}) == 1:  # one resize for all of them is cheaper
        levels_C3SS = resize(torch.cat(pixels), spec.size_px, spec.resample)
        levels_C3SS = levels_C3SS.view(-1, 3, spec.size_px, spec.size_px)
    else:
        levels_C3SS = torch.stack([resize(each, spec.size_px, spec.resample) for each in pixels])
    mean, std = _normalization(spec, levels_C3SS.device)
    return levels_C3SS.div_(255.0).sub_(mean).div_(std).to(dtype)


@lru_cache(maxsize=8)
def _normalization(spec: ImageSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (3, 1, 1) of each channel."""
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (spec.mean, spec.std))
    return mean, std


def _pixels(picture: RgbImage, device: torch.device | str) -> Tensor:
    """Return a picture as (3, H, W) uint8 on a device."""
    _require_rgb(picture)
    owned = np.require(picture, requirements=["C", "W"])  # torch asks for memory that may be written to
    return torch.from_numpy(owned).to(device).permute(2, 0, 1)


def _require_rgb(picture: RgbImage) -> None:
    found = np.asarray(picture)
    if found.dtype != np.uint8 or found.ndim != 3 or found.shape[2] != 3 or 0 in found.shape:
        raise ValueError(
            f"a picture must be (height, width, 3) uint8 RGB, found {found.dtype} of shape {found.shape}. "
            "Convert it in the codec of the camera"
        )
