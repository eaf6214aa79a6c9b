# SPDX-License-Identifier: Apache-2.0
"""Pictures to the image message type that the robot spec names."""

import array
import io
from collections.abc import Callable
from typing import Any

from PIL import Image as Encoder
from sensor_msgs.msg import CompressedImage, Image

from vla_sim.cameras import Picture

_JPEG_QUALITY = 92


def raw_message(picture: Picture) -> Image:
    """Return an rgb8 ``sensor_msgs/Image`` of a (H, W, 3) uint8 picture, without a header."""
    height, width = picture.shape[:2]
    message = Image(height=height, width=width, step=3 * width, encoding="rgb8", is_bigendian=0)
    # Anything but an array is checked byte by byte.
    message.data = array.array("B", picture.tobytes())
    return message


def compressed_message(picture: Picture) -> CompressedImage:
    """Return a JPEG ``sensor_msgs/CompressedImage`` of a (H, W, 3) uint8 picture, without a header."""
    buffer = io.BytesIO()
    Encoder.fromarray(picture).save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return CompressedImage(format="rgb8; jpeg compressed bgr8", data=array.array("B", buffer.getvalue()))


IMAGE_MESSAGES: dict[str, tuple[type, Callable[[Picture], Any]]] = {
    "sensor_msgs/msg/Image": (Image, raw_message),
    "sensor_msgs/msg/CompressedImage": (CompressedImage, compressed_message),
}
