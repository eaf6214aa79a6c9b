# SPDX-License-Identifier: Apache-2.0
"""Messages of the wire: whole ones come back equal, everything else is a sentence and never a value."""

import dataclasses
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remote_bench import CONTRACT, CountingPolicy, history_of, observation, serving
from zmq import DEALER, Context

from vla_core.actions.action_space import ActionSpace
from vla_core.actions.normalization import NormalizationSpec
from vla_core.errors import CodecError
from vla_core.remote import protocol
from vla_core.remote.policy_client import RemotePolicy
from vla_core.remote.replies import Refusal, RefusalCode, Welcome, decode_reply, encode_chunk, encode_welcome
from vla_core.remote.requests import InferRequest, decode_request, encode_hello, encode_infer
from vla_core.types import ActionChunk

TOKEN = bytes(range(16))
REQUEST = encode_infer(InferRequest(TOKEN, 3, False, observation(size_px=2), "go"), CONTRACT.cameras)
CHUNK = encode_chunk(TOKEN, 3, ActionChunk(5, 0.1, np.zeros((2, 7), np.float32)))
WELCOME = encode_welcome(TOKEN, CONTRACT)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=8) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def decodes(data: bytes) -> bool:
    """Return whether some side takes the bytes as a message; anything but a sentence fails the test."""
    taken = False
    for decode in (decode_request, decode_reply):
        try:
            decode(data)
            taken = True
        except CodecError as error:
            assert len(str(error)) < 3000
    return taken


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_random_bytes_are_refused(data: bytes) -> None:
    assert not decodes(data)


@given(st.sampled_from([REQUEST, CHUNK, WELCOME]), st.data())
@settings(max_examples=200)
def test_a_truncated_or_lengthened_message_is_refused(message: bytes, data: st.DataObject) -> None:
    assert not decodes(message[: data.draw(st.integers(0, len(message) - 1))])
    assert not decodes(message + data.draw(st.binary(min_size=1, max_size=9)))


@given(st.sampled_from([REQUEST, CHUNK, WELCOME]), st.data())
@settings(max_examples=300)
def test_changed_bytes_give_a_sentence_or_a_whole_message(message: bytes, data: st.DataObject) -> None:
    spoiled = bytearray(message)
    for _ in range(data.draw(st.integers(1, 4))):
        spoiled[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    decodes(bytes(spoiled))


@given(st.sampled_from([REQUEST, CHUNK, WELCOME]), PLAIN, st.data())
@settings(max_examples=400)
def test_any_value_in_any_field_gives_a_sentence_or_a_whole_message(
    message: bytes, value: Any, data: st.DataObject
) -> None:
    plain = msgpack.unpackb(message)
    place = plain
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    decodes(msgpack.packb(plain))


def changed(message: bytes, path: str, value: Any) -> bytes:
    plain = msgpack.unpackb(message)
    *outer, last = path.split(".")
    place = plain
    for key in outer:
        place = place[key]
    place[last] = value
    return bytes(msgpack.packb(plain))


@pytest.mark.parametrize(
    ("message", "path", "value", "words"),
    [
        (REQUEST, "kind", "please", "unknown kind 'please'"),
        (REQUEST, "more", 1, "unknown field"),
        (REQUEST, "number", -1, "number"),
        (REQUEST, "number", True, "number"),
        (REQUEST, "session", b"short", "16 bytes"),
        (REQUEST, "instruction", "x" * 9000, "8192 characters"),
        (REQUEST, "instruction", b"go", "instruction"),
        (REQUEST, "observation", [], "named fields"),
        (REQUEST, "observation.stamp_ns", 2**63, "stamp_ns"),
        (REQUEST, "observation.stamp_ns", 1.5, "stamp_ns"),
        (REQUEST, "observation.gripper_open", float("nan"), "gripper_open"),
        (REQUEST, "observation.position_m", [0.0, 0.0], "position_m"),
        (REQUEST, "observation.position_m", [0.0, 0.0, float("inf")], "position_m"),
        (REQUEST, "observation.quat_xyzw", [0.0, 0.0, 0.0, 0.5], "length 0.5"),
        (REQUEST, "observation.joint_positions_rad", [0.0] * 65, "64"),
        (REQUEST, "observation.images.static.height_px", 9000, "height_px"),
        (REQUEST, "observation.images.static.height_px", 3, "18 bytes"),
        (REQUEST, "observation.images.static.rgb8", b"", "12 bytes"),
        (REQUEST, "observation.images", {str(i): {} for i in range(17)}, "at most 16"),
        (REQUEST, "observation.source_stamps_ns", {"static": "now"}, "static"),
        (CHUNK, "num_actions", 3, "84 bytes"),
        (CHUNK, "period_s", float("inf"), "period_s"),
        (CHUNK, "actions", [0.0] * 14, "56 bytes"),
        (WELCOME, "contract.chunk_size", "many", "chunk_size"),
        (WELCOME, "contract.chunk_size", 0, "contradicts"),
        (WELCOME, "contract.cameras", ["static"], "contradicts"),
        (WELCOME, "contract.period_s", -0.1, "contradicts"),
    ],
)
def test_a_field_that_does_not_fit_is_named(message: bytes, path: str, value: Any, words: str) -> None:
    decode = decode_request if message is REQUEST else decode_reply
    with pytest.raises(CodecError, match=words):
        decode(changed(message, path, value))


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(CodecError, match="at most 1048576 are allowed"):
        decode_reply(bytes(protocol.MAX_REPLY_BYTES + 1))
    for bomb in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 100_000):
        assert not decodes(bomb)


def test_contracts_come_back_equal() -> None:
    space = ActionSpace(frame="robovlms_tcp", normalization=NormalizationSpec(low=(-0.65,) * 6, high=(0.65,) * 6))
    for contract in (CONTRACT, dataclasses.replace(CONTRACT, action_space=space, is_trained=False)):
        welcome = decode_reply(encode_welcome(TOKEN, contract))
        assert isinstance(welcome, Welcome)
        assert welcome.contract == contract


def test_no_message_stops_the_server_or_reaches_the_policy() -> None:
    policy = CountingPolicy()
    generator = np.random.default_rng(0)
    with serving(policy) as address, Context() as context, context.socket(DEALER) as stranger:
        stranger.linger = 0
        stranger.connect(address)
        good = encode_hello(TOKEN)
        for message in [REQUEST, CHUNK, b"", good[:-1], *(generator.bytes(size) for size in range(200))]:
            stranger.send(message)
            assert stranger.poll(5000)
            reply = decode_reply(stranger.recv())
            assert isinstance(reply, Refusal)
            assert reply.code in {RefusalCode.MALFORMED, RefusalCode.SESSION}
        stranger.send_multipart([good, good])
        assert stranger.poll(5000)
        assert "2 frames" in decode_reply(stranger.recv()).sentence  # type: ignore[union-attr]
        assert policy.num_ticks == policy.num_resets == 0
        remote = RemotePolicy(address, None, 10.0)
        assert history_of(remote.infer(observation(), "go")) == 1
        remote.close()


def test_a_request_that_is_repeated_or_blind_is_refused() -> None:
    policy = CountingPolicy()
    with serving(policy) as address, Context() as context, context.socket(DEALER) as client:
        client.linger = 0
        client.connect(address)

        def ask(message: bytes) -> Any:
            client.send(message)
            assert client.poll(5000)
            return decode_reply(client.recv())

        session = ask(encode_hello(TOKEN)).session
        tick = encode_infer(InferRequest(session, 1, False, observation(), "go"), CONTRACT.cameras)
        assert ask(tick).number == 1
        assert "request 1 came after request 1" in ask(tick).sentence
        blind = encode_infer(InferRequest(session, 2, False, observation(), "go"), ("wrist",))
        assert "lacks ['static']" in ask(blind).sentence
        assert policy.num_ticks == 1
