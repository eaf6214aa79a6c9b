# SPDX-License-Identifier: Apache-2.0
"""Pictures to an MP4 (H.264) whose frames lie at ``number / fps`` seconds, one by one and without a queue."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vla_training.conversion.lerobot_features import pixel_format

# As LeRobot: every second picture stands by itself, so that any one is found quickly. None waits for a later one.
# x264's mbtree looks ahead, which is of no use here, and reads memory that it never wrote where the size is not a
# multiple of 16: equal pictures gave another video about once in a thousand times.
_OPTIONS = {"g": "2", "crf": "18", "bf": "0", "preset": "veryfast", "threads": "1", "mbtree": "0"}
_GROUP_PX = 64


class VideoWriter:
    """Writes one video.

    Args:
        path: The MP4; it is complete after ``close``.
        fps: Frames per second.
        width_px: Width of the pictures.
        height_px: Height of the pictures.
    """

    def __init__(self, path: Path, fps: int, width_px: int, height_px: int) -> None:
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream("libx264", rate=fps, options=_OPTIONS)
        self._stream.width, self._stream.height = width_px, height_px
        self._stream.pix_fmt = self._pix_fmt = pixel_format(width_px, height_px)
        self._stream.codec_context.time_base = Fraction(1, fps)
        self._num_frames = 0

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Write the next (H, W, 3) picture."""
        frame = _frame(picture, self._pix_fmt)
        frame.pts, frame.time_base = self._num_frames, self._stream.codec_context.time_base
        self._num_frames += 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


def _frame(picture: NDArray[np.uint8], pix_fmt: str) -> av.VideoFrame:
    """Return a picture in the colours of the video.

    The converter of FFmpeg works on whole groups of pixels and takes what lies behind the last column with them:
    the picture is padded for it and cut afterwards, so that equal pictures give equal videos.
    """
    height, width = picture.shape[:2]
    padding = [(0, -size % _GROUP_PX) for size in (height, width)]
    padded = np.pad(picture, (*padding, (0, 0)), mode="edge")
    planes: NDArray[Any] = av.VideoFrame.from_ndarray(padded, format="rgb24").reformat(format=pix_fmt).to_ndarray()
    if pix_fmt == "yuv444p":
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(planes[:, :height, :width]), format=pix_fmt)
    rows, columns = padded.shape[:2]
    luma = planes[:rows, :width][:height]
    chroma = planes[rows:].reshape(2, rows // 2, columns // 2)[:, : height // 2, : width // 2]
    flat: NDArray[np.uint8] = np.concatenate([luma.ravel(), chroma.ravel()]).astype(np.uint8)
    return av.VideoFrame.from_ndarray(flat.reshape(height * 3 // 2, width), format=pix_fmt)
