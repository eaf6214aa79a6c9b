# SPDX-License-Identifier: Apache-2.0
"""The trial logbook on real middleware: who is told what, and what is in the file."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from closed_loop import spinning, wait_until
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from vla_core.errors import ConfigError
from vla_core.trial_log import Trial, read_trials
from vla_msgs.msg import Instruction, PolicyStatus
from vla_policy_node.trial_logbook import TrialLogbook

pytestmark = pytest.mark.ros


class Team(Node):
    """The policy node's name, checkpoint and status, and the operator's voice."""

    def __init__(self) -> None:
        super().__init__("policy_node")
        self.declare_parameter("checkpoint", "checkpoints/best")
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self._status = self.create_publisher(PolicyStatus, "policy_node/status", latched)
        self._sentence = self.create_publisher(Instruction, "vla/instruction", latched)

    def say(self, text: str) -> None:
        self._sentence.publish(Instruction(text=text))

    def follow(self, text: str) -> None:
        self._status.publish(PolicyStatus(instruction=text))

    def call(self, service: str, patience_s: float = 30.0) -> Any:
        client = self.create_client(Trigger, f"trial_logbook/{service}")
        try:
            assert client.wait_for_service(timeout_sec=20.0), f"{service} is not there"
            future, answered = client.call_async(Trigger.Request()), threading.Event()
            future.add_done_callback(lambda _: answered.set())
            assert answered.wait(patience_s), f"no answer of {service}"
            return future.result()
        finally:
            self.destroy_client(client)

    def begin(self, expected: str) -> None:
        """Begin a trial as soon as the logbook has heard what it has to."""

        def begun() -> bool:
            answer = self.call("begin")
            if answer.success and expected in answer.message:
                return True
            if answer.success:
                self.call("discard")
            return False

        wait_until(begun, f"a trial of {expected}", 30.0)


@pytest.fixture
def team(ros: None) -> Iterator[Team]:
    node = Team()
    with spinning(node):
        yield node


@pytest.fixture
def logbook(ros: None, tmp_path: Path) -> Iterator[TrialLogbook]:
    node = TrialLogbook(parameter_overrides=[Parameter("log", value=str(tmp_path / "trials.jsonl"))])
    with spinning(node):
        yield node


def counted(tmp_path: Path) -> list[Trial]:
    return [trial for trial in read_trials(tmp_path / "trials.jsonl") if trial.outcome != "discarded"]


def ended_as_success(team: Team, tmp_path: Path) -> bool:
    with suppress(AssertionError):  # middleware goes on talking to a service that was killed for some seconds
        team.call("success", patience_s=3.0)
    return counted(tmp_path)[-1].outcome == "success"


def test_trials_are_written_with_sentence_and_checkpoint(
    team: Team, logbook: TrialLogbook, tmp_path: Path
) -> None:
    team.say("open the drawer")
    team.begin("open the drawer [checkpoints/best]")
    assert team.call("intervention").success
    assert "interventions: 1" in team.call("success").message
    team.follow("close the drawer")
    team.begin("close the drawer")
    logbook.set_parameters([Parameter("failure_reason", value="missed the handle")])
    assert "(missed the handle)" in team.call("failure").message
    team.begin("close the drawer")
    team.call("failure")
    found = counted(tmp_path)
    assert [(t.instruction, t.outcome, t.reason, t.interventions) for t in found] == [
        ("open the drawer", "success", "", 1),
        ("close the drawer", "failure", "missed the handle", 0),
        ("close the drawer", "failure", "", 0),
    ]
    assert {trial.checkpoint for trial in found} == {"checkpoints/best"}


def test_what_does_not_fit_is_refused_and_nothing_is_written(
    team: Team, logbook: TrialLogbook, tmp_path: Path
) -> None:
    for service in ("success", "failure", "intervention", "discard"):
        answer = team.call(service)
        assert not answer.success
        assert "no trial is open" in answer.message
    assert "needs the sentence" in team.call("begin").message
    team.say("open the drawer")
    team.begin("open the drawer")
    assert "is open; end it" in team.call("begin").message
    assert len(counted(tmp_path)) == 1


def test_without_a_file_it_does_not_start(ros: None) -> None:
    with pytest.raises(ConfigError, match="parameter 'log' is empty"):
        TrialLogbook()


def test_a_killed_logbook_goes_on_with_its_open_trial(team: Team, tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    arguments = ["--ros-args", "-p", f"log:={path}"]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "vla_policy_node.trial_logbook", *arguments])

    team.say("open the drawer")
    process = start()
    try:
        team.begin("open the drawer")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert counted(tmp_path)[-1].outcome == "unfinished"
        with path.open("ab") as file:
            file.write(b'{"event": "succ')
        process = start()
        wait_until(lambda: ended_as_success(team, tmp_path), "the open trial's success", 90.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(30.0) == 0
    finally:
        process.kill()
    assert [trial.outcome for trial in counted(tmp_path)] == ["success"]
