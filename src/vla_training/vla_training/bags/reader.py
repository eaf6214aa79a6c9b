# SPDX-License-Identifier: Apache-2.0
"""Messages of a rosbag2 (MCAP or sqlite3), by stream of the robot spec, without ROS."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

from vla_core.errors import VlaError
from vla_core.observer import stream_topics
from vla_core.robot_spec import RobotSpec


class BagError(VlaError):
    """A bag cannot be read, or lacks what the robot spec names."""


@dataclass(frozen=True, eq=False)
class BagMessage:
    """One message of a bag.

    Attributes:
        received_ns: When the recorder received it.
        stream: Stream of the robot spec that it belongs to.
        message: The decoded message; its fields are those of the ROS message.
    """

    received_ns: int
    stream: str
    message: Any


def read_bag(path: Path | str, spec: RobotSpec) -> Iterator[BagMessage]:
    """Yield the messages of the robot's streams in the order in which they were received.

    Args:
        path: Folder of the bag (the one with ``metadata.yaml``).
        spec: The robot; its relative topics are looked up below the root namespace.

    Raises:
        BagError: The bag cannot be read, or a topic of the robot spec is absent.
    """
    topics = {f"/{topic.lstrip('/')}": stream for stream, topic in stream_topics(spec).items()}
    try:
        with AnyReader([Path(path)], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            absent = sorted(set(topics) - set(reader.topics))
            if absent:
                raise BagError(
                    f"{path}: topic '{absent[0]}' of robot '{spec.name}' is not in the bag; it holds "
                    f"{sorted(reader.topics)}. Correct the robot spec or record that topic"
                )
            connections = [connection for connection in reader.connections if connection.topic in topics]
            for connection, received_ns, data in reader.messages(connections=connections):
                message = reader.deserialize(data, connection.msgtype)
                yield BagMessage(received_ns, topics[connection.topic], message)
    except AnyReaderError as error:
        raise BagError(f"{path}: not a readable rosbag2: {error}") from error
