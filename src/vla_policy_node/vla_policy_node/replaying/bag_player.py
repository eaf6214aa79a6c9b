# SPDX-License-Identifier: Apache-2.0
"""Plays the streams of a bag with stamps moved to now, and hears what the policy node makes of them."""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray

from vla_core.codecs.stamp import split_stamp_ns, stamp_ns_of
from vla_core.geometry import FloatArray
from vla_core.observer import stream_topics, stream_types
from vla_core.robot_spec import RobotSpec
from vla_core.units import NS_PER_MS, NS_PER_S
from vla_msgs.msg import ActionChunk, Instruction, PolicyStatus
from vla_policy_node.recording.cdr import header_stamp_ns
from vla_policy_node.replaying.recorded_bag import RecordedBag, ReplayError

_TYPES = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
    "geometry_msgs/msg/PoseStamped": PoseStamped,
    "sensor_msgs/msg/JointState": JointState,
}
_LAST_WORDS_S = 0.5


@dataclass
class Heard:
    """What the policy node has said. Times are those of the bag, nanoseconds.

    Attributes:
        poses: Shadow target poses.
        gripper: Shadow gripper commands, in the driver's unit.
        chunks: Times of the action chunks' observations, first actions (7,), wall times of the inferences in ms.
        statuses: All statuses.
        latest_ms: How much later than planned the latest message was played.
    """

    poses: list[tuple[int, PoseStamped]] = field(default_factory=list)
    gripper: list[tuple[int, float]] = field(default_factory=list)
    chunks: list[tuple[int, FloatArray, float]] = field(default_factory=list)
    statuses: list[PolicyStatus] = field(default_factory=list)
    latest_ms: float = 0.0


class BagPlayer:
    """Plays one bag.

    Args:
        node: A node in the namespace of the replay.
        executor: Spins the node; nobody else does.
        spec: From ``shadow_spec``.
        rate: Seconds of the bag per second.
    """

    def __init__(self, node: Node, executor: SingleThreadedExecutor, spec: RobotSpec, rate: float) -> None:
        self._node, self._executor, self._rate = node, executor, rate
        self._begin_ns, self._bag_begin_ns = 0, 0
        self.heard = Heard()
        types = stream_types(spec)
        self._publishers = {
            stream: node.create_publisher(_TYPES[types[stream]], topic, 10)
            for stream, topic in stream_topics(spec).items()
        }
        self._instruction = node.create_publisher(Instruction, "vla/instruction", 10)
        latched = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        shadow = "policy_node/shadow"
        node.create_subscription(PoseStamped, f"{shadow}/{spec.command.topic}", self._on_pose, 100)
        node.create_subscription(Float64MultiArray, f"{shadow}/{spec.gripper.topic}", self._on_gripper, 100)
        node.create_subscription(ActionChunk, "policy_node/action_chunk", self._on_chunk, 100)
        node.create_subscription(PolicyStatus, "policy_node/status", self._on_status, latched)

    def wait_for_policy(self, check: Callable[[], None], timeout_s: float) -> None:
        """Wait until the policy node is active and hears this player.

        Args:
            check: Raises when there is nothing to wait for any more.
            timeout_s: Longest wait.

        Raises:
            ReplayError: It took too long.
        """
        self._wait_for(self._is_active, check, timeout_s, "the policy node did not become active")
        self._wait_for(self._is_heard, check, 10.0, "the policy node does not subscribe to the streams")

    def instruct(self, sentence: str, check: Callable[[], None]) -> None:
        """Say a sentence and wait until it is in force."""
        self._instruction.publish(Instruction(text=sentence))
        self._wait_for(
            lambda: bool(self.heard.statuses) and bool(self.heard.statuses[-1].instruction),
            check,
            5.0,
            "the policy node did not take the sentence",
        )

    def play(self, bag: RecordedBag, on_time: Callable[[float], None], check: Callable[[], None]) -> None:
        """Play the whole bag; ``on_time`` hears the seconds of it that are over."""
        for received_ns, stream, data in bag.stream_messages():
            if not self._begin_ns:
                self._bag_begin_ns, self._begin_ns = received_ns, self._now_ns()
            due_ns = self._wall_ns(received_ns)
            while (left_ns := due_ns - self._now_ns()) > 0:
                self._executor.spin_once(timeout_sec=left_ns / NS_PER_S)
            self.heard.latest_ms = max(self.heard.latest_ms, (self._now_ns() - due_ns) / NS_PER_MS)
            self._publishers[stream].publish(self._moved(data))
            self._executor.spin_once(timeout_sec=0.0)
            on_time((received_ns - self._bag_begin_ns) / NS_PER_S)
            check()
        self._spin(_LAST_WORDS_S)

    def _moved(self, data: bytes) -> bytes:
        """Return a serialised message with its stamp moved to the time of the replay."""
        seconds, nanoseconds = split_stamp_ns(self._wall_ns(header_stamp_ns(data)))
        order = "<" if data[1] & 1 else ">"
        return data[:4] + struct.pack(f"{order}iI", seconds, nanoseconds) + data[12:]

    def _wall_ns(self, bag_ns: int) -> int:
        return self._begin_ns + round((bag_ns - self._bag_begin_ns) / self._rate)

    def _bag_ns(self, wall_ns: int) -> int:
        return self._bag_begin_ns + round((wall_ns - self._begin_ns) * self._rate)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _on_pose(self, message: PoseStamped) -> None:
        self.heard.poses.append((self._bag_ns(stamp_ns_of(message)), message))

    def _on_gripper(self, message: Float64MultiArray) -> None:
        self.heard.gripper.append((self._bag_ns(self._now_ns()), float(message.data[0])))

    def _on_chunk(self, message: ActionChunk) -> None:
        first = np.array(message.actions[: message.ACTION_DIM], dtype=np.float64)
        self.heard.chunks.append((self._bag_ns(stamp_ns_of(message)), first, float(message.inference_ms)))

    def _on_status(self, message: PolicyStatus) -> None:
        self.heard.statuses.append(message)

    def _is_active(self) -> bool:
        return bool(self.heard.statuses) and self.heard.statuses[-1].state != PolicyStatus.STATE_INACTIVE

    def _is_heard(self) -> bool:
        publishers: list[Any] = [*self._publishers.values(), self._instruction]
        return all(publisher.get_subscription_count() for publisher in publishers)

    def _wait_for(
        self, condition: Callable[[], bool], check: Callable[[], None], timeout_s: float, problem: str
    ) -> None:
        ends_s = time.monotonic() + timeout_s
        while not condition():
            check()
            if time.monotonic() > ends_s:
                raise ReplayError(f"{problem} within {timeout_s:g} s")
            self._executor.spin_once(timeout_sec=0.05)

    def _spin(self, seconds: float) -> None:
        ends_s = time.monotonic() + seconds
        while (left_s := ends_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)
