# SPDX-License-Identifier: Apache-2.0
"""Subscriptions of the policy node. Callbacks store the message and nothing else."""

from collections import deque
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_profile_sensor_data,
)
from sensor_msgs.msg import CompressedImage, Image, JointState

from vla_core.observer import JOINTS, TCP_POSE
from vla_core.robot_spec import RobotSpec

_IMAGE_TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}


def subscribe_streams(node: Node, spec: RobotSpec, on_message: Callable[[str, Any], None]) -> list[Any]:
    """Subscribe to every stream of the robot spec; ``on_message`` gets the stream's name and the message."""
    topics: dict[str, tuple[Any, str]] = {
        **{name: (_IMAGE_TYPES[camera.type], camera.topic) for name, camera in spec.cameras.items()},
        TCP_POSE: (PoseStamped, spec.tcp_pose.topic),
        JOINTS: (JointState, spec.joints.topic),
    }

    def forward(stream: str) -> Callable[[Any], None]:
        return lambda message: on_message(stream, message)

    return [
        node.create_subscription(kind, topic, forward(stream), qos_profile_sensor_data)
        for stream, (kind, topic) in topics.items()
    ]


def subscribe_any_durability(node: Node, kind: Any, topic: str, on_message: Callable[[Any], None]) -> list[Any]:
    """Subscribe so that volatile and latched publishers are both heard, each message once.

    A VOLATILE subscription matches every publisher (``ros2 topic pub`` of Jazzy is volatile); a TRANSIENT_LOCAL
    one gets what a latched publisher (``ros2 topic pub`` of Humble) said before this node started. Where both
    match, the second delivery is dropped by its source time stamp.
    """
    seen: deque[tuple[int, bytes]] = deque(maxlen=32)

    def once(message: Any, info: Any) -> None:
        key = (info["source_timestamp"], repr(message).encode())
        if key not in seen:
            seen.append(key)
            on_message(message)

    return [
        node.create_subscription(kind, topic, once, _reliable(durability))
        for durability in (QoSDurabilityPolicy.VOLATILE, QoSDurabilityPolicy.TRANSIENT_LOCAL)
    ]


def _reliable(durability: QoSDurabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=10,
        reliability=QoSReliabilityPolicy.RELIABLE,
        durability=durability,
    )
