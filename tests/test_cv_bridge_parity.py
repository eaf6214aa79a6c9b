# SPDX-License-Identifier: Apache-2.0
"""Our image codec and ROS' cv_bridge give the same pixels; runs wherever cv_bridge is installed (apt)."""

import numpy as np
import pytest

from vla_core.codecs.image import decode_image

cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge comes with ROS from apt, not with the wheels")

from sensor_msgs.msg import Image  # noqa: E402 - ROS is there if cv_bridge is

pytestmark = pytest.mark.ros
DEPTHS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}


@pytest.mark.parametrize("encoding", DEPTHS)
@pytest.mark.parametrize("padding", [0, 7])
def test_both_decoders_give_the_same_pixels(encoding: str, padding: int) -> None:
    height, width, depth = 12, 17, DEPTHS[encoding]
    step = width * depth + padding
    data = np.random.default_rng(0).integers(0, 256, height * step, dtype=np.uint8)
    message = Image(height=height, width=width, encoding=encoding, step=step, data=data.tobytes())
    theirs = cv_bridge.CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8")
    np.testing.assert_array_equal(decode_image(message), theirs)
