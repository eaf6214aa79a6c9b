# SPDX-License-Identifier: Apache-2.0
"""One connection to a policy server, from the handshake to its first fault; a new one is made after that.

A request waits in no queue: it is sent while the connection stands, or refused. So nothing old arrives later.
"""

import math
import time
import weakref
from dataclasses import dataclass
from typing import NoReturn, Self

import zmq
from zmq.utils.monitor import recv_monitor_message

from vla_core.errors import ConfigError, PolicyUnreachableError
from vla_core.remote.encryption import client_socket
from vla_core.remote.keys import ClientKeys

_LOST = {zmq.Event.DISCONNECTED}
_BAD_HANDSHAKES = {
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL,
    zmq.Event.HANDSHAKE_FAILED_PROTOCOL,
    zmq.Event.HANDSHAKE_FAILED_AUTH,
}
_NOBODY = "nobody listens there. Is the server running, and is the address right?"
_STUCK = "something listens there, but does not answer. Is it a policy server, and is it stuck?"
_OTHER_KEYS = (
    "a server is there, but the keys do not fit: it does not know this client's key, has another key itself, or "
    "one side speaks plain text"
)
_WATCHED = _LOST | _BAD_HANDSHAKES | {zmq.Event.CONNECTED, zmq.Event.HANDSHAKE_SUCCEEDED}


@dataclass(frozen=True)
class Deadline:
    """Until when somebody waits.

    Attributes:
        timeout_s: How long they wait in all, seconds.
        end_s: ``time.monotonic`` at the end, seconds.
    """

    timeout_s: float
    end_s: float

    @classmethod
    def after(cls, timeout_s: float) -> Self:
        """Return the deadline of a wait that begins now."""
        return cls(timeout_s, time.monotonic() + timeout_s)

    @property
    def left_ms(self) -> int:
        """Whole milliseconds that are left, rounded up."""
        return max(0, math.ceil((self.end_s - time.monotonic()) * 1000))


class Connection:
    """A connection to a server. One thread at a time.

    Args:
        address: For example ``tcp://host:5555``.
        keys: Of this client; ``None`` for plain text.
        deadline: Until when the handshake must be done.

    Raises:
        ConfigError: The address cannot be used.
        PolicyUnreachableError: Nobody answers, or the keys do not fit.
    """

    def __init__(self, address: str, keys: ClientKeys | None, deadline: Deadline) -> None:
        self._address = address
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._destroy = weakref.finalize(self, context.destroy, 0)
        self._destroy.atexit = False  # a thread may still wait on it then
        self._socket = client_socket(context, keys)
        events = 0
        for event in _WATCHED:
            events |= event
        self._monitor = self._socket.get_monitor_socket(events)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        try:
            self._connect(deadline)
        except BaseException:
            self.close()
            raise

    def send(self, request: bytes) -> None:
        """Send a request.

        Raises:
            PolicyUnreachableError: The connection is lost.
        """
        self._refuse_if_lost()
        try:
            self._socket.send(request, zmq.NOBLOCK)
        except zmq.ZMQError:
            self._fail("the connection is lost")

    def receive(self, deadline: Deadline) -> bytes:
        """Return the next message of the server.

        Args:
            deadline: Until when it must have come.

        Raises:
            PolicyUnreachableError: The connection is lost, or no message comes in time.
        """
        while (left_ms := deadline.left_ms) > 0:
            if self._socket in dict(self._poller.poll(left_ms)):
                break
            self._refuse_if_lost()
        else:
            self._fail(f"no answer within {deadline.timeout_s:g} s")
        frames = self._socket.recv_multipart(zmq.NOBLOCK)
        if len(frames) != 1:
            self._fail(f"a message of {len(frames)} frames came, expected 1")
        return frames[0]

    def say(self, message: bytes) -> None:
        """Send a message that has no answer, if that can be done at once."""
        try:
            self._socket.send(message, zmq.NOBLOCK)
            self._socket.setsockopt(zmq.LINGER, 200)
        except zmq.ZMQError:
            return

    def close(self, linger_ms: int = 0) -> None:
        """Close the connection; what was sent last has ``linger_ms`` to leave."""
        if self._destroy.detach():
            self._socket.disable_monitor()
            context = self._socket.context
            self._socket.close(linger_ms)
            context.destroy(None if linger_ms else 0)

    def _connect(self, deadline: Deadline) -> None:
        try:
            self._socket.connect(self._address)
        except zmq.ZMQError as error:
            raise ConfigError(
                f"policy server '{self._address}': not an address that can be used "
                f"({zmq.strerror(error.errno or 0)}). Give tcp://HOST:PORT"
            ) from None
        reason = _NOBODY
        while self._monitor.poll(deadline.left_ms):
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.Event.HANDSHAKE_SUCCEEDED:
                return
            if event == zmq.Event.CONNECTED and reason == _NOBODY:
                reason = _STUCK
            if event in _BAD_HANDSHAKES | _LOST:
                reason = _OTHER_KEYS
            if event == zmq.Event.HANDSHAKE_FAILED_AUTH:
                break
        self._fail(f"no connection within {deadline.timeout_s:g} s: {reason}")

    def _refuse_if_lost(self) -> None:
        while self._monitor.poll(0):
            if recv_monitor_message(self._monitor)["event"] in _LOST:
                self._fail("the connection is lost")

    def _fail(self, what: str) -> NoReturn:
        raise PolicyUnreachableError(f"policy server {self._address}: {what}")
