# SPDX-License-Identifier: Apache-2.0
"""The node as a process: how it ends, and what it leaves behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from closed_loop import SIM_ARM, Probe, wait_until

from vla_msgs.msg import PolicyStatus

pytestmark = pytest.mark.ros

SWINGING_NODE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from closed_loop import SwingingPolicy
from vla_policy_node.policy_node import run
sys.exit(run(lambda *_: SwingingPolicy()))
"""


def start(script: str, **parameters: object) -> subprocess.Popen[str]:
    arguments = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    return subprocess.Popen(
        [sys.executable, "-c", script, "--ros-args", *arguments], stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_node_says_still_and_ends_quietly(robot: Probe, number: signal.Signals) -> None:
    process = start(SWINGING_NODE, robot_spec=SIM_ARM, command_enabled=True, autostart=True)
    robot.wait_for_state(PolicyStatus.STATE_IDLE, timeout_s=30.0)
    robot.say("swing")
    wait_until(lambda: len(robot.commands) > 20, "commands")
    process.send_signal(number)
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "Traceback" not in errors
    last, before = robot.commands[-1].pose.position, robot.commands[-2].pose.position
    assert (last.x, last.y, last.z) == pytest.approx((before.x, before.y, before.z), abs=0.003)
    robot.wait_until_still()


def test_a_killed_node_leaves_a_position_controlled_arm_still(robot: Probe) -> None:
    process = start(SWINGING_NODE, robot_spec=SIM_ARM, command_enabled=True, autostart=True)
    robot.wait_for_state(PolicyStatus.STATE_IDLE, timeout_s=30.0)
    robot.say("swing")
    wait_until(lambda: len(robot.commands) > 20, "commands")
    process.kill()
    process.communicate(timeout=10)
    robot.wait_until_still()


def test_a_node_that_cannot_start_ends_with_a_sentence(ros: None) -> None:
    process = start(SWINGING_NODE, robot_spec="/nowhere.yaml", autostart=True)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "/nowhere.yaml: no such file" in errors
    assert "Traceback" not in errors
