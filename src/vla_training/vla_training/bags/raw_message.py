# SPDX-License-Identifier: Apache-2.0
"""What storage gives: serialised messages and the definitions of their types, and what can be wrong with a bag."""

from collections.abc import Callable
from dataclasses import dataclass

from vla_core.errors import VlaError

Advance = Callable[[int], None]
"""Called with the number of bytes that were read since the last call."""


class BagError(VlaError):
    """A bag cannot be read, or lacks what the robot spec names."""


class DamagedBagError(BagError):
    """A bag ends in damage; everything before it has been given out."""


@dataclass(frozen=True, eq=False, slots=True)
class RawMessage:
    """One serialised message.

    Attributes:
        received_ns: When the recorder received it.
        topic: Its topic.
        type: Its ROS type, for example ``sensor_msgs/msg/Image``.
        data: CDR bytes.
    """

    received_ns: int
    topic: str
    type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """The text that defines a type, as the recorder stored it.

    Attributes:
        type: The ROS type.
        encoding: ``ros2msg`` or ``ros2idl``.
        text: The definition, with those of the types that it uses.
    """

    type: str
    encoding: str
    text: str


Record = RawMessage | TypeDefinition


def ignore_progress(num_bytes: int) -> None:
    """Take no note of progress."""
