# SPDX-License-Identifier: Apache-2.0
"""A policy over the wire: the same chunks, one owner of the history, and what a fault does to it."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import torch
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
from tiny_models import SENTENCES, random_observation, tiny_checkpoint

from vla_core.errors import CheckpointError, CodecError, InstructionError, PolicyUnreachableError, VlaError
from vla_core.policy import VlaPolicy
from vla_core.remote import protocol, replies, requests

torch.set_num_threads(1)


def test_chunks_are_those_of_the_local_policy_to_the_bit(tmp_path: Path) -> None:
    local, served = VlaPolicy(tiny_checkpoint(use_state=True)), VlaPolicy(tiny_checkpoint(use_state=True))
    keys = server_keys(tmp_path)
    with serving(served, keys) as address, asking(address, 60.0, tmp_path / "client") as remote:
        assert remote.contract == local.contract
        for tick in range(6):
            if tick == 4:
                local.reset()
                remote.reset()
            seen = random_observation(tick)
            expected, found = local.infer(seen, SENTENCES[0]), remote.infer(seen, SENTENCES[0])
            np.testing.assert_array_equal(found.actions, expected.actions)
            assert (found.stamp_ns, found.period_s) == (expected.stamp_ns, expected.period_s)
            assert found.actions.dtype == np.float32


def test_the_server_sees_the_observation_to_the_bit() -> None:
    policy = CountingPolicy()
    with serving(policy) as address, asking(address) as remote:
        for stamp_ns in range(1, 20):
            sent = observation(stamp_ns)
            remote.infer(sent, "go")
            seen = policy.seen[-1]
            assert (seen.stamp_ns, seen.gripper_open) == (sent.stamp_ns, sent.gripper_open)
            assert seen.source_stamps_ns == sent.source_stamps_ns
            np.testing.assert_array_equal(seen.joint_positions_rad, sent.joint_positions_rad)
            np.testing.assert_array_equal(seen.pose_tcp_in_base.matrix, sent.pose_tcp_in_base.matrix)
            for name, picture in sent.images.items():
                np.testing.assert_array_equal(seen.images[name], picture)


def test_reset_comes_with_the_next_tick_and_only_once() -> None:
    with serving(CountingPolicy()) as address, asking(address) as remote:
        assert [history_of(remote.infer(observation(), "go")) for _ in range(3)] == [1, 2, 3]
        remote.reset()
        assert [history_of(remote.infer(observation(), "go")) for _ in range(2)] == [1, 2]


def test_an_unusable_sentence_travels_as_itself_and_keeps_history() -> None:
    with serving(CountingPolicy()) as address, asking(address) as remote:
        remote.infer(observation(), "go")
        with pytest.raises(InstructionError, match="this one cannot be used"):
            remote.infer(observation(), "unusable")
        with pytest.raises(InstructionError, match="UTF-8"):
            remote.infer(observation(), "\ud800")
        assert history_of(remote.infer(observation(), "go")) == 2


def test_an_error_of_the_policy_is_a_sentence_and_the_server_lives_on() -> None:
    policy = CountingPolicy()

    def explode() -> None:
        raise RuntimeError("CUDA out of memory")

    with serving(policy) as address, asking(address) as remote:
        remote.infer(observation(), "go")
        policy.misbehave = explode
        with pytest.raises(VlaError, match="RuntimeError: CUDA out of memory") as caught:
            remote.infer(observation(), "go")
        assert not isinstance(caught.value, PolicyUnreachableError | InstructionError)
        policy.misbehave = lambda: None
        assert history_of(remote.infer(observation(), "go")) == 1


def test_an_error_at_the_start_of_a_session_is_a_sentence_and_the_server_lives_on() -> None:
    policy = CountingPolicy()
    forget = policy.reset
    policy.reset = lambda: 1 // 0  # type: ignore[assignment]
    with serving(policy) as address:
        with pytest.raises(VlaError, match="ZeroDivisionError"), asking(address):
            pass
        policy.reset = forget  # type: ignore[method-assign]
        with asking(address) as remote:
            assert history_of(remote.infer(observation(), "go")) == 1


def test_a_second_client_is_refused_until_the_first_is_gone() -> None:
    with serving(CountingPolicy()) as address:
        with asking(address) as first:
            first.infer(observation(), "go")
            with pytest.raises(PolicyUnreachableError, match="another client is connected"), asking(address):
                pass
            assert history_of(first.infer(observation(), "go")) == 2
        with asking(address) as second:
            assert history_of(second.infer(observation(), "go")) == 1


def test_a_client_that_vanishes_without_a_word_frees_the_policy() -> None:
    with serving(CountingPolicy()) as address, spoiling(address) as proxy, asking(proxy.address) as first:
        first.infer(observation(), "go")
        proxy.close()

        def is_free() -> bool:
            try:
                with asking(address) as second:
                    return history_of(second.infer(observation(), "go")) == 1
            except PolicyUnreachableError:
                return False

        wait_until(is_free, "the policy to be free")


def test_the_same_client_takes_over_from_itself_with_a_new_history() -> None:
    with serving(CountingPolicy()) as address, asking(address, client=b"c" * 16) as first:
        first.infer(observation(), "go")
        with asking(address, client=b"c" * 16) as second:
            assert history_of(second.infer(observation(), "go")) == 1
            with pytest.raises(PolicyUnreachableError, match="session is over"):
                first.infer(observation(), "go")


def test_no_answer_in_time_is_a_sentence_and_the_next_tick_begins_anew() -> None:
    policy = CountingPolicy()
    with serving(policy) as address, asking(address, 10.0) as remote:
        remote.infer(observation(), "go")
        lose_patience(remote, 1.0)
        policy.misbehave = lambda: time.sleep(1.5)
        began_s = time.monotonic()
        with pytest.raises(PolicyUnreachableError, match=rf"{address}: no answer within 1 s"):
            remote.infer(observation(2), "go")
        assert time.monotonic() - began_s < 5.0
        lose_patience(remote, 10.0)
        policy.misbehave = lambda: None
        wait_until(lambda: policy.num_ticks == 2, "the late inference")
        assert history_of(remote.infer(observation(3), "go")) == 1


def test_a_server_that_is_gone_is_noticed_and_found_again() -> None:
    with serving(CountingPolicy()) as address, asking(address, 10.0) as remote:
        remote.infer(observation(), "go")
    lose_patience(remote, 1.0)
    began_s = time.monotonic()
    with pytest.raises(PolicyUnreachableError, match=rf"{address}: no connection within 1 s: nobody listens"):
        remote.infer(observation(), "go")
    assert time.monotonic() - began_s < 5.0
    lose_patience(remote, 10.0)
    with serving(CountingPolicy(), bind=address):
        assert history_of(remote.infer(observation(), "go")) == 1
        remote.close()


def test_another_policy_behind_the_same_address_is_refused() -> None:
    with serving(CountingPolicy()) as address, asking(address) as remote:
        remote.infer(observation(), "go")
    other = CountingPolicy(dataclasses.replace(CONTRACT, chunk_size=7))
    why = r"another policy now \(chunk_size is 7, was 2\)"
    with serving(other, bind=address), pytest.raises(CheckpointError, match=why):
        remote.infer(observation(), "go")


@pytest.mark.parametrize(("name", "theirs"), [("PROTOCOL_VERSION", 99), ("suite_version", lambda: "9.9.9")])
def test_another_version_is_refused_with_both(monkeypatch: pytest.MonkeyPatch, name: str, theirs: object) -> None:
    with serving(CountingPolicy()) as address:
        ours = f"protocol {protocol.PROTOCOL_VERSION} \\(suite {protocol.suite_version()}\\)"
        monkeypatch.setattr(requests, name, theirs)
        with pytest.raises(VlaError, match=ours) as caught, asking(address):
            pass
        assert "99" in str(caught.value) or "9.9.9" in str(caught.value)


def test_a_welcome_of_another_version_is_refused_by_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "suite_version", lambda: "9.9.9")
    why = r"9\.9\.9.*Install the same version"
    with serving(CountingPolicy()) as address, pytest.raises(VlaError, match=why), asking(address):
        pass


def test_an_observation_without_a_camera_is_refused_here() -> None:
    with serving(CountingPolicy()) as address, asking(address) as remote:
        blind = dataclasses.replace(observation(), images={})
        with pytest.raises(CodecError, match="lacks cameras"):
            remote.infer(blind, "go")
        assert history_of(remote.infer(observation(), "go")) == 1
