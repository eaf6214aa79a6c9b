# SPDX-License-Identifier: Apache-2.0
"""One pass over a bag that decodes no picture: what the robot saw, felt and was told at each tick, as numbers."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_core.codecs.stamp import stamp_ns_of
from vla_core.episode_record import EPISODE_TOPIC, INSTRUCTION_TOPIC
from vla_core.errors import ObservationRefusedError
from vla_core.observer import Observer, stream_topics
from vla_core.robot_spec import RobotSpec
from vla_core.units import NS_PER_S
from vla_training.bags.bag_folder import METADATA_FILE, Bag
from vla_training.bags.message_types import MessageTypes, UndecodableMessageError
from vla_training.bags.observations import ticks
from vla_training.bags.raw_message import Advance, BagError, DamagedBagError, RawMessage
from vla_training.bags.reader import absolute_topic, require_topics, require_type
from vla_training.bags.stored_messages import stored_messages
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.recorded_commands import TCP_INTERFACES, CommandFollower
from vla_training.conversion.said import Said
from vla_training.conversion.tick_table import TickRows, TickTable

Int64Array = NDArray[np.int64]
_COMMAND, _GRIPPER, _INSTRUCTION, _EPISODE = "command", "gripper command", "instruction", "episode"


@dataclass(frozen=True, eq=False, kw_only=True)
class BagScan:
    """What one pass over a bag found.

    Attributes:
        bag: The bag.
        topics: What was read of it. Who reads the same topics again finds the messages in the same order.
        ticks: The grid of ticks, one row each.
        arrivals: Stream to (n, 2) int64: header stamp and time of reception of each message, nanoseconds.
        said: Markers and instructions.
        undecodable: Topic to the number of messages that say nothing, and what is wrong with the first.
        num_unordered: Messages that were stored too late to be put in order.
        first_ns: Reception of the first message; 0 in an empty bag.
        last_ns: Reception of the last one.
        damage: What ended the bag early; ``None`` for nothing.
    """

    bag: Bag
    topics: frozenset[str]
    ticks: TickTable
    arrivals: dict[str, Int64Array]
    said: Said
    undecodable: dict[str, tuple[int, str]]
    num_unordered: int
    first_ns: int
    last_ns: int
    damage: str | None


def stream_of_topic(spec: RobotSpec, namespace: str) -> dict[str, str]:
    """Return absolute topic to stream for the streams of an observation."""
    return {absolute_topic(topic, namespace): stream for stream, topic in stream_topics(spec).items()}


def scan_bag(bag: Bag, spec: RobotSpec, config: ConversionConfig, advance: Advance) -> BagScan:
    """Return what a bag holds up to its end or its first damage.

    Args:
        bag: The bag.
        spec: The robot, with the delays in force.
        config: Rate, stamps and namespace.
        advance: Told the number of bytes read.

    Raises:
        BagError: A topic of the robot spec is absent, or every file of the bag.
    """
    if not bag.files:
        raise BagError(
            f"{bag.folder}: {METADATA_FILE} lies there without the files that it names "
            f"({', '.join(bag.missing_parts)}). Copy the whole folder"
        )
    recorded = bag.recorded_topics()
    if recorded is not None:
        require_topics(bag, spec, stream_of_topic(spec, config.namespace), recorded)
    scan = _Scan(bag, spec, config)
    return scan.run(advance)


class _Scan:
    """The state of one pass."""

    def __init__(self, bag: Bag, spec: RobotSpec, config: ConversionConfig) -> None:
        self._bag, self._spec, self._config = bag, spec, config
        self._streams = stream_of_topic(spec, config.namespace)
        self._others = {
            # Sentences are said to all robots or, below its namespace, to one.
            **dict.fromkeys(_with_namespace(INSTRUCTION_TOPIC, config.namespace), _INSTRUCTION),
            **dict.fromkeys(_with_namespace(EPISODE_TOPIC, config.namespace), _EPISODE),
        }
        if spec.gripper.topic is not None:
            self._others[absolute_topic(spec.gripper.topic, config.namespace)] = _GRIPPER
        if spec.command.interface in TCP_INTERFACES:
            self._others[absolute_topic(spec.command.topic, config.namespace)] = _COMMAND
        self._topics = frozenset([*self._streams, *self._others])
        self._types = MessageTypes()
        self._observer = Observer(spec)
        self._follower = CommandFollower(spec, round(config.twist_timeout_s * NS_PER_S))
        self._said = Said()
        self._rows = TickRows(tuple(spec.cameras), len(spec.joints.names))
        self._arrivals = {stream: array("q") for stream in self._streams.values()}
        self._undecodable: Counter[str] = Counter()
        self._first_errors: dict[str, str] = {}
        self._seen: set[str] = set()
        self._num_unordered = 0
        self._first_ns = self._last_ns = 0

    def run(self, advance: Advance) -> BagScan:
        self._damage: str | None = None
        for tick_ns in ticks(self._messages(advance), self._take, round(self._config.period_s * NS_PER_S)):
            self._add_row(tick_ns)
        if self._damage is None:
            require_topics(self._bag, self._spec, self._streams, self._seen)
        return BagScan(
            bag=self._bag,
            topics=self._topics,
            ticks=self._rows.table(self._follower.between),
            arrivals={
                stream: np.array(rows, dtype=np.int64).reshape(-1, 2) for stream, rows in self._arrivals.items()
            },
            said=self._said,
            undecodable={
                topic: (number, self._first_errors[topic]) for topic, number in sorted(self._undecodable.items())
            },
            num_unordered=self._num_unordered,
            first_ns=self._first_ns,
            last_ns=self._last_ns,
            damage=self._damage,
        )

    def _messages(self, advance: Advance) -> Iterator[RawMessage]:
        try:
            for raw in stored_messages(self._bag, self._topics, self._types, advance):
                self._num_unordered += raw.received_ns < self._last_ns
                self._first_ns = self._first_ns or raw.received_ns
                self._last_ns = max(self._last_ns, raw.received_ns)
                yield raw
        except DamagedBagError as error:
            self._damage = str(error)

    def _take(self, raw: RawMessage) -> None:
        try:
            message = self._types.decode(raw)
            if raw.topic in self._streams:
                self._take_stream(self._streams[raw.topic], raw, message)
            else:
                self._take_other(self._others[raw.topic], raw, message)
        except UndecodableMessageError as error:
            self._undecodable[raw.topic] += 1
            self._first_errors.setdefault(raw.topic, str(error))
            return
        self._seen.add(raw.topic)

    def _take_stream(self, stream: str, raw: RawMessage, message: Any) -> None:
        require_type(raw, stream, self._spec)
        made_ns = raw.received_ns if self._config.stamps == "receive" else None
        self._observer.push(stream, message, made_ns)
        self._arrivals[stream].extend((stamp_ns_of(message), raw.received_ns))

    def _take_other(self, kind: str, raw: RawMessage, message: Any) -> None:
        if kind == _COMMAND:
            self._follower.take_motion(message, raw)
        elif kind == _GRIPPER:
            self._follower.take_gripper(message, raw)
        elif kind == _INSTRUCTION:
            self._said.take_instruction(raw.received_ns, message)
        else:
            self._said.take_event(raw.received_ns, message)

    def _add_row(self, tick_ns: int) -> None:
        try:
            samples = self._observer.select(tick_ns)
            self._rows.add(tick_ns, samples, self._observer.proprioception(samples))
        except ObservationRefusedError as refusal:
            self._rows.refuse(tick_ns, refusal)
        self._rows.add_commands(self._follower.pose_at(tick_ns), self._follower.gripper_open)


def _with_namespace(topic: str, namespace: str) -> tuple[str, str]:
    """Return a topic in the root namespace and in another one."""
    relative = topic.lstrip("/")
    return absolute_topic(relative), absolute_topic(relative, namespace)
