# SPDX-License-Identifier: Apache-2.0
"""The recorder and its keyboard as processes: killed, interrupted, started wrongly, and driven by keys."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from closed_loop import spinning, wait_until
from recorder_bench import STREAMS, TINY_ROBOT, Operator, TinyRobot, read_back, recorder, recorder_process

from vla_core.episode_record import EpisodeRecord

pytestmark = pytest.mark.ros


@pytest.fixture
def robot(ros: None) -> Iterator[TinyRobot]:
    node = TinyRobot()
    with spinning(node):
        yield node


@pytest.fixture
def operator(ros: None) -> Iterator[Operator]:
    node = Operator()
    with spinning(node):
        yield node


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_after_a_kill_the_next_recorder_completes_the_episode(
    robot: TinyRobot, operator: Operator, tmp_path: Path, storage: str
) -> None:
    process = recorder_process(tmp_path, storage=storage)
    name = operator.start("open the drawer").episode
    operator.wait_for_messages(200)
    time.sleep(0.5)
    sent, killed_ns = robot.num_sent, time.time_ns()
    process.kill()
    process.communicate(timeout=10)
    assert not (tmp_path / name / "metadata.yaml").exists()
    with recorder(tmp_path, storage=storage):
        bag = read_back(tmp_path / name)
    assert set(bag) >= STREAMS
    steps = [round(message.pose.position.x) for _, message in bag["/tcp_pose"]]
    assert steps == list(range(steps[0], steps[0] + len(steps)))
    assert steps[-1] <= sent + 1
    for topic in STREAMS:
        assert bag[topic][-1][0] > killed_ns - 500_000_000, f"{topic} ends too early"
    assert bag["/vla/instruction"][0][1].text == "open the drawer"
    record = EpisodeRecord.load(tmp_path / name)
    assert record is not None
    assert record.ended_ns is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_recorder_ends_its_episode(
    robot: TinyRobot, operator: Operator, tmp_path: Path, number: signal.Signals
) -> None:
    process = recorder_process(tmp_path)
    name = operator.start("open the drawer").episode
    operator.wait_for_messages(50)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors
    record = EpisodeRecord.load(tmp_path / name)
    assert record is not None
    assert record.ended_ns is not None
    assert record.note == "the recorder was ended"
    assert len(read_back(tmp_path / name)["/tcp_pose"]) > 10


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"robot_spec": "/nowhere.yaml"}, "/nowhere.yaml: no such file"),
        ({"storage": "tape"}, "parameter 'storage' is 'tape'; allowed: mcap, sqlite3"),
        ({"output_dir": "/proc/episodes"}, "/proc/episodes"),
        ({"output_dir": "''"}, "parameter 'output_dir' is empty"),
    ],
)
def test_a_recorder_that_cannot_start_ends_with_a_sentence(
    tmp_path: Path, parameters: dict[str, str], sentence: str
) -> None:
    process = recorder_process(parameters.pop("output_dir", tmp_path), **parameters)  # type: ignore[arg-type]
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert sentence in errors
    assert "Traceback" not in errors


class Terminal:
    """A keyboard process on a pseudo-terminal."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int) -> None:
        self.process, self._master = process, master
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> None:
        """Wait until a text is shown, and forget all up to its end."""
        deadline = time.monotonic() + 30.0
        while text not in self.shown:
            assert time.monotonic() < deadline, f"'{text}' is not in: {self.shown}"
            if select.select([self._master], [], [], 0.1)[0]:
                self.shown += os.read(self._master, 4096).decode(errors="replace")
        self.shown = self.shown.split(text, maxsplit=1)[1]


@contextmanager
def keyboard() -> Iterator[Terminal]:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "vla_policy_node.recording.record_keyboard"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait(10)
        os.close(master)


def test_keys_record_stop_relabel_and_discard(robot: TinyRobot, operator: Operator, tmp_path: Path) -> None:
    with recorder(tmp_path), keyboard() as terminal:
        terminal.wait_for("quit")
        terminal.type(" ")
        terminal.wait_for("sentence")
        terminal.type("open the drawer\n")
        terminal.wait_for("is being recorded")
        operator.wait_for_messages(50)
        terminal.type("s")
        terminal.wait_for("(success)")
        (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
        terminal.type("r")
        terminal.wait_for("right sentence")
        terminal.type("pull the drawer\n")
        terminal.wait_for("outcome")
        terminal.type("f\n")
        terminal.wait_for("outcome failure")
        record = EpisodeRecord.load(folder)
        assert record is not None
        assert (record.instruction, record.outcome) == ("pull the drawer", "failure")
        terminal.type(" ")
        terminal.wait_for("[open the drawer]")
        terminal.type("\n")
        terminal.wait_for("is being recorded")
        wait_until(lambda: operator.status["state"] == "recording", "the second episode")
        terminal.type(" ")
        terminal.wait_for("(unknown)")
        terminal.type("d")
        terminal.wait_for("is discarded")
        terminal.type("s")
        terminal.wait_for("no episode is being recorded")
        terminal.type("q")
        wait_until(lambda: terminal.process.poll() is not None, "the end of the keyboard")
        assert terminal.process.returncode == 0
    assert [path.name for path in tmp_path.iterdir() if path.name != "discarded"] == [folder.name]
    assert len(list((tmp_path / "discarded").iterdir())) == 1


def test_a_keyboard_without_terminal_says_so() -> None:
    command = [sys.executable, "-m", "vla_policy_node.recording.record_keyboard"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the input is no terminal" in done.stderr


def test_the_parameter_file_holds_every_parameter_with_its_default() -> None:
    import dataclasses

    import yaml

    from vla_policy_node.recording.recorder_parameters import RecorderParameters

    path = TINY_ROBOT.parents[2] / "config" / "episode_recorder.param.yaml"
    shipped = yaml.safe_load(path.read_text())["/**"]["ros__parameters"]
    assert shipped == dataclasses.asdict(RecorderParameters())
