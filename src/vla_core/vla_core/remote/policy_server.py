# SPDX-License-Identifier: Apache-2.0
"""Serves one policy to one client at a time. What arrives is checked before the policy sees it.

A session belongs to one connection of one client and owns the history. It ends with a bye, with a new hello of the
same client, with an error of the policy, and when another client asks while the connection is gone.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import zmq

from vla_core.errors import CodecError, ConfigError, InstructionError
from vla_core.policy_contract import Policy
from vla_core.remote.encryption import server_socket, start_doorkeeper
from vla_core.remote.keys import ServerKeys
from vla_core.remote.protocol import PROTOCOL_VERSION, TOKEN_BYTES, check_versions
from vla_core.remote.replies import RefusalCode, encode_chunk, encode_probe, encode_refusal, encode_welcome
from vla_core.remote.requests import Bye, Hello, InferRequest, decode_request

_LOOK_FOR_END_MS = 200
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Session:
    route: bytes
    client: bytes
    token: bytes
    last_number: int = 0


class PolicyServer:
    """A policy on a socket; a context manager.

    Attributes:
        address: Where it listens, with the port that was found for ``tcp://...:*``.

    Args:
        policy: The policy; from now on only ``run`` touches it.
        bind: For example ``tcp://127.0.0.1:5555``.
        keys: Who may connect; ``None`` for plain text and everybody.

    Raises:
        ConfigError: The address cannot be used.
    """

    def __init__(self, policy: Policy, bind: str, keys: ServerKeys | None) -> None:
        self._policy = policy
        self._session: _Session | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._doorkeeper = None if keys is None else start_doorkeeper(self._context, keys)
        self._socket = server_socket(self._context, keys)
        try:
            self._socket.bind(bind)
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(
                f"{bind}: nobody can listen there ({zmq.strerror(error.errno or 0)}). Give tcp://ADDRESS:PORT"
            ) from None
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def __enter__(self) -> Self:
        """Return the server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the server."""
        self.close()

    def run(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Answer until ``is_over``, which is asked a few times a second."""
        while not is_over():
            if self._socket.poll(_LOOK_FOR_END_MS):
                self._answer(self._socket.recv_multipart())

    def close(self) -> None:
        """Let go of the address."""
        self._socket.close(0)
        if self._doorkeeper is not None:
            self._doorkeeper.stop()
        self._context.destroy(0)

    def _answer(self, frames: list[bytes]) -> None:
        route = frames[0]
        try:
            if len(frames) != 2:
                raise CodecError(f"message: {len(frames) - 1} frames found, expected 1")
            reply = self._reply(route, frames[1])
        except CodecError as error:
            _LOG.warning("refused a message: %s", error)
            reply = encode_refusal(RefusalCode.MALFORMED, str(error))
        except Exception as error:  # whatever a model raises becomes a sentence for the robot
            _LOG.exception("the policy failed")
            self._session = None
            sentence = f"the policy failed there: {type(error).__name__}: {error}"
            reply = encode_refusal(RefusalCode.POLICY, sentence)
        if reply is not None and not self._send(route, reply):
            _LOG.warning("the client was gone before its answer")

    def _reply(self, route: bytes, data: bytes) -> bytes | None:
        request = decode_request(data)
        if isinstance(request, Hello):
            return self._welcome(route, request)
        if isinstance(request, InferRequest):
            return self._infer(route, request)
        self._end(route, request)
        return None

    def _welcome(self, route: bytes, hello: Hello) -> bytes:
        problem = check_versions(hello.protocol, hello.suite, "the client", "this server")
        if problem is not None:
            return encode_refusal(RefusalCode.VERSION, problem)
        owner = self._session
        if (
            owner is not None
            and owner.client != hello.client
            and self._send(owner.route, encode_probe(), full=True)
        ):
            sentence = "another client is connected, and the policy has one history. Stop that client first"
            _LOG.warning("refused a second client")
            return encode_refusal(RefusalCode.BUSY, sentence)
        self._policy.reset()
        self._session = _Session(route, hello.client, os.urandom(TOKEN_BYTES))
        _LOG.info("a session begins (protocol %d)", PROTOCOL_VERSION)
        return encode_welcome(self._session.token, self._policy.contract)

    def _infer(self, route: bytes, request: InferRequest) -> bytes:
        session = self._session
        if session is None or (session.route, session.token) != (route, request.session):
            sentence = "the session is over: the server was restarted, or the client connected again"
            return encode_refusal(RefusalCode.SESSION, sentence, request.number)
        if request.number <= session.last_number:
            raise CodecError(f"request {request.number} came after request {session.last_number}")
        missing = set(self._policy.contract.cameras) - set(request.observation.images)
        if missing:
            raise CodecError(f"message: observation.images lacks {sorted(missing)}")
        self._session = replace(session, last_number=request.number)
        return self._chunk(request)

    def _chunk(self, request: InferRequest) -> bytes:
        try:
            if request.reset:
                self._policy.reset()
            chunk = self._policy.infer(request.observation, request.instruction)
        except InstructionError as error:
            return encode_refusal(RefusalCode.INSTRUCTION, str(error), request.number)
        return encode_chunk(request.session, request.number, chunk)

    def _end(self, route: bytes, bye: Bye) -> None:
        if self._session is not None and (self._session.route, self._session.token) == (route, bye.session):
            self._session = None
            _LOG.info("the session is over")

    def _send(self, route: bytes, data: bytes, full: bool = False) -> bool:
        """Send without waiting; return whether the client is there, or ``full`` where its queue is."""
        try:
            self._socket.send_multipart([route, data], zmq.NOBLOCK)
        except zmq.Again:
            return full
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True
