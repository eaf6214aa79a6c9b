# SPDX-License-Identifier: Apache-2.0
"""Faults of a sensor's connection, for trying out what a policy node does about them."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from vla_core.errors import VlaError

T = TypeVar("T")
PICTURE_FAULTS = ("none", "drop", "freeze", "delay")
STATE_FAULTS = ("none", "drop", "delay")
FAULT_KINDS = {
    "static": PICTURE_FAULTS,
    "wrist": PICTURE_FAULTS,
    "tcp_pose": STATE_FAULTS,
    "joints": STATE_FAULTS,
}
MAX_DELAY_MS = 5000


def check_fault(stream: str, kind: object) -> None:
    """Refuse a fault that the stream cannot have.

    Raises:
        VlaError: The stream knows no such fault.
    """
    if kind not in FAULT_KINDS[stream]:
        raise VlaError(f"fault.{stream} is '{kind}'; it can be {', '.join(FAULT_KINDS[stream])}")


def check_delay_ms(delay_ms: object) -> None:
    """Refuse a delay out of range.

    Raises:
        VlaError: The delay is not a whole number of milliseconds in range.
    """
    if not isinstance(delay_ms, int) or not 0 <= delay_ms <= MAX_DELAY_MS:
        raise VlaError(f"fault.delay_ms is {delay_ms}; it can be a whole number from 0 to {MAX_DELAY_MS}")


class FaultyLink(Generic[T]):
    """A connection from a sensor to its readers. One thread offers and flushes; any thread may set the fault.

    * ``drop``: nothing is sent.
    * ``freeze``: the last content from before the fault, under fresh stamps.
    * ``delay``: sent late, with its original stamp. What is still waiting when the delay ends is lost.

    Args:
        send: Called with content and stamp (nanoseconds) for everything that arrives.
    """

    def __init__(self, send: Callable[[T, int], None]) -> None:
        self._send = send
        self._fault: tuple[str, int] = ("none", 0)
        self._last: T | None = None
        self._waiting: deque[tuple[T, int]] = deque()

    def set_fault(self, kind: str, delay_ms: int) -> None:
        """Have a fault from now on; ``none`` repairs the link."""
        self._fault = (kind, delay_ms * 1_000_000)

    def offer(self, content: T, stamp_ns: int) -> None:
        """Send what the sensor says, as far as the fault lets it through."""
        kind, delay_ns = self._fault
        if kind != "freeze" or self._last is None:
            self._last = content
        if kind == "delay":
            self._waiting.append((content, stamp_ns))
            self._send_waiting(stamp_ns - delay_ns)
            return
        self._waiting.clear()
        if kind != "drop":
            self._send(self._last, stamp_ns)

    def _send_waiting(self, up_to_ns: int) -> None:
        while self._waiting and self._waiting[0][1] <= up_to_ns:
            self._send(*self._waiting.popleft())
