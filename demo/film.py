# SPDX-License-Identifier: Apache-2.0
"""Both cameras side by side, with a caption: as a video and as a contact sheet."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Rgb = NDArray[np.uint8]

HEIGHT_PX = 240
CAPTION_PX = 32
MARGIN_PX = 8
COLUMNS = 5
SHEET_HEIGHT_PX = 160
BACKGROUND = (24, 26, 30)
INK = (235, 235, 235)


class Film:
    """Frames in the order in which they were seen.

    Args:
        rate_hz: Frames per second of the video.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._frames: list[tuple[Mapping[str, Rgb], str]] = []

    def add(self, pictures: Mapping[str, Rgb], caption: str) -> None:
        """Add the pictures of all cameras at one moment."""
        self._frames.append((pictures, caption))

    def write_video(self, path: Path) -> None:
        """Write an H.264 video; written beside and renamed, so a broken film never stands under its name."""
        partial = path.with_name(f".{path.name}")
        with av.open(str(partial), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=Fraction(self._rate_hz).limit_denominator(1000))
            pictures, caption = self._frames[0]
            first = _captioned(_side_by_side(pictures, HEIGHT_PX), caption)
            stream.width, stream.height = first.width, first.height
            stream.pix_fmt = "yuv420p"
            for pictures, caption in self._frames:
                picture = _captioned(_side_by_side(pictures, HEIGHT_PX), caption)
                container.mux(stream.encode(av.VideoFrame.from_image(picture)))
            container.mux(stream.encode(None))
        partial.replace(path)

    def write_contact_sheet(self, path: Path) -> None:
        """Write one row per caption, each with frames evenly spread over its time."""
        rows = [self._row(caption) for caption in dict.fromkeys(caption for _, caption in self._frames)]
        height = sum(row.height for row in rows) + MARGIN_PX * (len(rows) + 1)
        sheet = Image.new("RGB", (rows[0].width + 2 * MARGIN_PX, height), BACKGROUND)
        top = MARGIN_PX
        for row in rows:
            sheet.paste(row, (MARGIN_PX, top))
            top += row.height + MARGIN_PX
        sheet.save(path)

    def _row(self, caption: str) -> Image.Image:
        pictures = [picture for picture, said in self._frames if said == caption]
        chosen = [pictures[i] for i in np.linspace(0, len(pictures) - 1, COLUMNS).round().astype(int)]
        return _captioned(np.concatenate([_side_by_side(p, SHEET_HEIGHT_PX) for p in chosen], axis=1), caption)


def _side_by_side(pictures: Mapping[str, Rgb], height_px: int) -> Rgb:
    """Join the pictures of all cameras, static camera on the left."""
    names = sorted(pictures, key=lambda name: (name != "static", name))
    return np.concatenate([_scaled(pictures[name], height_px) for name in names], axis=1)


def _scaled(picture: Rgb, height_px: int) -> Rgb:
    """Scale to a height, and to an even width as H.264 wants it."""
    width_px = round(picture.shape[1] * height_px / picture.shape[0] / 2) * 2
    return np.asarray(Image.fromarray(picture).resize((width_px, height_px), Image.Resampling.BICUBIC))


def _captioned(picture: Rgb, caption: str) -> Image.Image:
    frame = Image.new("RGB", (picture.shape[1], picture.shape[0] + CAPTION_PX), BACKGROUND)
    frame.paste(Image.fromarray(picture), (0, CAPTION_PX))
    ImageDraw.Draw(frame).text((MARGIN_PX, CAPTION_PX // 2), caption, INK, ImageFont.load_default(16), anchor="lm")
    return frame
