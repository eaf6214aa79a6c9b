# SPDX-License-Identifier: Apache-2.0
"""A policy node whose model runs in a policy server: it moves the arm, and does not without the server."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from closed_loop import SIM_ARM, Probe, wait_until

from vla_core.remote.keys import make_keys
from vla_core.supervisor import Reason
from vla_msgs.msg import PolicyStatus

pytestmark = pytest.mark.ros

SWINGING_SERVER = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from closed_loop import SwingingPolicy
from vla_core.remote.keys import load_server_keys
from vla_core.remote.policy_server import PolicyServer
with PolicyServer(SwingingPolicy(), sys.argv[1], load_server_keys(Path(sys.argv[2]) / "server")) as server:
    print(server.address, flush=True)
    server.run()
"""


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    make_keys(tmp_path / "keys")
    return tmp_path / "keys"


@contextmanager
def policy_server(keys: Path, bind: str = "tcp://127.0.0.1:*") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a policy server as a process; give the process and the address."""
    command = [sys.executable, "-c", SWINGING_SERVER, bind, str(keys)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def start_node(**parameters: object) -> subprocess.Popen[str]:
    values = {"robot_spec": SIM_ARM, "command_enabled": "true", "autostart": "true"} | parameters
    arguments = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    command = [sys.executable, "-m", "vla_policy_node.policy_node", "--ros-args", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_the_arm_moves_with_the_server_holds_without_it_and_goes_on_by_itself(robot: Probe, keys: Path) -> None:
    with policy_server(keys) as (server, address):
        node = start_node(policy_server=address, policy_keys=keys / "client", policy_timeout_s=0.5)
        try:
            robot.wait_for_state(PolicyStatus.STATE_IDLE, timeout_s=60.0)
            robot.say("swing")
            robot.wait_for_state(PolicyStatus.STATE_RUNNING, timeout_s=30.0)
            wait_until(lambda: speed_now(robot) > 0.05, "the arm to move")
            server.kill()
            status = robot.wait_for_state(PolicyStatus.STATE_HOLDING, Reason.POLICY_UNREACHABLE.value)
            assert address in status.detail
            robot.wait_until_still()
            with policy_server(keys, bind=address):
                wait_until(lambda: speed_now(robot) > 0.05, "the arm to move again", 30.0)
            assert node.poll() is None
        finally:
            node.terminate()
            _, errors = node.communicate(timeout=20)
    assert node.returncode == 0, errors
    assert "Traceback" not in errors


def speed_now(robot: Probe) -> float:
    """Return the highest joint speed of the newest joint states, rad/s."""
    return max(abs(value) for state in list(robot.joint_states)[-5:] for value in state.velocity[:7])


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"policy_keys": "keys/client", "checkpoint": "somewhere"}, "are both given"),
        ({}, "parameter 'policy_keys' is missing"),
        ({"policy_keys": "keys/nobody"}, "cannot be read as a key"),
        ({"policy_keys": "keys/client"}, "no connection within 0.5 s: nobody listens"),
    ],
)
def test_a_node_without_its_server_ends_with_a_sentence(
    ros: None, keys: Path, parameters: dict[str, str], words: str
) -> None:
    values = {name: str(keys.parent / value) for name, value in parameters.items()}
    node = start_node(policy_server="tcp://127.0.0.1:9", policy_timeout_s=0.5, **values)
    _, errors = node.communicate(timeout=60)
    assert node.returncode == 1
    assert words in errors
    assert "Traceback" not in errors


def test_a_node_with_other_keys_is_refused_with_a_sentence(ros: None, keys: Path, tmp_path: Path) -> None:
    make_keys(tmp_path / "others")
    with policy_server(keys) as (_, address):
        node = start_node(policy_server=address, policy_keys=tmp_path / "others" / "client")
        _, errors = node.communicate(timeout=60)
    assert node.returncode == 1
    assert "the keys do not fit" in errors
