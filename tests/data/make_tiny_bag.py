# SPDX-License-Identifier: Apache-2.0
"""Write ``tiny_bag``, on which live and offline observations are compared: python tests/data/make_tiny_bag.py.

Two seconds of a robot with everything that makes life hard: padded and big-endian-flagged pictures, JPEG, late and
repeated messages, a camera that falls silent, one that freezes, and a pose that is lost for a while.
"""

import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from vla_core.codecs.stamp import split_stamp_ns
from vla_core.robot_spec import RobotSpec

HERE = Path(__file__).parent
SPEC = RobotSpec.load(HERE / "tiny_robot.yaml")
STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
MS = 1_000_000
T0 = 1_700_000_000 * 1_000 * MS
RNG = np.random.default_rng(0)


def header(stamp_ns: int, frame_id: str):
    """Return a std_msgs/Header."""
    stamp = TYPES["builtin_interfaces/msg/Time"](*split_stamp_ns(stamp_ns))
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def noise(camera: str) -> np.ndarray:
    """Return a random picture of a camera's size."""
    return RNG.integers(0, 256, (SPEC.cameras[camera].height_px, SPEC.cameras[camera].width_px, 3), dtype=np.uint8)


def raw_image(stamp_ns: int, pixels: np.ndarray):
    """Return a padded bgr8 sensor_msgs/Image with the big-endian flag set."""
    height, width = pixels.shape[:2]
    rows = np.pad(pixels.reshape(height, -1), ((0, 0), (0, 5)))
    return TYPES["sensor_msgs/msg/Image"](
        header(stamp_ns, SPEC.cameras["static"].frame), height, width, "bgr8", 1, rows.shape[1], rows.ravel()
    )


def compressed_image(stamp_ns: int, pixels: np.ndarray):
    """Return a JPEG sensor_msgs/CompressedImage."""
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, format="JPEG")
    data = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
    return TYPES["sensor_msgs/msg/CompressedImage"](header(stamp_ns, SPEC.cameras["wrist"].frame), "jpeg", data)


def pose(stamp_ns: int):
    """Return a geometry_msgs/PoseStamped on a slow curve."""
    t = (stamp_ns - T0) * 1e-9
    quat = Rotation.from_euler("xyz", [3.1, 0.1 * t, t]).as_quat()
    point = TYPES["geometry_msgs/msg/Point"](0.4 + 0.1 * t, 0.05 * np.sin(t), 0.3)
    return TYPES["geometry_msgs/msg/PoseStamped"](
        header(stamp_ns, SPEC.base_frame),
        TYPES["geometry_msgs/msg/Pose"](point, TYPES["geometry_msgs/msg/Quaternion"](*quat)),
    )


def joints(stamp_ns: int):
    """Return a sensor_msgs/JointState whose names are in an order of their own."""
    names = [SPEC.gripper.joint, *SPEC.joints.names[::-1]]
    positions = np.concatenate([[0.01], RNG.uniform(-1, 1, 7)])
    empty = np.zeros(0)
    return TYPES["sensor_msgs/msg/JointState"](header(stamp_ns, ""), names, positions, empty, empty)


def messages():
    """Yield (received_ns, topic, message)."""
    frozen = noise("static")
    for k in range(60):
        stamp = T0 + round(k * 33.3 * MS)
        if not 15 <= k < 20:  # silent for a while
            pixels = frozen if 40 <= k < 45 else noise("static")
            yield stamp + 4 * MS, SPEC.cameras["static"].topic, raw_image(stamp, pixels)
        late = 50 * MS if k % 7 == 3 else 0  # out of order now and then
        yield stamp + 9 * MS + late, SPEC.cameras["wrist"].topic, compressed_image(stamp, noise("wrist"))
    for k in range(100):
        stamp = T0 + k * 20 * MS
        if not 62 <= k < 70:  # lost for a while
            yield stamp + MS, SPEC.tcp_pose.topic, pose(stamp)
        yield stamp + 2 * MS, SPEC.joints.topic, joints(stamp - (stamp % 3) * MS)


def main() -> None:
    """Write the bag beside this file."""
    target = HERE / "tiny_bag"
    shutil.rmtree(target, ignore_errors=True)
    writer = Writer(target, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for received_ns, topic, message in sorted(messages(), key=lambda entry: entry[0]):
            if topic not in connections:
                kind = message.__msgtype__
                connections[topic] = writer.add_connection(f"/{topic}", kind, typestore=STORE)
            data = STORE.serialize_cdr(message, message.__msgtype__)
            writer.write(connections[topic], received_ns, data)


if __name__ == "__main__":
    main()
