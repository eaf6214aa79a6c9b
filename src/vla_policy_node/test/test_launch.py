# SPDX-License-Identifier: Apache-2.0
"""The launch files, run by the real ``ros2 launch`` where it is installed (ROS from apt; not among the wheels)."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from closed_loop import Probe, spinning, wait_until

from vla_msgs.msg import PolicyStatus

pytestmark = [
    pytest.mark.ros,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ros2") is None, reason="ros2 launch is not installed"),
]

# Whoever runs tests in the background of a shell ignores Ctrl-C, and so would what is started here.
_HEAR_CTRL_C = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
)


@contextmanager
def launched(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``ros2 launch vla_policy_node`` and end it as Ctrl-C does."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HEAR_CTRL_C, "ros2", "launch", "vla_policy_node", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20.0)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("file", ["robot.launch.py", "record.launch.py"])
def test_every_argument_is_described(file: str) -> None:
    command = ["ros2", "launch", "vla_policy_node", file, "--show-args"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "'robot':" in shown
    assert "No description given" not in shown


@pytest.mark.parametrize("arguments", [("robot:=nobody",), ("robot:=sim_arm",)])
def test_what_is_missing_is_a_sentence(arguments: tuple[str, ...]) -> None:
    command = ["ros2", "launch", "vla_policy_node", "robot.launch.py", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60.0, check=False)
    assert run.returncode != 0
    assert (
        "does not exist; known robots" in run.stderr + run.stdout
        or "checkpoint:= is missing" in run.stderr + run.stdout
    )


def test_one_command_starts_robot_and_policy_and_ctrl_c_ends_both(ros: None) -> None:
    probe = Probe()
    with spinning(probe):
        with launched("robot.launch.py", "sim:=true", "command_enabled:=true") as process:
            wait_until(lambda: probe.status is not None, "a status", timeout_s=90.0)
            wait_until(lambda: len(probe.joint_states) > 10, "joint states", timeout_s=60.0)
            assert probe.status is not None
            assert probe.status.policy_is_trained, "the policy that ships"
            probe.say("open the drawer")
            probe.wait_for_state(PolicyStatus.STATE_RUNNING, timeout_s=60.0)
            wait_until(lambda: len(probe.commands) > 10, "commands")
        assert process.returncode is not None
        nodes = probe.get_node_names()
        wait_until(lambda: "policy_node" not in probe.get_node_names(), f"the nodes to end; there are {nodes}")
