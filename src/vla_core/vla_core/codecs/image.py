# SPDX-License-Identifier: Apache-2.0
"""``sensor_msgs/Image`` and ``CompressedImage`` to (H, W, 3) uint8 RGB.

There is one decoder per format and no fallback: JPEG decoders differ by a few grey levels, and a silent choice
between two would break the parity of robot and bag.
"""

import io
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from vla_core.errors import CodecError
from vla_core.types import RgbImage

# Encoding to the columns of a pixel that hold red, green and blue.
_CHANNELS: dict[str, tuple[int, tuple[int, int, int]]] = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
}
_COMPRESSED_FORMATS = ("JPEG", "PNG")
_MAX_SIDE_PX = 16_384


def decode_image(message: Any) -> RgbImage:
    """Return the (H, W, 3) uint8 RGB picture of a ``sensor_msgs/Image``.

    Row padding (``step`` above the packed width) is cut off. ``is_bigendian`` says nothing about single bytes, so
    it does not matter to the encodings here.

    Raises:
        CodecError: The encoding is unknown, or size, ``step`` and the number of bytes contradict each other.
    """
    width, height, step = int(message.width), int(message.height), int(message.step)
    if message.encoding not in _CHANNELS:
        raise CodecError(
            f"image: encoding '{message.encoding}' is not supported; allowed: {', '.join(_CHANNELS)}. "
            "Set the camera driver to one of them"
        )
    depth, rgb = _CHANNELS[message.encoding]
    if not (0 < width <= _MAX_SIDE_PX and 0 < height <= _MAX_SIDE_PX):
        raise CodecError(f"image: size {width}x{height} is not between 1x1 and {_MAX_SIDE_PX}x{_MAX_SIDE_PX}")
    if step < width * depth:
        raise CodecError(
            f"image: step is {step} bytes, but {width} pixels of {message.encoding} need {width * depth}"
        )
    data = np.frombuffer(message.data, dtype=np.uint8)
    # Some drivers leave the padding of the last row out.
    if not step * (height - 1) + width * depth <= data.size <= step * height:
        raise CodecError(
            f"image: {data.size} bytes of data, but height {height} x step {step} need {height * step}"
        )
    rows = np.lib.stride_tricks.as_strided(
        data, shape=(height, width, depth), strides=(step, depth, 1), writeable=False
    )
    return np.ascontiguousarray(rows if rgb == (0, 1, 2) and depth == 3 else rows[:, :, rgb])


def decode_compressed_image(message: Any) -> RgbImage:
    """Return the (H, W, 3) uint8 RGB picture of a ``sensor_msgs/CompressedImage`` (JPEG or PNG).

    The bytes decide, not the ``format`` field, whose spelling differs between drivers.

    Raises:
        CodecError: The bytes are no JPEG or PNG, or are damaged.
    """
    data = bytes(message.data)
    try:
        with Image.open(io.BytesIO(data), formats=_COMPRESSED_FORMATS) as picture:
            picture.load()
            return np.asarray(picture.convert("RGB"))
    except UnidentifiedImageError:
        raise CodecError(
            f"compressed image: {len(data)} bytes with format '{message.format}' are neither JPEG nor PNG"
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CodecError(f"compressed image: {len(data)} bytes cannot be decoded: {error}") from error


def same_picture(first: Any, second: Any) -> bool:
    """Return whether two image messages carry the same bytes."""
    one, two = np.frombuffer(first.data, dtype=np.uint8), np.frombuffer(second.data, dtype=np.uint8)
    if one.size != two.size:
        return False
    # Sensor noise makes nearly all live pictures differ in the first bytes, so the whole is rarely compared.
    return np.array_equal(one[:4096], two[:4096]) and np.array_equal(one, two)
