# SPDX-License-Identifier: Apache-2.0
"""The contract of a bag's storage: what is written, made durable, finished, and repaired after a kill.

A bag is a folder. ``metadata.yaml`` is written last: a folder without it is being recorded, or its recorder died.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vla_core.errors import VlaError
from vla_policy_node.recording.message_definitions import MessageDefinition


class BagWriteError(VlaError):
    """A bag cannot be written any more, for example because the disk is full."""


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag: its resolved name and the definition of its messages."""

    name: str
    definition: MessageDefinition


@dataclass(frozen=True)
class BagContents:
    """What a finished storage file holds.

    Attributes:
        topics: Its topics.
        counts: Topic name to number of messages.
        start_ns: When the first message was received, nanoseconds; 0 for an empty bag.
        end_ns: When the last message was received.
        facts: What was embedded beside the messages.
    """

    topics: tuple[BagTopic, ...]
    counts: Mapping[str, int]
    start_ns: int
    end_ns: int
    facts: Mapping[str, str]


class BagWriter(Protocol):
    """A storage file that is open for writing. Used by one thread."""

    def write(self, topic: str, received_ns: int, sent_ns: int, data: bytes) -> None:
        """Add a serialised message.

        Raises:
            BagWriteError: It cannot be written.
        """

    def commit(self) -> None:
        """Hand everything so far to the operating system, such that a killed process leaves it readable.

        Raises:
            BagWriteError: It cannot be written. What was committed before stays.
        """

    def finish(self, facts: Mapping[str, str]) -> BagContents:
        """Embed last facts, make the file complete, close it, and return what it holds.

        Raises:
            BagWriteError: It cannot be written. What was committed before stays.
        """

    def abandon(self) -> None:
        """Close the file as it was committed last; it can then be repaired."""


class Storage(Protocol):
    """A format of storage files.

    Attributes:
        name: rosbag2's name of it.
        suffix: Suffix of its files.
    """

    name: str
    suffix: str

    def begin(self, path: Path, topics: Sequence[BagTopic], facts: Mapping[str, str]) -> BagWriter:
        """Make a file that holds ``facts`` and these topics.

        Raises:
            BagWriteError: It cannot be made.
        """

    def repair(self, path: Path) -> BagContents:
        """Make a file that was never finished complete, in place, and return what it holds.

        Raises:
            BagWriteError: There is no room for what completes it, or nothing in it can be read.
        """
