# SPDX-License-Identifier: Apache-2.0
"""Who may connect: keys in files, wrong keys, plain text; and the commands that serve and make keys."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from remote_bench import CountingPolicy, asking, history_of, observation, server_keys, serving
from tiny_models import SENTENCES, random_observation, tiny_checkpoint

from vla_core.checkpoint import save_checkpoint
from vla_core.errors import ConfigError, PolicyUnreachableError
from vla_core.policy import VlaPolicy
from vla_core.remote import keys as keys_command
from vla_core.remote import serve
from vla_core.remote.encryption import require_choice
from vla_core.remote.keys import load_client_keys, load_server_keys, make_keys


def test_keys_are_for_their_owner_only_and_are_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keys_command.main(["--out", str(tmp_path / "keys")]) == 0
    files = {path: path.read_bytes() for path in (tmp_path / "keys").rglob("*") if path.is_file()}
    assert {path.name for path in files} == {"server.key_secret", "server.key", "client.key", "client.key_secret"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert keys_command.main(["--out", str(tmp_path / "keys")]) == 1
    assert "never overwritten" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in files} == files


def test_a_client_can_be_added_later(tmp_path: Path) -> None:
    make_keys(tmp_path)
    assert make_keys(tmp_path, ["second-arm"]) == [tmp_path / "second-arm"]
    assert set(load_server_keys(tmp_path / "server").clients.values()) == {"client", "second-arm"}
    with pytest.raises(ConfigError, match=r"\.\./x"):
        make_keys(tmp_path, ["../x"])


def test_keys_that_others_can_read_or_that_are_none_are_refused(tmp_path: Path) -> None:
    server = server_keys(tmp_path)
    assert server.secret.decode() not in repr(server)
    (tmp_path / "client" / "client.key_secret").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_client_keys(tmp_path / "client")
    (tmp_path / "server" / "server.key_secret").write_text('public-key = "short"\n')
    with pytest.raises(ConfigError, match="5 characters"):
        load_server_keys(tmp_path / "server")
    with pytest.raises(ConfigError, match="cannot be read as a key"):
        load_client_keys(tmp_path / "nowhere")


def test_a_server_that_nobody_may_connect_to_does_not_start(tmp_path: Path) -> None:
    make_keys(tmp_path)
    (tmp_path / "server" / "clients" / "client.key").unlink()
    with pytest.raises(ConfigError, match="nobody could connect"):
        load_server_keys(tmp_path / "server")


def test_a_key_the_server_does_not_know_is_refused_within_the_time(tmp_path: Path) -> None:
    server_keys(tmp_path / "others")
    stranger = tmp_path / "others" / "client"
    with serving(CountingPolicy(), server_keys(tmp_path / "ours")) as address:
        (stranger / "server.key").write_bytes((tmp_path / "ours" / "client" / "server.key").read_bytes())
        began_s = time.monotonic()
        with pytest.raises(PolicyUnreachableError, match=rf"{address}.*keys do not fit"):
            asking(address, 2.0, stranger).__enter__()
        assert time.monotonic() - began_s < 5.0
        with asking(address, 5.0, tmp_path / "ours" / "client") as remote:
            assert history_of(remote.infer(observation(), "go")) == 1


def test_another_server_than_the_one_whose_key_is_known_is_refused(tmp_path: Path) -> None:
    server_keys(tmp_path / "others")
    with serving(CountingPolicy(), server_keys(tmp_path / "ours")) as address:
        began_s = time.monotonic()
        with pytest.raises(PolicyUnreachableError, match="keys do not fit"):
            asking(address, 1.0, tmp_path / "others" / "client").__enter__()
        assert time.monotonic() - began_s < 5.0


def test_plain_text_is_refused_by_both_sides(tmp_path: Path) -> None:
    keys = server_keys(tmp_path)
    with serving(CountingPolicy(), keys) as address, pytest.raises(PolicyUnreachableError, match="plain text"):
        asking(address, 0.5).__enter__()
    with serving(CountingPolicy()) as address, pytest.raises(PolicyUnreachableError, match="plain text"):
        asking(address, 0.5, tmp_path / "client").__enter__()


def test_plain_text_must_be_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"--keys is missing.*--allow-plain-text"):
        require_choice(False, False, "--keys", "--allow-plain-text")
    with pytest.raises(ConfigError, match="contradict"):
        require_choice(True, True, "--keys", "--allow-plain-text")


def start_server(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vla_core.remote.serve", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_the_command_serves_a_checkpoint_and_ends_quietly(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tiny_checkpoint(), tmp_path / "checkpoint")
    make_keys(tmp_path)
    command = ["--checkpoint", checkpoint, "--bind", "tcp://127.0.0.1:*", "--device", "cpu"]
    process = start_server(*command, "--keys", tmp_path / "server")
    try:
        assert process.stderr is not None
        ready = next(line for line in process.stderr if "serving" in line)
        assert "UNTRAINED" in ready
        with asking(ready.split()[-1], 30.0, tmp_path / "client") as remote:
            seen = random_observation(0)
            found = remote.infer(seen, SENTENCES[0]).actions
        expected = VlaPolicy.load(checkpoint).infer(seen, SENTENCES[0]).actions
        np.testing.assert_allclose(found, expected, atol=1e-6)  # another number of threads adds in another order
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "policy_server: ended" in rest
    assert "Traceback" not in rest


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--keys is missing"),
        (["--keys", "nowhere"], "cannot be read as a key"),
    ],
)
def test_the_command_refuses_with_a_sentence(arguments: list[str], words: str) -> None:
    process = start_server("--checkpoint", "nowhere", *arguments)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert words in errors
    assert "Traceback" not in errors


def test_plain_text_that_is_asked_for_is_warned_of(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert serve.main(["--checkpoint", "nowhere", "--allow-plain-text"]) == 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert "PLAIN TEXT" in caplog.text
    assert "nowhere: no such directory" in capsys.readouterr().err


def test_an_address_that_is_taken_is_a_sentence() -> None:
    with serving(CountingPolicy()) as address:
        for bind, words in ((address, "in use"), ("nonsense", "nobody can listen there")):
            with pytest.raises(ConfigError, match=words):
                serving(CountingPolicy(), bind=bind).__enter__()
