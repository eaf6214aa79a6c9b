# SPDX-License-Identifier: Apache-2.0
"""What was seen of a running robot: plain values, so that checks need no ROS graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rclpy.qos import QoSProfile

from vla_core.robot_spec import RobotSpec
from vla_core.types import Observation

if TYPE_CHECKING:
    from vla_core.kinematics.solver import Kinematics


@dataclass(frozen=True, eq=False)
class Endpoint:
    """A publisher or a subscription of a topic.

    Attributes:
        node: Full name of its node.
        type: ROS type of its messages.
        qos: What it offers or asks for.
    """

    node: str
    type: str
    qos: QoSProfile


@dataclass(frozen=True, eq=False)
class TopicView:
    """Who is on a topic, without the doctor itself.

    Attributes:
        topic: Full name.
        publishers: Its publishers.
        subscriptions: Its subscriptions.
    """

    topic: str
    publishers: tuple[Endpoint, ...]
    subscriptions: tuple[Endpoint, ...]


@dataclass(frozen=True, eq=False)
class StreamRecord:
    """What came on one stream of the robot spec.

    Attributes:
        stream: Name, for example ``static`` or ``tcp_pose``.
        type: ROS type that the robot spec gives it.
        view: Who is on its topic.
        qos: What the policy node's own subscription asks for.
        received_ns: (N,) int64 time of each message's arrival.
        stamps_ns: (N,) int64 header stamps, in the order of arrival.
        longest_repeat_ms: Longest time for which pictures were equal, by their stamps.
        messages: The last messages; empty when nothing came.
    """

    stream: str
    type: str
    view: TopicView
    qos: QoSProfile
    received_ns: NDArray[np.int64]
    stamps_ns: NDArray[np.int64]
    longest_repeat_ms: float
    messages: tuple[Any, ...]

    @property
    def num_messages(self) -> int:
        """How many messages came."""
        return len(self.received_ns)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that was seen.

    Attributes:
        spec: The robot.
        folder: Folder of the robot spec.
        seconds: How long was looked.
        use_sim_time: Whether the ROS clock is simulated.
        clock_ns: Reading of the ROS clock at the end.
        clock_publishers: Nodes that publish ``/clock``.
        streams: Stream name to what came.
        command: Topic of the command interface in use.
        policy_nodes: Full names of the policy nodes that run.
        gripper: Topic of the gripper's command, or of its action's status.
        gripper_action_type: Type of the action as its server says it; ``None`` for a topic, or without a server.
        spoken: What the policy node hears from people: topic to who is on it.
        observations: Some of the observations that a policy would have been given.
        refusal: Why there is no observation, of the last try; ``None`` where there was one.
        kinematics: The arm's kinematics; a sentence where they cannot be had; ``None`` where the spec has none.
    """

    spec: RobotSpec
    folder: Path
    seconds: float
    use_sim_time: bool
    clock_ns: int
    clock_publishers: tuple[str, ...]
    streams: Mapping[str, StreamRecord]
    command: TopicView
    policy_nodes: tuple[str, ...]
    gripper: TopicView
    gripper_action_type: str | None
    spoken: Mapping[str, tuple[str, TopicView]]
    observations: tuple[Observation, ...]
    refusal: str | None
    kinematics: "Kinematics | str | None"
