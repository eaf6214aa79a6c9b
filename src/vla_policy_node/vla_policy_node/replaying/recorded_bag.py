# SPDX-License-Identifier: Apache-2.0
"""What a bag holds of one robot: streams to be played, and what was commanded and measured."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from geometry_msgs.msg import PoseStamped
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from vla_core.actions.gripper import share_open
from vla_core.codecs.joint_state import decode_joint_positions
from vla_core.codecs.pose_stamped import decode_pose
from vla_core.episode_record import INSTRUCTION_TOPIC, EpisodeRecord
from vla_core.errors import VlaError
from vla_core.geometry import Pose
from vla_core.observer import stream_topics, stream_types
from vla_core.robot_spec import COMMAND_TYPES, GRIPPER_COMMAND_TYPE, JOINTS_TYPE, GripperSpec, RobotSpec
from vla_msgs.msg import Instruction

V = TypeVar("V")


class ReplayError(VlaError):
    """A bag cannot be replayed."""


@dataclass(frozen=True, eq=False)
class Track(Generic[V]):
    """Values over the time of the bag.

    Attributes:
        times_ns: (N,) times of reception, increasing.
        values: N values.
    """

    times_ns: Sequence[int]
    values: Sequence[V]

    def at(self, time_ns: int) -> V | None:
        """Return the newest value at or before a time; ``None`` before the first."""
        index = bisect_right(self.times_ns, time_ns)
        return self.values[index - 1] if index else None


class RecordedBag:
    """One bag of one robot; a context manager.

    Args:
        path: Folder of a bag (MCAP or sqlite3).
        spec: The robot.
        namespace: Where the robot's relative topics were recorded; empty for the root.

    Raises:
        ReplayError: The bag cannot be read, or a stream of the robot is absent or has another type.
    """

    def __init__(self, path: Path, spec: RobotSpec, namespace: str = "") -> None:
        self._path, self._spec, self._namespace = path, spec, namespace
        if not path.exists():
            raise ReplayError(f"{path}: no such bag; give the folder of a bag (with metadata.yaml)")
        self._opened = ExitStack()
        try:
            store = get_typestore(Stores.ROS2_JAZZY)
            self._reader = self._opened.enter_context(AnyReader([path], default_typestore=store))
        except (AnyReaderError, ReaderError, OSError, ValueError, KeyError) as error:
            raise ReplayError(
                f"{path}: cannot be read as a bag: {error}. The episode recorder completes bags that were cut "
                "when it starts in their folder"
            ) from error
        self._types = {connection.topic: connection.msgtype for connection in self._reader.connections}
        self._topics = {self.name_of(topic): stream for stream, topic in stream_topics(spec).items()}
        try:
            self._require_streams()
        except ReplayError:
            self._opened.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def name_of(self, topic: str) -> str:
        """Return the name in the bag of a topic of the robot spec."""
        parts = [] if topic.startswith("/") else self._namespace.split("/")
        return "/" + "/".join(part for part in (*parts, *topic.split("/")) if part)

    def stream_messages(self) -> Iterator[tuple[int, str, bytes]]:
        """Yield (received_ns, stream, serialised message) in the order of reception.

        Raises:
            ReplayError: The bag is damaged, after every message before the damage.
        """
        for received_ns, topic, data in self._messages(set(self._topics)):
            yield received_ns, self._topics[topic], data

    def sentence(self) -> str | None:
        """Return the sentence that the bag shows: of ``episode.yaml``, else of its topic; ``None`` without one."""
        episode = EpisodeRecord.load(self._path if self._path.is_dir() else self._path.parent)
        if episode is not None:
            return episode.instruction
        spoken = self._decoded(
            self.name_of(INSTRUCTION_TOPIC.lstrip("/")), "vla_msgs/msg/Instruction", Instruction
        )
        return next((message.text for _, message in spoken if message.text), None)

    def measured_poses(self) -> Track[Pose]:
        """Return the measured poses of the TCP in base."""
        return self._poses(self.name_of(self._spec.tcp_pose.topic))

    def commanded_poses(self) -> Track[Pose] | None:
        """Return the target poses that were commanded; ``None`` where the bag holds none."""
        topic = self._spec.command.topics.get("target_pose")
        if topic is None:
            return None
        track = self._poses(self.name_of(topic))
        return track if track.values else None

    def gripper(self) -> tuple[str, Track[float]]:
        """Return whether the gripper's opening was ``commanded`` or ``measured``, and 0 to 1 over time."""
        gripper = self._spec.gripper
        if gripper.topic is not None:
            found = list(self._decoded(self.name_of(gripper.topic), GRIPPER_COMMAND_TYPE, Float64MultiArray))
            values = [commanded_open(gripper, message.data[0]) for _, message in found if len(message.data)]
            if values:
                return "commanded", Track([at_ns for at_ns, message in found if len(message.data)], values)
        times_ns: list[int] = []
        shares: list[float] = []
        for at_ns, message in self._decoded(self.name_of(self._spec.joints.topic), JOINTS_TYPE, JointState):
            (position,) = decode_joint_positions(message, (gripper.joint,))
            times_ns.append(at_ns)
            shares.append(share_open(position, closed=gripper.joint_closed, opened=gripper.joint_open))
        return "measured", Track(times_ns, shares)

    def _poses(self, topic: str) -> Track[Pose]:
        found = list(self._decoded(topic, COMMAND_TYPES["target_pose"], PoseStamped))
        poses = [decode_pose(message, self._spec.base_frame) for _, message in found]
        return Track([at_ns for at_ns, _ in found], poses)

    def _decoded(self, topic: str, kind: str, message_type: Any) -> Iterator[tuple[int, Any]]:
        if self._types.get(topic) == kind:
            for received_ns, _, data in self._messages({topic}):
                try:
                    message = deserialize_message(data, message_type)
                except RuntimeError as error:
                    raise ReplayError(f"{self._path}: a message of '{topic}' is damaged: {error}") from error
                yield received_ns, message

    def _messages(self, topics: set[str]) -> Iterator[tuple[int, str, bytes]]:
        connections = [connection for connection in self._reader.connections if connection.topic in topics]
        if not connections:
            return
        try:
            for connection, received_ns, data in self._reader.messages(connections):
                yield received_ns, connection.topic, bytes(data)
        except (AnyReaderError, ReaderError, OSError, ValueError, KeyError) as error:
            raise ReplayError(f"{self._path}: damaged: {error}") from error

    def _require_streams(self) -> None:
        types = stream_types(self._spec)
        for topic, stream in self._topics.items():
            found = self._types.get(topic)
            if found is None:
                raise ReplayError(
                    f"{self._path}: topic '{topic}' of robot '{self._spec.name}' is not in the bag; it holds "
                    f"{sorted(self._types)}. Correct the robot spec, or give --namespace"
                )
            if found != types[stream]:
                raise ReplayError(
                    f"{self._path}: '{topic}' is of type {found}, robot '{self._spec.name}' says {types[stream]}. "
                    "Correct the robot spec"
                )


def commanded_open(gripper: GripperSpec, value: float) -> float:
    """Return how far a command asks the gripper to open: 0 closed, 1 open, not clipped."""
    return share_open(value, closed=gripper.command_closed, opened=gripper.command_open)
