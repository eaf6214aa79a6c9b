# SPDX-License-Identifier: Apache-2.0
"""Whether the arm may move, and if not, why: one decision, in a fixed order of importance.

The supervisor only remembers; the node tells it what happens. Anything but ``RUNNING`` means a still arm. It
outlives configuring and cleaning up, and with it the latched emergency stop.
"""

from dataclasses import dataclass
from enum import IntEnum

from vla_core.errors import ObservationRefusedError, RefusalKind
from vla_core.units import NS_PER_S


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
    POSE_IMPLAUSIBLE = 16
    GUARD_HOLD = 17
    GUARD_STOP = 18
    SECOND_PUBLISHER = 19
    TAKEN_OVER = 20
    DEAD_MAN = 21
    POLICY_UNREACHABLE = 22


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

    @property
    def wants_observations(self) -> bool:
        """Whether the policy is to be stepped: while it runs, and while it holds, so that it can go on."""
        return self.state in (State.RUNNING, State.HOLDING) and not self.is_driven_by_others

    @property
    def is_driven_by_others(self) -> bool:
        """Whether a person or another program moves the arm, so that even a still command would disturb."""
        return self.reason in (Reason.TAKEN_OVER, Reason.SECOND_PUBLISHER)


_Cause = tuple[Reason, str]

_REFUSAL_REASONS = {
    RefusalKind.MISSING: Reason.STREAM_MISSING,
    RefusalKind.STALE: Reason.STREAM_STALE,
    RefusalKind.FROZEN: Reason.STREAM_FROZEN,
    RefusalKind.INVALID: Reason.STREAM_INVALID,
}
# The most important first.
_KEPT_BY_OTHERS = (Reason.TAKEN_OVER, Reason.DEAD_MAN, Reason.SECOND_PUBLISHER)


class Supervisor:
    """Remembers everything that can keep the arm still.

    Attributes:
        instruction: The sentence in force; ``None`` before the first one, empty after a stop.
        action_timeout_s: Without a new action for longer the arm holds, seconds.
    """

    def __init__(self) -> None:
        self.instruction: str | None = None
        self.action_timeout_s = float("inf")
        self._is_active = False
        self._is_armed = False
        self._is_estop_pressed = False
        self._is_estopped = False
        self._failure: _Cause | None = None
        self._instruction_refusal: str | None = None
        self._observation: _Cause | None = None
        self._action: _Cause | None = None
        self._pose: _Cause | None = None
        self._others: dict[Reason, str] = {}
        self._progress_ns: int | None = None

    def begin(self) -> None:
        """Forget all but the emergency stop, for a policy that has just been loaded."""
        self._is_active = self._is_armed = False
        self.instruction = self._instruction_refusal = None
        self._failure = self._observation = self._action = self._pose = None
        self._others = {}
        self._progress_ns = None

    def activate(self) -> None:
        """Allow motion, unless the emergency stop is latched."""
        self._is_active, self._is_armed = True, not self._is_estopped

    def deactivate(self) -> None:
        """Forbid motion and forget the sentence."""
        self._is_active = self._is_armed = False
        self.instruction = None

    def press_estop(self, pressed: bool) -> None:
        """Latch the emergency stop when the button is pressed; releasing it does not end the stop."""
        self._is_estop_pressed = pressed
        if pressed:
            self.latch_estop()

    def latch_estop(self) -> None:
        """Latch the emergency stop without a button that is held."""
        self._is_armed, self._is_estopped = False, True

    def disarm(self) -> None:
        """Forbid motion until ``arm``."""
        self._is_armed = False

    def arm(self) -> str | None:
        """Allow motion again; return a sentence when that is not possible now."""
        if not self._is_active:
            return "the node is not active; activate it first"
        if self._is_estop_pressed:
            return "the emergency stop is still pressed; release it first (false on vla/estop)"
        if self._failure is not None and self._failure[0] is Reason.INFERENCE_DEAD:
            return f"{self._failure[1]}. Deactivate, clean up and configure the node again"
        self._is_armed, self._is_estopped, self._failure = True, False, None
        return None

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

    def note_observation(self, refusal: ObservationRefusedError | None) -> bool:
        """Remember why there is no observation now (``None``: there is); return whether that is news."""
        was_fine = self._observation is None
        self._observation = None if refusal is None else (_REFUSAL_REASONS[refusal.kind], str(refusal))
        return was_fine and refusal is not None

    def note_action(self, problem: str | None, reason: Reason = Reason.ACTION_NOT_FINITE) -> None:
        """Remember what is wrong with the newest action, or why there is none; ``None`` when nothing is."""
        self._action = None if problem is None else (reason, problem)

    def note_others(self, reason: Reason, problem: str | None) -> bool:
        """Remember that somebody else keeps the arm (``None``: not any more); return whether that is news.

        Args:
            reason: ``TAKEN_OVER``, ``SECOND_PUBLISHER`` or ``DEAD_MAN``.
            problem: A sentence for people.
        """
        was_there = reason in self._others
        if problem is None:
            self._others.pop(reason, None)
        else:
            self._others[reason] = problem
        return was_there != (problem is not None)

    def note_pose(self, problem: str | None) -> bool:
        """Remember why the arm may not be moved from its pose (``None``: it may); return whether that is news."""
        was_fine = self._pose is None
        self._pose = None if problem is None else (Reason.POSE_IMPLAUSIBLE, problem)
        return was_fine and problem is not None

    def note_progress(self, now_ns: int) -> None:
        """Remember that a usable action has come, or that waiting for one begins."""
        self._progress_ns = now_ns

    def is_too_old(self, stamp_ns: int, now_ns: int) -> bool:
        """Return whether an action that was made from an observation of ``stamp_ns`` is too old to act on."""
        return now_ns - stamp_ns > self.action_timeout_s * NS_PER_S

    def verdict(self, now_ns: int) -> Verdict:
        """Return the decision; the most important reason wins."""
        if not self._is_active:
            return Verdict(State.INACTIVE, Reason.NOT_ACTIVE, "the node is not active")
        for state, cause in (
            (State.STOPPED, self._why_stopped()),
            (State.IDLE, self._why_idle()),
            (State.HOLDING, self._why_kept() or self._observation or self._pose or self._action),
            (State.HOLDING, self._why_late(now_ns)),
        ):
            if cause is not None:
                return Verdict(state, *cause)
        return Verdict(State.RUNNING, Reason.NONE, "")

    def _why_stopped(self) -> _Cause | None:
        if self._is_estopped:
            return Reason.ESTOP, "the emergency stop is latched; release the cause, then call ~/arm"
        if self._failure is not None:
            return self._failure
        return None if self._is_armed else (Reason.DISARMED, "the node is disarmed; call ~/arm")

    def _why_idle(self) -> _Cause | None:
        if self._instruction_refusal is not None:
            return Reason.INSTRUCTION_REFUSED, self._instruction_refusal
        if self.instruction is None:
            return Reason.NO_INSTRUCTION, "no instruction has come yet; publish one on vla/instruction"
        if not self.instruction:
            return Reason.INSTRUCTION_EMPTY, "an empty instruction stopped the arm; publish a sentence to go on"
        return None

    def _why_kept(self) -> _Cause | None:
        return next(((reason, self._others[reason]) for reason in _KEPT_BY_OTHERS if reason in self._others), None)

    def _why_late(self, now_ns: int) -> _Cause | None:
        if self._progress_ns is None or not self.is_too_old(self._progress_ns, now_ns):
            return None
        late_s = (now_ns - self._progress_ns) / NS_PER_S
        sentence = f"no new action for {late_s:.1f} s, the limit is {self.action_timeout_s:g} s"
        return Reason.ACTION_LATE, f"{sentence}; the model is slow or stuck"
