# SPDX-License-Identifier: Apache-2.0
"""What a server says: welcome, chunk, refusal, probe."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from vla_core.config import build, to_plain
from vla_core.errors import CodecError, ConfigError
from vla_core.policy_contract import PolicyContract
from vla_core.remote.fields import Fields
from vla_core.remote.protocol import (
    MAX_REPLY_BYTES,
    MAX_VERSION_CHARS,
    PROTOCOL_VERSION,
    TOKEN_BYTES,
    pack,
    suite_version,
    unpack,
)
from vla_core.types import ActionChunk

_MAX_SENTENCE_CHARS = 2000
_MAX_CHUNK_SIZE = 1024
_ACTION_DIM = 7


class RefusalCode(Enum):
    """Why a server does not do what it was asked for."""

    VERSION = "version"
    BUSY = "busy"
    SESSION = "session"
    MALFORMED = "malformed"
    INSTRUCTION = "instruction"
    POLICY = "policy"


@dataclass(frozen=True)
class Welcome:
    """A session has begun, with an empty history.

    Attributes:
        protocol: Protocol version of the server.
        suite: Suite version of the server.
        session: (16 bytes) to be said with each request.
        contract: What the policy promises and needs; ``None`` from a server of another protocol version.
    """

    protocol: int
    suite: str
    session: bytes
    contract: PolicyContract | None


@dataclass(frozen=True, eq=False)
class ChunkReply:
    """The answer to one request.

    Attributes:
        session: (16 bytes) of the request.
        number: Of the request.
        chunk: What the policy says.
    """

    session: bytes
    number: int
    chunk: ActionChunk


@dataclass(frozen=True)
class Refusal:
    """A request is not served.

    Attributes:
        code: Why.
        number: Of the request; -1 where it has none.
        sentence: Why, for a person.
    """

    code: RefusalCode
    number: int
    sentence: str


@dataclass(frozen=True)
class Probe:
    """Says nothing; that it can be sent tells the server that its client is there."""


Reply = Welcome | ChunkReply | Refusal | Probe


def encode_welcome(session: bytes, contract: PolicyContract) -> bytes:
    """Return the answer to a hello that is accepted."""
    versions = {"protocol": PROTOCOL_VERSION, "suite": suite_version()}
    return pack("welcome", {**versions, "session": session, "contract": to_plain(contract)})


def encode_chunk(session: bytes, number: int, chunk: ActionChunk) -> bytes:
    """Return the answer to a tick."""
    actions = np.ascontiguousarray(chunk.actions, dtype="<f4")
    return pack(
        "chunk",
        {
            "session": session,
            "number": number,
            "stamp_ns": int(chunk.stamp_ns),
            "period_s": float(chunk.period_s),
            "num_actions": len(actions),
            "actions": actions.tobytes(),
        },
    )


def encode_refusal(code: RefusalCode, sentence: str, number: int = -1) -> bytes:
    """Return the answer to what cannot be served."""
    clean = sentence.encode("utf-8", "replace").decode()[:_MAX_SENTENCE_CHARS]
    return pack("refusal", {"code": code.value, "number": number, "sentence": clean})


def encode_probe() -> bytes:
    """Return a message that asks for nothing."""
    return pack("probe", {})


def decode_reply(data: bytes) -> Reply:
    """Return what a server says.

    Raises:
        CodecError: The bytes are no reply; the message names the field that does not fit.
    """
    kind, fields = unpack(data, max_bytes=MAX_REPLY_BYTES)
    if kind not in _READERS:
        raise CodecError(f"message: unknown kind '{kind}'; allowed: {', '.join(_READERS)}")
    reply = _READERS[kind](fields)
    if not (isinstance(reply, Welcome) and reply.contract is None):
        fields.end()
    return reply


def _welcome(fields: Fields) -> Welcome:
    protocol, suite = fields.integer("protocol"), fields.text("suite", MAX_VERSION_CHARS)
    session = fields.binary("session", TOKEN_BYTES)
    if protocol != PROTOCOL_VERSION:
        return Welcome(protocol, suite, session, None)  # another version may describe its policy otherwise
    try:
        contract = build(PolicyContract, fields.plain("contract"), "message: contract")
    except ConfigError as error:
        raise CodecError(str(error)[:_MAX_SENTENCE_CHARS]) from None
    cameras, aspects = contract.cameras, contract.image_aspects
    sizes = (contract.period_s, contract.chunk_size, contract.window_size, *aspects)
    if len(cameras) != len(aspects) or min(sizes) <= 0 or contract.chunk_size > _MAX_CHUNK_SIZE:
        raise CodecError(f"message: the contract contradicts itself: {contract}"[:_MAX_SENTENCE_CHARS])
    return Welcome(protocol, suite, session, contract)


def _chunk(fields: Fields) -> ChunkReply:
    num_actions = fields.integer("num_actions", 1, _MAX_CHUNK_SIZE)
    actions = np.frombuffer(fields.binary("actions", num_actions * _ACTION_DIM * 4), "<f4")
    return ChunkReply(
        session=fields.binary("session", TOKEN_BYTES),
        number=fields.integer("number", 0),
        chunk=ActionChunk(
            stamp_ns=fields.integer("stamp_ns"),
            period_s=fields.number("period_s"),
            actions=actions.reshape(num_actions, _ACTION_DIM).astype(np.float32),
        ),
    )


def _refusal(fields: Fields) -> Refusal:
    word = fields.text("code", 16)
    known = {code.value: code for code in RefusalCode}
    if word not in known:
        raise CodecError(f"message: unknown code '{word}'; allowed: {', '.join(known)}")
    number = fields.integer("number", -1)
    return Refusal(known[word], number, fields.text("sentence", _MAX_SENTENCE_CHARS))


def _probe(fields: Fields) -> Probe:
    return Probe()


_READERS: dict[str, Callable[[Fields], Reply]] = {
    "welcome": _welcome,
    "chunk": _chunk,
    "refusal": _refusal,
    "probe": _probe,
}
