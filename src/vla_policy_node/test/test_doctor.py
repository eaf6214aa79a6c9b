# SPDX-License-Identifier: Apache-2.0
"""The doctor looks at a simulated robot in a process of its own, and finds what was broken on purpose."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from closed_loop import SIM_ARM, Probe, spinning, wait_until
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from std_msgs.msg import Bool

from vla_core.robot_spec import RobotSpec
from vla_policy_node.doctor.evidence import Evidence
from vla_policy_node.doctor.examination import examine
from vla_policy_node.doctor.findings import Finding, State
from vla_policy_node.doctor.frame_test import run_frame_test
from vla_policy_node.doctor.gripper_trial import run_gripper_trial
from vla_policy_node.doctor.robot_watch import RobotWatch

pytestmark = pytest.mark.ros
SPEC = RobotSpec.load(SIM_ARM)


class Doctor:
    """A doctor's node in this process."""

    def __init__(self) -> None:
        self.node = Node("doctor")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)

    def look(self, spec: RobotSpec, seconds: float = 1.0) -> Evidence:
        return RobotWatch(self.node, spec, SIM_ARM.parent).look(self.executor, seconds, lambda passed_s: None)

    def examine(self, spec: RobotSpec) -> dict[str, Finding]:
        return by_name(examine(self.look(spec), None))

    def move(self, spec: RobotSpec, *axes: str) -> list[Finding]:
        return run_frame_test(self.node, self.executor, self.look(spec, 0.5), axes, move=True)


@pytest.fixture
def doctor(ros: None) -> Iterator[Doctor]:
    made = Doctor()
    yield made
    made.executor.shutdown()
    made.node.destroy_node()


@contextmanager
def neighbour() -> Iterator[Node]:
    """Another program on the same network."""
    node = Node("neighbour")
    with spinning(node):
        yield node


@contextmanager
def mirrored_pose() -> Iterator[RobotSpec]:
    """A driver that publishes the TCP pose with left and right exchanged; yield its robot spec, without URDF."""
    with neighbour() as node:
        publisher = node.create_publisher(PoseStamped, "mirrored/tcp_pose", 10)

        def relay(message: PoseStamped) -> None:
            message.pose.position.y *= -1.0
            publisher.publish(message)

        node.create_subscription(PoseStamped, "tcp_pose", relay, 10)
        yield replace(SPEC, tcp_pose=replace(SPEC.tcp_pose, topic="mirrored/tcp_pose"), kinematics=None)


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {f"{finding.subject}: {finding.check}": finding for finding in findings}


def failed(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.state is State.FAIL}


def test_a_good_robot_has_no_failures_and_nothing_moves(robot: Probe, doctor: Doctor) -> None:
    findings: dict[str, Finding] = {}

    def is_good() -> bool:  # other programs on a busy machine may spoil one look
        findings.update(doctor.examine(SPEC))
        return not failed(findings)

    wait_until(is_good, "a look without a failure", timeout_s=20.0, describe=lambda: str(failed(findings)))
    assert findings["kinematics: TCP by joints"].state is State.OK
    assert findings["observation: at a tick"].state is State.OK
    assert not robot.commands


def test_a_missing_camera_and_one_of_another_rate_and_size_are_named(robot: Probe, doctor: Doctor) -> None:
    static = replace(SPEC.cameras["static"], topic="no_camera/image_raw")
    wrist = replace(SPEC.cameras["wrist"], rate_hz=60.0, width_px=100, frozen_after_ms=None)
    findings = doctor.examine(replace(SPEC, cameras={"static": static, "wrist": wrist}))
    assert "/no_camera/image_raw" in findings["camera static: topic"].found
    assert {"camera static: topic", "camera wrist: rate", "camera wrist: size"} <= failed(findings)
    assert "84x84" in findings["camera wrist: size"].found
    assert "100x84" in findings["camera wrist: size"].found
    assert "60 Hz" in findings["camera wrist: rate"].found


def test_a_frozen_camera_is_found(robot: Probe, doctor: Doctor) -> None:
    robot.set_parameter("sim_robot", "fault.wrist", "freeze")
    findings = doctor.examine(SPEC)
    assert {"camera wrist: frozen", "observation: at a tick"} <= failed(findings)
    assert "camera static: frozen" not in failed(findings)


def test_a_wrong_tool_is_found_and_keeps_the_arm_from_being_moved(robot: Probe, doctor: Doctor) -> None:
    assert SPEC.kinematics is not None
    shorter = replace(SPEC, kinematics=replace(SPEC.kinematics, tcp_in_tip_position_m=(0.0, 0.0, 0.05)))
    findings = doctor.examine(shorter)
    assert "53.4 mm" in findings["kinematics: TCP by joints"].found
    (refusal,) = doctor.move(shorter, "base_x")
    assert refusal.state is State.FAIL
    assert not robot.commands


def test_joints_that_are_called_otherwise_are_listed(robot: Probe, doctor: Doctor) -> None:
    names = ("shoulder", *SPEC.joints.names[1:])
    findings = doctor.examine(replace(SPEC, joints=replace(SPEC.joints, names=names)))
    assert "missing: shoulder" in findings["joints: names"].found
    assert "joint1" in findings["joints: names"].found


def test_a_second_publisher_is_named_and_keeps_the_arm_from_being_moved(robot: Probe, doctor: Doctor) -> None:
    with neighbour() as node:
        node.create_publisher(PoseStamped, SPEC.command.topic, 1)
        findings = doctor.examine(SPEC)
        assert "/neighbour" in findings["command: other publishers"].found
        assert "command: other publishers" in failed(findings)
        (refusal,) = doctor.move(SPEC, "base_x")
    assert "/neighbour" in refusal.found
    assert not robot.commands


def test_a_qos_that_does_not_match_is_named_by_its_policy(robot: Probe, doctor: Doctor) -> None:
    best_effort = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    with neighbour() as node:
        node.create_publisher(Bool, "vla/estop", best_effort)
        node.create_subscription(PoseStamped, "picky/target_pose", lambda message: None, latched)
        topics = {**SPEC.command.topics, "target_pose": "picky/target_pose"}
        findings = doctor.examine(replace(SPEC, command=replace(SPEC.command, topics=topics)))
    assert "best effort publisher and reliable subscription" in findings["people: vla/estop"].found
    assert "transient local" in findings["command: listener"].found
    assert {"people: vla/estop", "command: listener"} <= failed(findings)


def test_a_swapped_gripper_is_found_by_opening_and_closing_it(robot: Probe, doctor: Doctor) -> None:
    gripper = SPEC.gripper
    right = by_name(run_gripper_trial(doctor.node, doctor.executor, SPEC))
    assert right["gripper trial: polarity"].state is State.OK
    swapped = replace(gripper, command_closed=gripper.command_open, command_open=gripper.command_closed)
    wrong = by_name(run_gripper_trial(doctor.node, doctor.executor, replace(SPEC, gripper=swapped)))
    assert "SWAPPED" in wrong["gripper trial: polarity"].found


def test_the_frame_test_moves_and_measures(robot: Probe, doctor: Doctor) -> None:
    findings = doctor.move(SPEC, "tcp_rz")
    assert [finding.state for finding in findings] == [State.OK], findings
    assert "5.0 degrees of 5.0 degrees" in findings[0].found
    robot.wait_until_still()


def test_the_frame_test_finds_an_axis_that_is_reversed(robot: Probe, doctor: Doctor) -> None:
    with mirrored_pose() as spec:
        findings = doctor.move(spec, "base_y")
    assert findings[0].state is State.FAIL
    assert "180 degrees off: right" in findings[0].found
    assert "reversed" in findings[0].fix
    robot.wait_until_still()


def test_the_frame_test_ends_still_when_the_pose_goes_stale(robot: Probe, doctor: Doctor) -> None:
    evidence = doctor.look(SPEC, 0.5)

    def break_the_stream() -> None:
        wait_until(lambda: len(robot.commands) > 20, "the arm to be commanded")
        robot.set_parameter("sim_robot", "fault.tcp_pose", "drop")

    breaker = threading.Thread(target=break_the_stream)
    breaker.start()
    findings = run_frame_test(doctor.node, doctor.executor, evidence, ["base_x"], move=True)
    breaker.join()
    assert "tcp_pose" in findings[-1].found
    assert findings[-1].state is State.FAIL
    robot.trigger("/sim_robot/clear_faults")
    robot.wait_until_still()


def test_the_frame_test_ends_still_when_somebody_else_begins_to_command(robot: Probe, doctor: Doctor) -> None:
    evidence = doctor.look(SPEC, 0.5)
    with neighbour() as node:

        def begin() -> None:
            wait_until(lambda: len(robot.commands) > 20, "the arm to be commanded")
            node.create_publisher(PoseStamped, SPEC.command.topic, 1)

        intruder = threading.Thread(target=begin)
        intruder.start()
        findings = run_frame_test(doctor.node, doctor.executor, evidence, ["base_x"], move=True)
        intruder.join()
    assert "another program" in findings[-1].found
    robot.wait_until_still()


def run_doctor(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "vla_policy_node.doctor", "--robot", str(SIM_ARM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


def test_the_command_prints_a_narrow_table_without_colour_and_writes_json(robot: Probe, tmp_path: Path) -> None:
    done = run_doctor("--seconds", "1", "--json", str(tmp_path / "found.json"))
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "\033" not in done.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert done.returncode == int(found["counts"]["FAIL"] > 0), done.stdout + done.stderr
    assert {row["subject"] for row in found["findings"]} >= {"camera static", "tcp pose", "joints", "gripper"}


@pytest.mark.parametrize(("arguments", "code"), [(["--move"], 2), (["--seconds", "0"], 2)])
def test_a_wrong_command_line_is_refused_before_anything_is_done(arguments: list[str], code: int) -> None:
    assert run_doctor(*arguments).returncode == code


def test_nothing_moves_without_a_person_to_ask(robot: Probe) -> None:
    done = run_doctor("--seconds", "0.5", "--frames", "--move", stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert not robot.commands


def test_ctrl_c_in_the_frame_test_leaves_the_arm_still(robot: Probe) -> None:
    command = [sys.executable, "-m", "vla_policy_node.doctor", "--robot", str(SIM_ARM)]
    options = ["--seconds", "0.5", "--frames", "--move", "--yes", "--axes", "base_x"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    wait_until(lambda: len(robot.commands) > 30, "the arm to be commanded", timeout_s=40.0)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "ended by a person" in output
    ended = len(robot.commands)
    robot.wait_until_still()
    assert len(robot.commands) == ended
