# SPDX-License-Identifier: Apache-2.0
"""A ``Policy`` whose model runs elsewhere.

Whatever goes wrong ends the session: the next tick makes a new connection and begins with an empty history. A
chunk is returned only as the answer to the tick that was just sent, with its stamp, period and size.
"""

import os
from contextlib import suppress
from dataclasses import fields

from vla_core.errors import (
    CheckpointError,
    CodecError,
    ConfigError,
    InstructionError,
    PolicyUnreachableError,
    VlaError,
)
from vla_core.policy_contract import PolicyContract
from vla_core.remote.connection import Connection, Deadline
from vla_core.remote.keys import ClientKeys
from vla_core.remote.protocol import TOKEN_BYTES, check_versions
from vla_core.remote.replies import ChunkReply, Probe, Refusal, RefusalCode, Reply, Welcome, decode_reply
from vla_core.remote.requests import InferRequest, encode_bye, encode_hello, encode_infer
from vla_core.types import ActionChunk, Observation


class RemotePolicy:
    """Asks a policy server. Not thread-safe: one owner at a time.

    Args:
        address: Of the server, for example ``tcp://host:5555``.
        keys: Of this client; ``None`` for plain text.
        timeout_s: Longest time that a connection, or a tick, takes.
        client: (16 bytes) who this is; a second ``RemotePolicy`` with the same takes over from the first.

    Raises:
        ConfigError: The address cannot be used, or the server has another version of the suite.
        PolicyUnreachableError: The server does not answer, knows other keys, or serves somebody else.
    """

    def __init__(
        self, address: str, keys: ClientKeys | None, timeout_s: float = 1.0, client: bytes | None = None
    ) -> None:
        self._address = address
        self._keys = keys
        self._timeout_s = timeout_s
        self._client = client or os.urandom(TOKEN_BYTES)
        self._connection: Connection | None = None
        self._session = b""
        self._number = 0
        self._must_reset = False
        self._contract: PolicyContract | None = None
        self._contract = self._open(Deadline.after(timeout_s))

    @property
    def contract(self) -> PolicyContract:
        """What the policy promises and needs, as the server said at the first handshake."""
        assert self._contract is not None
        return self._contract

    def reset(self) -> None:
        """Forget all history; the server does it with the next tick."""
        self._must_reset = True

    def infer(self, observation: Observation, instruction: str) -> ActionChunk:
        """Advance by one tick and return the chunk for this observation.

        Raises:
            InstructionError: The sentence cannot be used; the history is as it was.
            PolicyUnreachableError: There is no usable answer; the next tick begins with an empty history.
            VlaError: The policy failed in the server, or the server has another policy or version now.
        """
        _require_unicode(instruction)
        deadline = Deadline.after(self._timeout_s)
        try:
            if self._connection is None:
                self._open(deadline)
            return self._infer(observation, instruction, deadline)
        except InstructionError:
            self._must_reset = False  # was done before the sentence was read
            raise
        except BaseException:
            self._drop()
            raise

    def close(self) -> None:
        """Let go of the session, so that another client may have it at once."""
        if self._connection is not None:
            self._connection.say(encode_bye(self._session))
            self._connection.close(linger_ms=200)
            self._connection = None

    def _infer(self, observation: Observation, instruction: str, deadline: Deadline) -> ActionChunk:
        self._number += 1
        request = InferRequest(self._session, self._number, self._must_reset, observation, instruction)
        reply = self._ask(encode_infer(request, self.contract.cameras), deadline)
        if isinstance(reply, Refusal):
            raise self._refused(reply)
        if not isinstance(reply, ChunkReply):
            raise self._unusable(f"a {type(reply).__name__.lower()} came instead of a chunk")
        self._check_answers(reply, observation)
        self._must_reset = False
        return reply.chunk

    def _check_answers(self, reply: ChunkReply, observation: Observation) -> None:
        chunk, contract = reply.chunk, self.contract
        found = (reply.session, reply.number, chunk.stamp_ns)
        if found != (self._session, self._number, observation.stamp_ns):
            raise self._unusable(
                f"an answer to request {reply.number} (stamp {chunk.stamp_ns} ns) came, expected one to "
                f"{self._number} (stamp {observation.stamp_ns} ns)"
            )
        if len(chunk.actions) != contract.chunk_size or chunk.period_s != contract.period_s:
            raise self._unusable(
                f"a chunk of {len(chunk.actions)} actions every {chunk.period_s:g} s came, the contract says "
                f"{contract.chunk_size} every {contract.period_s:g} s"
            )

    def _open(self, deadline: Deadline) -> PolicyContract:
        """Connect and begin a session; return what the policy promises."""
        try:
            self._connection = Connection(self._address, self._keys, deadline)
            reply = self._ask(encode_hello(self._client), deadline)
            if isinstance(reply, Refusal):
                raise self._refused(reply)
            if not isinstance(reply, Welcome):
                raise self._unusable(f"a {type(reply).__name__.lower()} came instead of a welcome")
            contract = self._accept(reply)
        except BaseException:
            self._drop()
            raise
        self._session, self._number, self._must_reset = reply.session, 0, False
        return contract

    def _accept(self, welcome: Welcome) -> PolicyContract:
        problem = check_versions(welcome.protocol, welcome.suite, "the server", "this client")
        if problem is not None:
            raise ConfigError(f"policy server {self._address}: {problem}")
        assert welcome.contract is not None
        if self._contract not in (None, welcome.contract):
            changes = "; ".join(_differences(self._contract, welcome.contract))
            raise CheckpointError(
                f"policy server {self._address}: it serves another policy now ({changes}). Configure the node "
                "again"
            )
        return welcome.contract

    def _ask(self, request: bytes, deadline: Deadline) -> Reply:
        assert self._connection is not None
        self._connection.send(request)
        while True:
            try:
                reply = decode_reply(self._connection.receive(deadline))
            except CodecError as error:
                raise self._unusable(f"an answer cannot be used: {error}") from None
            if not isinstance(reply, Probe):
                return reply

    def _refused(self, refusal: Refusal) -> VlaError:
        sentence = f"policy server {self._address}: {refusal.sentence}"
        if refusal.code is RefusalCode.INSTRUCTION and refusal.number == self._number:
            return InstructionError(refusal.sentence)
        if refusal.code is RefusalCode.VERSION:
            return ConfigError(sentence)
        if refusal.code is RefusalCode.POLICY:
            return VlaError(sentence)
        return PolicyUnreachableError(sentence)

    def _unusable(self, what: str) -> PolicyUnreachableError:
        return PolicyUnreachableError(f"policy server {self._address}: {what}")

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(Exception):  # what is wrong has been told already
                self._connection.close()
            self._connection = None


def _differences(before: PolicyContract | None, now: PolicyContract) -> list[str]:
    names = [each.name for each in fields(PolicyContract)]
    pairs = [(name, getattr(before, name), getattr(now, name)) for name in names]
    return [f"{name} is {found}, was {expected}" for name, expected, found in pairs if found != expected]


def _require_unicode(instruction: str) -> None:
    try:
        instruction.encode()
    except UnicodeEncodeError:
        raise InstructionError("instruction: the text is not valid UTF-8. Send it as UTF-8") from None
