# SPDX-License-Identifier: Apache-2.0
"""A queue between the thread that receives and the one that writes, bounded by the bytes in it."""

import threading
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class QueuedMessage:
    """A serialised message on its way to the bag; times in nanoseconds."""

    topic: str
    received_ns: int
    sent_ns: int
    data: bytes


class ByteQueue:
    """Holds messages up to a number of bytes. What does not fit is refused and counted, never waited for.

    Args:
        max_bytes: Bytes of messages that it holds at most.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._messages: deque[QueuedMessage] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._num_refused = 0

    @property
    def num_refused(self) -> int:
        """Messages that did not fit, or came after the end."""
        return self._num_refused

    def put(self, message: QueuedMessage, must_fit: bool = False) -> bool:
        """Add a message; return whether it was taken. One that ``must_fit`` is refused only after the end."""
        with self._changed:
            size = len(message.data)
            fits = must_fit or self._num_bytes + size <= self._max_bytes
            if self._is_closed or not fits:
                self._num_refused += 1
                return False
            self._messages.append(message)
            self._num_bytes += size
            self._changed.notify()
            return True

    def take_all(self, timeout_s: float) -> list[QueuedMessage] | None:
        """Return what is there, waiting for it up to ``timeout_s``; ``None`` once all is taken and closed."""
        with self._changed:
            if not self._messages and not self._is_closed:
                self._changed.wait(timeout_s)
            if not self._messages:
                return None if self._is_closed else []
            taken = list(self._messages)
            self._messages.clear()
            self._num_bytes = 0
            return taken

    def close(self) -> None:
        """Take nothing more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
