# SPDX-License-Identifier: Apache-2.0
"""Whether the arm may move, and if not, why: one decision, in a fixed order of importance.

The supervisor only remembers; the node tells it what happens. Anything but ``RUNNING`` means a still arm.
"""

from dataclasses import dataclass
from enum import IntEnum

from vla_core.errors import ObservationRefusedError, RefusalKind


class State(IntEnum):
    """States of the policy node; the numbers are those of ``vla_msgs/msg/PolicyStatus``."""

    INACTIVE = 0
    IDLE = 1
    RUNNING = 2
    HOLDING = 3
    STOPPED = 4


class Reason(IntEnum):
    """Why the arm is still; the numbers are those of ``vla_msgs/msg/PolicyStatus``."""

    NONE = 0
    NOT_ACTIVE = 1
    ESTOP = 2
    DISARMED = 3
    INFERENCE_DEAD = 4
    INFERENCE_ERROR = 5
    NO_INSTRUCTION = 6
    INSTRUCTION_EMPTY = 7
    INSTRUCTION_REFUSED = 8
    STREAM_MISSING = 9
    STREAM_STALE = 10
    STREAM_FROZEN = 11
    STREAM_INVALID = 12
    ACTION_NOT_FINITE = 13
    ACTION_LATE = 14
    INTERNAL_ERROR = 15


@dataclass(frozen=True)
class Verdict:
    """The decision at one moment.

    Attributes:
        state: State of the node.
        reason: Why the arm is still; ``NONE`` while running.
        detail: A sentence for people; empty while running.
    """

    state: State
    reason: Reason
    detail: str

    @property
    def may_move(self) -> bool:
        """Whether a policy action may be executed."""
        return self.state is State.RUNNING


_REFUSAL_REASONS = {
    RefusalKind.MISSING: Reason.STREAM_MISSING,
    RefusalKind.STALE: Reason.STREAM_STALE,
    RefusalKind.FROZEN: Reason.STREAM_FROZEN,
    RefusalKind.INVALID: Reason.STREAM_INVALID,
}


class Supervisor:
    """Remembers everything that can keep the arm still.

    Attributes:
        is_active: Whether the node is in its active lifecycle state.
        instruction: The sentence in force; ``None`` before the first one, empty after a stop.
    """

    def __init__(self) -> None:
        self.is_active = False
        self.instruction: str | None = None
        self._estopped = False
        self._armed = False
        self._failure: tuple[Reason, str] | None = None
        self._instruction_refusal: str | None = None
        self._observation: tuple[Reason, str] | None = None
        self._action: tuple[Reason, str] | None = None

    def arm(self) -> str | None:
        """Allow motion again; return a sentence when that is not possible now."""
        if not self.is_active:
            return "the node is not active; activate it first"
        if self._failure is not None and self._failure[0] is Reason.INFERENCE_DEAD:
            return f"{self._failure[1]}. Deactivate, clean up and configure the node again"
        self._armed, self._estopped, self._failure = True, False, None
        return None

    def disarm(self) -> None:
        """Forbid motion until ``arm``."""
        self._armed = False

    def estop(self) -> None:
        """Latch the emergency stop; only ``arm`` releases it."""
        self._armed, self._estopped = False, True

    def accept_instruction(self, sentence: str) -> bool:
        """Take a clean sentence (empty: stop); return whether it differs from the one in force."""
        self._instruction_refusal = None
        is_new = sentence != self.instruction
        self.instruction = sentence
        return is_new

    def refuse_instruction(self, why: str) -> None:
        """Stop following the sentence in force because another one came that cannot be used."""
        self._instruction_refusal, self.instruction = why, None

    def note_failure(self, reason: Reason, detail: str) -> None:
        """Remember that the model or the node failed; ``arm`` forgets it."""
        self._failure = (reason, detail)

    def note_observation(self, refusal: ObservationRefusedError | None) -> None:
        """Remember the refusal of the newest observation, or that it was fine."""
        self._observation = None if refusal is None else (_REFUSAL_REASONS[refusal.kind], str(refusal))

    def note_action(self, reason: Reason, detail: str = "") -> None:
        """Remember what is wrong with the newest action; ``Reason.NONE`` when it is fine."""
        self._action = None if reason is Reason.NONE else (reason, detail)

    def verdict(self) -> Verdict:
        """Return the decision; the most important reason wins."""
        stopped = self._stopped()
        if stopped is not None:
            return Verdict(State.STOPPED if self.is_active else State.INACTIVE, *stopped)
        idle = self._idle()
        if idle is not None:
            return Verdict(State.IDLE, *idle)
        held = self._observation or self._action
        if held is not None:
            return Verdict(State.HOLDING, *held)
        return Verdict(State.RUNNING, Reason.NONE, "")

    def _stopped(self) -> tuple[Reason, str] | None:
        if not self.is_active:
            return Reason.NOT_ACTIVE, "the node is not active"
        if self._estopped:
            return Reason.ESTOP, "the emergency stop is latched; release the cause, then call ~/arm"
        if self._failure is not None:
            return self._failure
        return None if self._armed else (Reason.DISARMED, "the node is disarmed; call ~/arm")

    def _idle(self) -> tuple[Reason, str] | None:
        if self._instruction_refusal is not None:
            return Reason.INSTRUCTION_REFUSED, self._instruction_refusal
        if self.instruction is None:
            return Reason.NO_INSTRUCTION, "no instruction has come yet; publish one on vla/instruction"
        if not self.instruction:
            return Reason.INSTRUCTION_EMPTY, "an empty instruction stopped the arm; publish a sentence to go on"
        return None
