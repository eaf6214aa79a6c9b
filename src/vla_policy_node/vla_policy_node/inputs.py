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

from vla_core.observer import JOINTS, TCP_POSE, stream_topics
from vla_core.robot_spec import RobotSpec

_IMAGE_TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}


def subscribe_streams(node: Node, spec: RobotSpec, on_message: Callable[[str, Any], None]) -> list[Any]:
    """Subscribe to every stream of the robot spec; ``on_message`` gets the stream's name and the message."""
    types = {name: _IMAGE_TYPES[camera.type] for name, camera in spec.cameras.items()}
    types |= {TCP_POSE: PoseStamped, JOINTS: JointState}

    def forward(stream: str) -> Callable[[Any], None]:
        return lambda message: on_message(stream, message)

    return [
        node.create_subscription(types[stream], topic, forward(stream), qos_profile_sensor_data)
        for stream, topic in stream_topics(spec).items()
    ]


class AnyDurabilitySubscription:
    """Hears volatile and latched publishers of a topic, each message once.

    A VOLATILE subscription matches every publisher (``ros2 topic pub`` of Jazzy is volatile) and is always there.
    A TRANSIENT_LOCAL one, which also gets what a latched publisher (``ros2 topic pub`` of Humble) said before this
    node started, is opened when such a publisher is seen: beside a volatile one it would only make both sides warn
    of incompatible QoS. What both deliver is heard once, told by its source time stamp.
    """

    def __init__(self, node: Node, kind: Any, topic: str, on_message: Callable[[Any], None]) -> None:
        self._node, self._kind, self._topic = node, kind, topic
        self._on_message = on_message
        self._seen: deque[tuple[int, str]] = deque(maxlen=32)
        self._newest_ns = 0
        self._volatile = self._subscribe(QoSDurabilityPolicy.VOLATILE, self._once)
        self._latched: Any | None = None
        self.look_for_latched_publisher()

    def look_for_latched_publisher(self) -> None:
        """Open the second subscription once there is a latched publisher; call this now and then."""
        if self._latched is not None:
            return
        topic = self._node.resolve_topic_name(self._topic)
        latched = QoSDurabilityPolicy.TRANSIENT_LOCAL
        if any(
            publisher.qos_profile.durability == latched
            for publisher in self._node.get_publishers_info_by_topic(topic)
        ):
            self._latched = self._subscribe(latched, self._once_if_newest)

    def destroy(self) -> None:
        """Remove both subscriptions."""
        for subscription in (self._volatile, self._latched):
            if subscription is not None:
                self._node.destroy_subscription(subscription)

    def _subscribe(self, durability: QoSDurabilityPolicy, callback: Callable[[Any, Any], None]) -> Any:
        qos = QoSProfile(
            history=QoSHistoryPolicy.KEEP_LAST,
            depth=10,
            reliability=QoSReliabilityPolicy.RELIABLE,
            durability=durability,
        )
        return self._node.create_subscription(self._kind, self._topic, callback, qos)

    def _once_if_newest(self, message: Any, info: Any) -> None:
        """Hear what a latched publisher said, unless something newer has been heard: a stop stays a stop."""
        if info["source_timestamp"] >= self._newest_ns:
            self._once(message, info)

    def _once(self, message: Any, info: Any) -> None:
        self._newest_ns = max(self._newest_ns, info["source_timestamp"])
        key = (info["source_timestamp"], repr(message))
        if key not in self._seen:
            self._seen.append(key)
            self._on_message(message)
