# SPDX-License-Identifier: Apache-2.0
"""A network that delays, loses, cuts and changes; a server that lies: no chunk but the answer to the tick."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from remote_bench import (
    CONTRACT,
    CountingPolicy,
    asking,
    history_of,
    lose_patience,
    observation,
    server_keys,
    serving,
    spoiling,
    wait_until,
)
from zmq import POLLIN, ROUTER, Context

from vla_core.errors import PolicyUnreachableError
from vla_core.remote.policy_client import RemotePolicy
from vla_core.remote.replies import encode_chunk, encode_probe, encode_welcome
from vla_core.remote.requests import Hello, InferRequest, decode_request
from vla_core.types import ActionChunk


def late(data: bytes) -> bytes:
    time.sleep(0.05)
    return data


def test_a_slow_network_only_costs_time(tmp_path: Path) -> None:
    with (
        serving(CountingPolicy(), server_keys(tmp_path)) as address,
        spoiling(address) as proxy,
        asking(proxy.address, 5.0, tmp_path / "client") as remote,
    ):
        proxy.spoil_request = proxy.spoil_answer = late
        began_s = time.monotonic()
        assert [history_of(remote.infer(observation(tick), "go")) for tick in (1, 2, 3)] == [1, 2, 3]
        assert time.monotonic() - began_s > 0.3


@pytest.mark.parametrize("direction", ["spoil_request", "spoil_answer"])
def test_what_is_lost_is_a_sentence_in_time_and_the_next_tick_begins_anew(tmp_path: Path, direction: str) -> None:
    with (
        serving(CountingPolicy(), server_keys(tmp_path)) as address,
        spoiling(address) as proxy,
        asking(proxy.address, 10.0, tmp_path / "client") as remote,
    ):
        remote.infer(observation(1), "go")
        lose_patience(remote, 0.7)
        setattr(proxy, direction, lambda data: b"")
        began_s = time.monotonic()
        with pytest.raises(PolicyUnreachableError, match=r"no answer within 0\.7 s"):
            remote.infer(observation(2), "go")
        assert time.monotonic() - began_s < 5.0
        setattr(proxy, direction, bytes)
        lose_patience(remote, 10.0)
        assert history_of(remote.infer(observation(3), "go")) == 1


@pytest.mark.parametrize("direction", ["spoil_request", "spoil_answer"])
def test_a_changed_byte_of_an_encrypted_message_yields_no_chunk(tmp_path: Path, direction: str) -> None:
    def flipped(data: bytes) -> bytes:
        return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:] if len(data) > 100 else data

    policy = CountingPolicy()
    with (
        serving(policy, server_keys(tmp_path)) as address,
        spoiling(address) as proxy,
        asking(proxy.address, 10.0, tmp_path / "client") as remote,
    ):
        remote.infer(observation(1), "go")
        lose_patience(remote, 1.0)
        setattr(proxy, direction, flipped)
        with pytest.raises(PolicyUnreachableError):
            remote.infer(observation(2), "go")
        assert len(policy.seen) == (1 if direction == "spoil_request" else 2)
        setattr(proxy, direction, bytes)
        lose_patience(remote, 10.0)
        assert history_of(remote.infer(observation(3), "go")) == 1


def test_a_cut_connection_is_noticed_long_before_the_time_is_up(tmp_path: Path) -> None:
    with (
        serving(CountingPolicy(), server_keys(tmp_path)) as address,
        spoiling(address) as proxy,
        asking(proxy.address, 20.0, tmp_path / "client") as remote,
    ):
        remote.infer(observation(1), "go")
        proxy.spoil_answer = lambda data: b""
        threading.Timer(0.2, proxy.cut).start()
        began_s = time.monotonic()
        with pytest.raises(PolicyUnreachableError, match="the connection is lost"):
            remote.infer(observation(2), "go")
        assert time.monotonic() - began_s < 10.0
        proxy.spoil_answer = bytes
        assert history_of(remote.infer(observation(3), "go")) == 1


Answer = Callable[[InferRequest], list[bytes]]


def chunk(request: InferRequest, **changes: object) -> bytes:
    values = {
        "session": request.session,
        "number": request.number,
        "stamp_ns": request.observation.stamp_ns,
        "period_s": CONTRACT.period_s,
        "num_actions": CONTRACT.chunk_size,
    } | changes
    actions = np.zeros((values["num_actions"], 7), np.float32)  # type: ignore[call-overload]
    value = ActionChunk(values["stamp_ns"], values["period_s"], actions)  # type: ignore[arg-type]
    return encode_chunk(values["session"], values["number"], value)  # type: ignore[arg-type]


@contextmanager
def lying(answer: Answer) -> Iterator[str]:
    """Run a server that welcomes everybody and answers ticks as it likes."""
    is_over = threading.Event()
    with Context() as context, context.socket(ROUTER) as router:
        router.linger = 0
        port = router.bind_to_random_port("tcp://127.0.0.1")

        def run() -> None:
            while not is_over.is_set():
                if router.poll(50, POLLIN):
                    route, data = router.recv_multipart()
                    request = decode_request(data)
                    if isinstance(request, Hello):
                        router.send_multipart([route, encode_welcome(b"s" * 16, CONTRACT)])
                    elif isinstance(request, InferRequest):
                        for reply in answer(request):
                            router.send_multipart([route, reply])

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{port}"
        finally:
            is_over.set()
            thread.join(10.0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda r: [chunk(r, number=r.number - 1)], "answer to request 0 .* expected one to 1"),
        (lambda r: [chunk(r, stamp_ns=7)], "stamp 7 ns"),
        (lambda r: [chunk(r, session=b"x" * 16)], "answer to request 1"),
        (lambda r: [chunk(r, num_actions=5)], "chunk of 5 actions.*says 2"),
        (lambda r: [chunk(r, period_s=0.2)], r"every 0\.2 s came"),
        (lambda r: [chunk(r)[:-1]], "cannot be used"),
        (lambda r: [b"\x80\x04cposix\nsystem\n"], "cannot be used"),
        (lambda r: [encode_welcome(b"s" * 16, CONTRACT)], "a welcome came instead of a chunk"),
        (lambda r: [bytes(2 * 2**20)], "connection is lost"),
        (lambda r: [encode_probe()], r"no answer within 1 s"),
    ],
)
def test_an_answer_that_does_not_answer_yields_no_chunk(answer: Answer, words: str) -> None:
    with lying(answer) as address:
        remote = RemotePolicy(address, None, 10.0)
        lose_patience(remote, 1.0)
        with pytest.raises(PolicyUnreachableError, match=words):
            remote.infer(observation(), "go")
        remote.close()


def test_an_answer_that_comes_twice_is_not_taken_for_the_next() -> None:
    with lying(lambda r: [chunk(r), chunk(r)]) as address:
        remote = RemotePolicy(address, None, 10.0)
        remote.infer(observation(1), "go")
        with pytest.raises(PolicyUnreachableError, match=r"answer to request 1 .* expected one to 2"):
            remote.infer(observation(2), "go")
        remote.close()


def test_something_that_listens_and_says_nothing_is_a_sentence(tmp_path: Path) -> None:
    server_keys(tmp_path)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(PolicyUnreachableError, match=r"within 0\.5 s: something listens there"),
        asking(f"tcp://127.0.0.1:{silent.getsockname()[1]}", 0.5, tmp_path / "client"),
    ):
        pass


def test_a_client_whose_network_is_gone_frees_the_policy_within_seconds(tmp_path: Path) -> None:
    with (
        serving(CountingPolicy(), server_keys(tmp_path)) as address,
        spoiling(address) as proxy,
        asking(proxy.address, 5.0, tmp_path / "client") as first,
    ):
        first.infer(observation(), "go")
        proxy.spoil_request = proxy.spoil_answer = lambda data: b""

        def is_free() -> bool:
            try:
                with asking(address, 5.0, tmp_path / "client") as second:
                    return history_of(second.infer(observation(), "go")) == 1
            except PolicyUnreachableError:
                time.sleep(0.2)
                return False

        wait_until(is_free, "the policy to be free", timeout_s=20.0)
