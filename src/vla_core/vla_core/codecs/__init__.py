# SPDX-License-Identifier: Apache-2.0
"""ROS messages to values and back, without ROS: codecs read the fields of a message and nothing else.

rclpy messages, bag messages and plain objects with the same fields all decode alike.
"""

from collections.abc import Callable
from typing import Any

from vla_core.codecs.image import decode_compressed_image, decode_image
from vla_core.types import RgbImage

IMAGE_DECODERS: dict[str, Callable[[Any], RgbImage]] = {
    "sensor_msgs/msg/Image": decode_image,
    "sensor_msgs/msg/CompressedImage": decode_compressed_image,
}
