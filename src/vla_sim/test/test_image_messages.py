# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from vla_core.codecs import IMAGE_DECODERS

pytest.importorskip("rclpy")

from vla_sim.image_messages import IMAGE_MESSAGES
from vla_sim.sim_publishers import info_topic

pytestmark = pytest.mark.ros


def test_the_robot_speaks_every_image_type_that_can_be_decoded() -> None:
    assert set(IMAGE_MESSAGES) == set(IMAGE_DECODERS)


@pytest.mark.parametrize("kind", IMAGE_MESSAGES)
def test_a_picture_survives_the_message(kind: str) -> None:
    rows, columns = np.mgrid[0:48, 0:64].astype(np.uint8)
    picture = np.stack([4 * columns, 5 * rows, 128 + 0 * rows], axis=-1).astype(np.uint8)
    message_type, to_message = IMAGE_MESSAGES[kind]
    message = to_message(picture)
    assert isinstance(message, message_type)
    decoded = IMAGE_DECODERS[kind](message).astype(int)
    tolerance = 0 if kind.endswith("/Image") else 8
    assert np.abs(decoded - picture).max() <= tolerance


@pytest.mark.parametrize("topic", ["cam/image_raw", "cam/image_raw/compressed"])
def test_camera_info_lies_beside_the_raw_topic(topic: str) -> None:
    assert info_topic(topic) == "cam/camera_info"
