# SPDX-License-Identifier: Apache-2.0
"""What was said while a bag was recorded: instructions, and markers of episodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from vla_core.episode_record import EPISODE_TOPIC, Outcome
from vla_core.errors import InstructionError
from vla_core.instruction import clean_instruction
from vla_training.bags.message_types import UndecodableMessageError

T = TypeVar("T")

MarkerKind = Literal["start", "stop", "discard", "relabel"]
_KINDS: dict[int, MarkerKind] = {1: "start", 2: "stop", 3: "discard", 4: "relabel"}
_OUTCOMES: dict[int, Outcome] = {0: "unknown", 1: "success", 2: "failure"}


@dataclass(frozen=True, kw_only=True)
class Marker:
    """Something that happened to an episode (``vla_msgs/msg/EpisodeEvent``).

    Attributes:
        received_ns: When.
        kind: What.
        episode: Name of the episode; may be empty.
        instruction: The sentence; may be empty.
        outcome: How it went.
    """

    received_ns: int
    kind: MarkerKind
    episode: str
    instruction: str
    outcome: Outcome


class Said:
    """Markers and instructions in the order of reception.

    Attributes:
        markers: All markers.
        instructions: Time of reception and sentence of each change of the instruction; empty means "stop".
    """

    def __init__(self) -> None:
        self.markers: list[Marker] = []
        self.instructions: list[tuple[int, str]] = []

    def take_instruction(self, received_ns: int, message: Any) -> None:
        """Take an instruction; the sentence in force, said again, changes nothing.

        Raises:
            UndecodableMessageError: It is no sentence.
        """
        sentence = _clean(message.text)
        if not self.instructions or self.instructions[-1][1] != sentence:
            self.instructions.append((received_ns, sentence))

    def take_event(self, received_ns: int, message: Any) -> None:
        """Take a marker.

        Raises:
            UndecodableMessageError: Its event or outcome is unknown, or its sentence is none.
        """
        marker = Marker(
            received_ns=received_ns,
            kind=_known("event", message.event, _KINDS),
            episode=str(message.episode),
            instruction=_clean(message.instruction),
            outcome=_known("outcome", message.outcome, _OUTCOMES),
        )
        self.markers.append(marker)

    def instruction_at(self, time_ns: int) -> str | None:
        """Return the sentence in force at a time; ``None`` before the first, empty after "stop"."""
        before = [sentence for received_ns, sentence in self.instructions if received_ns <= time_ns]
        return before[-1] if before else None


def _known(field: str, number: int, allowed: Mapping[int, T]) -> T:
    if number not in allowed:
        raise UndecodableMessageError(
            f"{EPISODE_TOPIC}: {field} {number} is unknown; allowed are {min(allowed)} to {max(allowed)}"
        )
    return allowed[number]


def _clean(text: str) -> str:
    try:
        return clean_instruction(text)
    except InstructionError as error:
        raise UndecodableMessageError(str(error)) from error
