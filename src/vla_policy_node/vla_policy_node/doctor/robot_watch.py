# SPDX-License-Identifier: Apache-2.0
"""Looks at a running robot for some seconds, through the policy node's own subscriptions. Publishes nothing."""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from vla_core.codecs.image import same_picture
from vla_core.codecs.stamp import stamp_ns_of
from vla_core.errors import ConfigError, ObservationRefusedError
from vla_core.observer import Observer, stream_topics, stream_types
from vla_core.robot_spec import RobotSpec
from vla_core.types import Observation
from vla_core.units import NS_PER_MS
from vla_policy_node.doctor.evidence import Evidence, StreamRecord
from vla_policy_node.doctor.graph import action_type, policy_nodes, view_topic
from vla_policy_node.inputs import subscribe_streams
from vla_policy_node.robot_kinematics import robot_kinematics

if TYPE_CHECKING:
    from vla_core.kinematics.solver import Kinematics

_OBSERVE_EVERY_S = 0.2
_LONGEST_DISCOVERY_S = 3.0
_KEPT_MESSAGES = 12
_KEPT_OBSERVATIONS = 10
SPOKEN = {
    "vla/instruction": "vla_msgs/msg/Instruction",
    "vla/estop": "std_msgs/msg/Bool",
    "vla/takeover": "std_msgs/msg/Bool",
    "vla/deadman": "std_msgs/msg/Bool",
}
"""Topics by which people speak to the policy node, and their types; its subscriptions are reliable."""


class _Arrivals:
    """Messages of one stream as they come."""

    def __init__(self, is_camera: bool) -> None:
        self._is_camera = is_camera
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.received_ns: list[int] = []
        self.stamps_ns: list[int] = []
        self.longest_repeat_ms = 0.0
        self.messages: deque[Any] = deque(maxlen=_KEPT_MESSAGES)
        self._same_since_ns = 0

    def add(self, message: Any, now_ns: int) -> None:
        """Take note of a message."""
        stamp_ns = stamp_ns_of(message)
        last = self.messages[-1] if self.messages else None
        if last is None or not self._is_camera or not same_picture(last, message):
            self._same_since_ns = stamp_ns
        self.longest_repeat_ms = max(self.longest_repeat_ms, (stamp_ns - self._same_since_ns) / NS_PER_MS)
        self.received_ns.append(now_ns)
        self.stamps_ns.append(stamp_ns)
        self.messages.append(message)


class RobotWatch:
    """Looks at the streams of one robot.

    Args:
        node: The node to look with.
        spec: The robot.
        folder: Folder of the robot spec.
    """

    def __init__(self, node: Node, spec: RobotSpec, folder: Path) -> None:
        self._node, self._spec, self._folder = node, spec, folder
        self._observer = Observer(spec)
        self._arrivals = {stream: _Arrivals(stream in spec.cameras) for stream in stream_topics(spec)}
        self._observations: deque[Observation] = deque(maxlen=_KEPT_OBSERVATIONS)
        self._refusal: str | None = "nothing was looked at yet"
        self._subscriptions = subscribe_streams(node, spec, self._on_message)
        self._timer = node.create_timer(_OBSERVE_EVERY_S, self._observe)

    def look(self, executor: SingleThreadedExecutor, seconds: float, on_wait: Callable[[float], None]) -> Evidence:
        """Look for some seconds and return what was seen.

        Args:
            executor: Spins the node; nobody else does.
            seconds: How long.
            on_wait: Called now and then with the seconds that have passed.
        """
        self._discover(executor)
        began_s = time.monotonic()
        while (passed_s := time.monotonic() - began_s) < seconds:
            executor.spin_once(timeout_sec=0.05)
            on_wait(passed_s)
        evidence = self._evidence(seconds)
        self.close()
        return evidence

    def close(self) -> None:
        """Remove the subscriptions; what was seen stays."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _discover(self, executor: SingleThreadedExecutor) -> None:
        """Wait until everybody is there, or nobody more comes; what arrived meanwhile is no measure of a rate."""
        topics = [self._node.resolve_topic_name(topic) for topic in stream_topics(self._spec).values()]
        command = self._node.resolve_topic_name(self._spec.command.topic)
        ends_s = time.monotonic() + _LONGEST_DISCOVERY_S
        while time.monotonic() < ends_s:
            executor.spin_once(timeout_sec=0.05)
            if all(map(self._node.count_publishers, topics)) and self._node.count_subscribers(command):
                break
        for arrivals in self._arrivals.values():
            arrivals.clear()

    def _on_message(self, stream: str, message: Any) -> None:
        self._arrivals[stream].add(message, self._node.get_clock().now().nanoseconds)
        self._observer.push(stream, message)

    def _observe(self) -> None:
        try:
            self._observations.append(self._observer.observe(self._node.get_clock().now().nanoseconds))
            self._refusal = None
        except ObservationRefusedError as refusal:
            self._refusal = str(refusal)

    def _evidence(self, seconds: float) -> Evidence:
        node, spec = self._node, self._spec
        gripper = spec.gripper.topic or f"{spec.gripper.action}/_action/status"
        return Evidence(
            spec=spec,
            folder=self._folder,
            seconds=seconds,
            use_sim_time=bool(node.get_parameter("use_sim_time").value),
            clock_ns=node.get_clock().now().nanoseconds,
            clock_publishers=tuple(endpoint.node for endpoint in view_topic(node, "/clock").publishers),
            streams=self._records(),
            command=view_topic(node, spec.command.topic),
            policy_nodes=policy_nodes(node),
            gripper=view_topic(node, gripper),
            gripper_action_type=None if spec.gripper.action is None else action_type(node, spec.gripper.action),
            spoken={topic: (kind, view_topic(node, topic)) for topic, kind in SPOKEN.items()},
            observations=tuple(self._observations),
            refusal=self._refusal,
            kinematics=self._kinematics(),
        )

    def _records(self) -> dict[str, StreamRecord]:
        types = stream_types(self._spec)
        records = {}
        for (stream, topic), subscription in zip(
            stream_topics(self._spec).items(), self._subscriptions, strict=True
        ):
            arrivals = self._arrivals[stream]
            records[stream] = StreamRecord(
                stream=stream,
                type=types[stream],
                view=view_topic(self._node, topic),
                qos=subscription.qos_profile,
                received_ns=np.array(arrivals.received_ns, dtype=np.int64),
                stamps_ns=np.array(arrivals.stamps_ns, dtype=np.int64),
                longest_repeat_ms=arrivals.longest_repeat_ms,
                messages=tuple(arrivals.messages),
            )
        return records

    def _kinematics(self) -> "Kinematics | str | None":
        if self._spec.kinematics is None:
            return None
        try:
            return robot_kinematics(self._node, self._spec, self._folder)
        except ConfigError as error:
            return str(error)
