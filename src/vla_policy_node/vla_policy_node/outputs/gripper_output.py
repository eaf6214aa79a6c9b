# SPDX-License-Identifier: Apache-2.0
"""When a gripper is asked for something: on change, and not again before a change has had its time."""

from typing import Protocol

from vla_core.units import NS_PER_S


class GripperOutput(Protocol):
    """One interface of a gripper."""

    def send(self, value: float) -> bool:
        """Ask for a position in the driver's unit; return False when nobody is there to be asked. Never waits."""

    def destroy(self) -> None:
        """Let go of the topic or action."""


class GripperDwell:
    """Decides when the newest decision is sent. Not thread-safe.

    Args:
        min_dwell_s: Nothing new is asked for within this time of the last change.
    """

    def __init__(self, min_dwell_s: float) -> None:
        self._min_dwell_ns = round(min_dwell_s * NS_PER_S)
        self._wanted: float | None = None
        self._sent: float | None = None
        self._sent_ns: int | None = None

    def due(self, decision: float | None, now_ns: int) -> float | None:
        """Return what to ask for now, if anything.

        Args:
            decision: The newest decision; ``None`` leaves the one before it in force.
            now_ns: Time, nanoseconds.
        """
        if decision is not None:
            self._wanted = decision
        if self._wanted is None or self._wanted == self._sent:
            return None
        # A clock that has jumped back ends the dwell.
        is_dwelling = self._sent_ns is not None and 0 <= now_ns - self._sent_ns < self._min_dwell_ns
        return None if is_dwelling else self._wanted

    def note_sent(self, decision: float, now_ns: int) -> None:
        """Take note that the gripper has been asked."""
        self._sent, self._sent_ns = decision, now_ns

    def release(self) -> None:
        """Forget what was asked for: the next decision is sent even if it is the same. The dwell goes on."""
        self._wanted = self._sent = None
