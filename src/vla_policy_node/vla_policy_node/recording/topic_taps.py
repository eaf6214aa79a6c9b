# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that hand over serialised messages unchanged, each matching whatever its publishers offer."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy

from vla_policy_node.recording.recorded_topic import RecordedTopic

_DEPTH = 100

OnMessage = Callable[[RecordedTopic, int, int, bytes], None]


def message_class(name: str) -> Any:
    """Return the Python class of a ROS type, ``package/msg/Name``."""
    package, folder, kind = name.split("/")
    return getattr(importlib.import_module(f"{package}.{folder}"), kind)


class TopicTaps:
    """One raw subscription per topic.

    Best effort hears every publisher, so it comes first. Once all publishers of a topic are reliable, a reliable
    subscription takes its place, so that nothing is lost on the way; a best-effort publisher undoes that.

    Args:
        node: The node whose subscriptions these are.
        topics: What is listened to.
        on_message: Gets topic, time of reception and of sending (nanoseconds of the ROS clock), and the bytes.
    """

    def __init__(self, node: Node, topics: Sequence[RecordedTopic], on_message: OnMessage) -> None:
        self._node, self._on_message = node, on_message
        self._topics = tuple(topics)
        self._is_simulated = bool(node.get_parameter("use_sim_time").value)
        best_effort = QoSReliabilityPolicy.BEST_EFFORT
        self._reliabilities = {topic.name: best_effort for topic in topics}
        self._subscriptions = {topic.name: self._subscribe(topic, best_effort) for topic in topics}

    def adapt(self, is_recording: bool) -> None:
        """Follow what the publishers offer by now; call this now and then.

        While recording nothing is made reliable: the change could lose a message that best effort gets.
        """
        reliable, best_effort = QoSReliabilityPolicy.RELIABLE, QoSReliabilityPolicy.BEST_EFFORT
        for topic in self._topics:
            offered = {p.qos_profile.reliability for p in self._node.get_publishers_info_by_topic(topic.name)}
            wanted = reliable if offered == {reliable} else best_effort
            if not offered or wanted == self._reliabilities[topic.name] or (is_recording and wanted == reliable):
                continue
            self._node.destroy_subscription(self._subscriptions[topic.name])
            self._reliabilities[topic.name] = wanted
            self._subscriptions[topic.name] = self._subscribe(topic, wanted)

    def problems(self) -> list[str]:
        """Return a sentence for each required topic without a publisher, and for each of another type."""
        found = []
        for topic in self._topics:
            kinds = {info.topic_type for info in self._node.get_publishers_info_by_topic(topic.name)}
            if topic.is_required and not kinds:
                found.append(f"nobody publishes '{topic.name}' ({topic.stream})")
            found += [
                f"'{topic.name}' is published as {kind}, the robot spec says {topic.type}"
                for kind in sorted(kinds - {topic.type})
            ]
        return found

    def _subscribe(self, topic: RecordedTopic, reliability: QoSReliabilityPolicy) -> Any:
        qos = QoSProfile(
            history=QoSHistoryPolicy.KEEP_LAST,
            depth=_DEPTH,
            reliability=reliability,
            durability=QoSDurabilityPolicy.VOLATILE,
        )

        def callback(data: bytes, info: Any) -> None:
            received_ns = info["received_timestamp"]
            if self._is_simulated or not received_ns:
                received_ns = self._node.get_clock().now().nanoseconds
            self._on_message(topic, received_ns, info["source_timestamp"] or received_ns, data)

        return self._node.create_subscription(message_class(topic.type), topic.name, callback, qos, raw=True)
