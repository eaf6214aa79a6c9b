# SPDX-License-Identifier: Apache-2.0
"""What a vision encoder asks of pictures. No torch here."""

from dataclasses import dataclass
from typing import Literal

Resample = Literal["bicubic", "bilinear", "lanczos"]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """Size and normalisation of the pictures that a vision encoder reads.

    Attributes:
        size_px: Side of the square picture.
        mean: Mean of red, green, blue in [0, 1] that is subtracted.
        std: Standard deviation of each that is divided by.
        resample: Filter of the resize.
    """

    size_px: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resample: Resample = "bicubic"

    def __post_init__(self) -> None:
        if self.size_px <= 0:
            raise ValueError(f"size_px must be above 0, found {self.size_px}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, found {self.std}")
