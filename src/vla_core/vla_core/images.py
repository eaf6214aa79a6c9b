# SPDX-License-Identifier: Apache-2.0
"""Camera pictures into the numbers that a vision encoder reads. No torch here.

The result equals RoboVLMs' chain of PIL ``Resize((S, S), BICUBIC)``, ``ToTensor`` and ``Normalize`` to the bit.
The picture is squashed to a square, never cropped, so a checkpoint remembers the aspect ratio of its training.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vla_core.types import RgbImage

Float32Array = NDArray[np.float32]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """Size and normalisation of the pictures that a vision encoder reads.

    Attributes:
        size_px: Side of the square picture.
        mean: Mean of red, green, blue in [0, 1] that is subtracted.
        std: Standard deviation of each that is divided by.
    """

    size_px: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        if self.size_px <= 0:
            raise ValueError(f"size_px must be above 0, found {self.size_px}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, found {self.std}")


def preprocess_image(image: RgbImage, spec: ImageSpec) -> Float32Array:
    """Return a (H, W, 3) uint8 RGB picture as (3, S, S) float32, resized and normalised.

    Raises:
        ValueError: The picture is not (H, W, 3) uint8.
    """
    _require_rgb(image)
    resized = Image.fromarray(np.ascontiguousarray(image)).resize(
        (spec.size_px, spec.size_px), Image.Resampling.BICUBIC
    )
    table = _normalized_levels(spec)
    pixels = np.asarray(resized)
    normalized = np.empty((3, spec.size_px, spec.size_px), dtype=np.float32)
    for channel in range(3):
        np.take(table[channel], pixels[:, :, channel], out=normalized[channel])
    return normalized


@lru_cache(maxsize=8)
def _normalized_levels(spec: ImageSpec) -> Float32Array:
    """Return (3, 256): what each level of each channel becomes."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255.0)
    mean = np.asarray(spec.mean, dtype=np.float32)[:, None]
    std = np.asarray(spec.std, dtype=np.float32)[:, None]
    return (levels - mean) / std


def _require_rgb(image: RgbImage) -> None:
    found = np.asarray(image)
    if found.dtype != np.uint8 or found.ndim != 3 or found.shape[2] != 3 or 0 in found.shape:
        raise ValueError(
            f"a picture must be (height, width, 3) uint8 RGB, found {found.dtype} of shape {found.shape}. "
            "Convert it in the codec of the camera"
        )
