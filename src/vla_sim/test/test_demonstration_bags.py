# SPDX-License-Identifier: Apache-2.0
"""Bags of the experts: every stream at its rate, exact stamps, records beside them, whole or not at all."""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from vla_core.episode_record import EPISODE_FILE, EpisodeRecord
from vla_core.robot_spec import RobotSpec
from vla_sim.demonstration_bags import main, record_demonstrations
from vla_sim.tasks import TASKS

TASK = "turn_on_light"


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory, spec: RobotSpec) -> Path:
    out = tmp_path_factory.mktemp("bags")
    record_demonstrations(out, spec, [TASK], episodes=1)
    return out


def received_and_stamps(bag: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    times = defaultdict(list)
    with AnyReader([bag]) as reader:
        for connection, received_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            stamp = getattr(message, "header", None)
            stamp_ns = received_ns if stamp is None else stamp.stamp.sec * 10**9 + stamp.stamp.nanosec
            times[connection.topic].append((received_ns, stamp_ns))
    return {topic: tuple(np.array(pairs).T) for topic, pairs in times.items()}


def test_every_stream_comes_at_its_rate_and_is_received_a_little_later(bags: Path, spec: RobotSpec) -> None:
    times = received_and_stamps(bags / f"{TASK}_00000")
    rates = {f"/{camera.topic}": camera.rate_hz for camera in spec.cameras.values()}
    rates |= {f"/{spec.tcp_pose.topic}": 100.0, f"/{spec.joints.topic}": 100.0}
    rates |= {f"/{spec.command.topics['target_pose']}": 50.0}
    assert set(times) == {*rates, f"/{spec.gripper.topic}"}
    for topic, rate_hz in rates.items():
        received_ns, stamps_ns = times[topic]
        assert np.abs(np.diff(stamps_ns) - 1e9 / rate_hz).max() <= 1.0, topic
        assert np.all((received_ns > stamps_ns) & (received_ns < stamps_ns + 10_000_000))
        assert np.all(np.diff(received_ns) > 0)


def test_the_record_tells_what_the_bag_shows(bags: Path) -> None:
    record = EpisodeRecord.load(bags / f"{TASK}_00000")
    assert record is not None
    assert record.outcome == "success"
    assert record.instruction in TASKS[TASK].sentences


def test_the_same_command_leaves_bags_alone_and_equal_seeds_give_equal_bags(
    bags: Path, tmp_path: Path, spec: RobotSpec
) -> None:
    file = bags / f"{TASK}_00000" / f"{TASK}_00000.mcap"
    before = file.stat().st_mtime_ns
    record_demonstrations(bags, spec, [TASK], episodes=1)
    assert file.stat().st_mtime_ns == before
    record_demonstrations(tmp_path, spec, [TASK], episodes=1)
    again = (tmp_path / f"{TASK}_00000" / f"{TASK}_00000.mcap").read_bytes()
    assert again == file.read_bytes()


def test_a_killed_run_leaves_whole_bags_only_and_goes_on(tmp_path: Path, spec_path: Path) -> None:
    command = [sys.executable, "-m", "vla_sim.demonstration_bags", "--tasks", TASK, "--episodes", "2", "--quiet"]
    command += ["--robot", str(spec_path), "--out", str(tmp_path), "--storage", "sqlite3", "--compressed"]
    run = subprocess.Popen(command)
    deadline = time.monotonic() + 120
    while not (drafts := list(tmp_path.glob(".draft.*/*"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert drafts
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert all((bag / EPISODE_FILE).exists() for bag in tmp_path.glob(f"{TASK}_*"))
    assert subprocess.run(command, check=False).returncode == 0
    assert len(list(tmp_path.glob(f"{TASK}_*/*.db3"))) == 2
    assert not list(tmp_path.glob(".draft.*"))
    assert RobotSpec.load(tmp_path / "robot.yaml").cameras["wrist"].topic.endswith("/compressed")


def test_a_wrong_task_is_one_sentence(tmp_path: Path, spec_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--tasks", "open_drawr", "--out", str(tmp_path / "bags"), "--robot", str(spec_path)]
    assert main(arguments) == 1
    assert "did you mean 'open_drawer'" in capsys.readouterr().err
    assert not (tmp_path / "bags").exists()
