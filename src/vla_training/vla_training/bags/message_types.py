# SPDX-License-Identifier: Apache-2.0
"""Bytes of a message to its fields, by the definition in the bag, else by ROS 2 Jazzy's and the suite's own."""

from functools import cache
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

from vla_training.bags.raw_message import BagError, RawMessage, TypeDefinition

EPISODE_EVENT = "vla_msgs/msg/EpisodeEvent"
INSTRUCTION = "vla_msgs/msg/Instruction"

# vla_training runs where vla_msgs is not built; a test holds these equal to its files.
OWN_TYPES = {
    EPISODE_EVENT: """\
uint8 START=1
uint8 STOP=2
uint8 DISCARD=3
uint8 RELABEL=4
uint8 OUTCOME_UNKNOWN=0
uint8 OUTCOME_SUCCESS=1
uint8 OUTCOME_FAILURE=2
std_msgs/Header header
uint8 event
string episode
string instruction
uint8 outcome
""",
    INSTRUCTION: """\
std_msgs/Header header
string text
""",
}


class UndecodableMessageError(BagError):
    """The bytes of a message do not fit its type."""


class MessageTypes:
    """Decodes the messages of one bag."""

    def __init__(self) -> None:
        self._definitions: dict[str, TypeDefinition] = {}
        self._stores: dict[str, Any] = {}

    def add(self, definition: TypeDefinition) -> None:
        """Remember a definition that the bag holds."""
        self._definitions[definition.type] = definition

    def decode(self, raw: RawMessage) -> Any:
        """Return a message with the fields of its ROS type.

        Raises:
            UndecodableMessageError: The bytes do not fit the type, or nobody knows the type.
        """
        if raw.type not in self._stores:
            self._stores[raw.type] = self._store_for(raw.type)
        try:
            return self._stores[raw.type].deserialize_cdr(raw.data, raw.type)
        except (SerdeError, TypesysError, KeyError, IndexError, ValueError) as error:
            raise UndecodableMessageError(f"{raw.topic}: a {raw.type} cannot be decoded: {error}") from error

    def _store_for(self, kind: str) -> Any:
        definition = self._definitions.get(kind)
        if definition is None:
            return _known_types()
        store = get_typestore(Stores.EMPTY)
        try:
            is_idl = definition.encoding == "ros2idl"
            parsed = get_types_from_idl(definition.text) if is_idl else get_types_from_msg(definition.text, kind)
            store.register(parsed)
            store.get_msgdef(kind)
        except (TypesysError, KeyError):  # a definition may leave out what it refers to
            return _known_types()
        return store


@cache
def _known_types() -> Any:
    store = get_typestore(Stores.ROS2_JAZZY)
    for kind, text in OWN_TYPES.items():
        store.register(get_types_from_msg(text, kind))
    return store
