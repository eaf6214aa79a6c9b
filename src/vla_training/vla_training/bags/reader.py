# SPDX-License-Identifier: Apache-2.0
"""Messages of a rosbag2 (MCAP or sqlite3), by stream of the robot spec, without ROS."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_core.observer import stream_topics, stream_types
from vla_core.robot_spec import RobotSpec
from vla_training.bags.bag_folder import Bag, find_bags
from vla_training.bags.message_types import MessageTypes
from vla_training.bags.raw_message import BagError, RawMessage
from vla_training.bags.stored_messages import stored_messages

__all__ = ["BagError", "BagMessage", "absolute_topic", "read_bag", "require_topics", "require_type"]


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


def read_bag(path: Path | str, spec: RobotSpec, namespace: str = "") -> Iterator[BagMessage]:
    """Yield the messages of the robot's streams in the order in which they were received.

    Args:
        path: Folder of one bag, or one storage file.
        spec: The robot.
        namespace: Where its relative topics are looked up; empty for the root.

    Raises:
        BagError: The bag cannot be read or is damaged (after every message before the damage), or a topic of the
            robot spec is absent.
    """
    bag = _only_bag(Path(path))
    topics = {absolute_topic(topic, namespace): stream for stream, topic in stream_topics(spec).items()}
    recorded = bag.recorded_topics()
    if recorded is not None:
        require_topics(bag, spec, topics, recorded)
    types, seen = MessageTypes(), set[str]()
    for raw in stored_messages(bag, topics, types):
        seen.add(raw.topic)
        require_type(raw, topics[raw.topic], spec)
        yield BagMessage(raw.received_ns, topics[raw.topic], types.decode(raw))
    require_topics(bag, spec, topics, seen)


def absolute_topic(topic: str, namespace: str = "") -> str:
    """Return the absolute name of a topic of the robot spec in a namespace."""
    parts = [] if topic.startswith("/") else namespace.split("/")
    return "/" + "/".join(part for part in (*parts, *topic.split("/")) if part)


def require_topics(
    bag: Bag, spec: RobotSpec, topics: Mapping[str, str], recorded: frozenset[str] | set[str]
) -> None:
    """Check that a bag holds each topic.

    Raises:
        BagError: One is absent; the sentence names it.
    """
    absent = sorted(set(topics) - recorded)
    if absent:
        raise BagError(
            f"{bag.folder}: topic '{absent[0]}' of robot '{spec.name}' is not in the bag; it holds "
            f"{sorted(recorded)}. Correct the robot spec or record that topic"
        )


def require_type(raw: RawMessage, stream: str, spec: RobotSpec) -> None:
    """Check that a message has the type that the robot spec gives to its stream.

    Raises:
        BagError: It has not.
    """
    expected = stream_types(spec)[stream]
    if raw.type != expected:
        raise BagError(
            f"{raw.topic}: the type in the bag is {raw.type}, robot '{spec.name}' says {expected}. "
            "Correct the robot spec"
        )


def _only_bag(path: Path) -> Bag:
    bags = find_bags([path])
    if len(bags) > 1:
        raise BagError(f"{path}: {len(bags)} bags lie there. Give one of {[bag.name for bag in bags]}")
    return bags[0]
