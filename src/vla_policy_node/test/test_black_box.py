# SPDX-License-Identifier: Apache-2.0
"""What happened before a stop can be read afterwards."""

import resource
from pathlib import Path

import numpy as np
import pytest
from closed_loop import Probe, closed_loop, wait_until
from rosbags.highlevel import AnyReader
from std_msgs.msg import Bool

from vla_core.supervisor import Reason, State, Verdict
from vla_msgs.msg import Instruction, PolicyStatus
from vla_policy_node.black_box import BlackBox

pytestmark = pytest.mark.ros


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.mcap"))


def stopped(folder: Path) -> list[Path]:
    return [path for path in files(folder) if path.name.endswith("_estop.mcap")]


def test_a_stop_leaves_the_seconds_before_it_in_a_file(robot: Probe, tmp_path: Path) -> None:
    with closed_loop(robot, black_box_dir=str(tmp_path / "box"), black_box_s=2.0) as loop:
        loop.run()
        robot.press_estop()
        robot.wait_for_state(PolicyStatus.STATE_STOPPED)
        # A camera that is late on a busy machine leaves a file, too.
        wait_until(lambda: any(stopped(tmp_path / "box")), "a file")
        robot.press_estop(pressed=False)
    (path,) = stopped(tmp_path / "box")
    with AnyReader([path]) as reader:
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
        assert counts["/tcp_pose"] > 30
        assert counts["/arm_controller/target_pose"] > 10
        assert counts["/policy_node/action_chunk"] > 3
        assert 2 <= counts["/static_camera/image_raw"] <= 12, "pictures are thinned"
        assert {"/joint_states", "/vla/instruction", "/policy_node/status", "/diagnostics"} <= set(counts)
        states = [
            reader.deserialize(data, connection.msgtype).state
            for connection, _, data in reader.messages()
            if connection.topic == "/policy_node/status"
        ]
        assert states[-1] == PolicyStatus.STATE_STOPPED
        assert (reader.end_time - reader.start_time) * 1e-9 < 2.1


def test_a_stop_is_written_although_the_file_of_a_hold_is_not_done(tmp_path: Path) -> None:
    box = BlackBox(tmp_path, 20.0, print)
    for number in range(20_000):
        box.note("/vla/estop", Bool(data=True), number)
    box.look(Verdict(State.RUNNING, Reason.NONE, ""), 20_000)
    box.look(Verdict(State.HOLDING, Reason.STREAM_STALE, "late"), 20_001)
    box.look(Verdict(State.STOPPED, Reason.ESTOP, "pressed"), 20_002)
    box.close()
    assert len(files(tmp_path)) == 2
    assert len(stopped(tmp_path)) == 1


def test_a_disk_that_is_full_is_told_and_left_as_it_was(tmp_path: Path) -> None:
    said: list[str] = []
    box = BlackBox(tmp_path, 20.0, said.append)
    for number in range(2_000):
        box.note("/vla/instruction", Instruction(text=str(number) * 50), number)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))  # larger files cannot be written
    try:
        box.look(Verdict(State.RUNNING, Reason.NONE, ""), 2_000)
        box.look(Verdict(State.STOPPED, Reason.ESTOP, "pressed"), 2_001)
        box.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    assert len(said) == 1
    assert "nothing was kept" in said[0]


def test_holds_that_follow_each_other_share_a_file_and_orders_leave_none(robot: Probe, tmp_path: Path) -> None:
    with closed_loop(robot, black_box_dir=str(tmp_path), black_box_s=5.0) as loop:
        loop.run()
        assert robot.trigger("/policy_node/disarm").success
        robot.wait_for_state(PolicyStatus.STATE_STOPPED)
        assert robot.trigger("/policy_node/arm").success
        for _ in range(3):
            loop.policy.misbehave = lambda actions: actions.fill(np.nan)
            robot.wait_for_state(PolicyStatus.STATE_HOLDING)
            loop.policy.misbehave = lambda actions: None
            robot.wait_for_state(PolicyStatus.STATE_RUNNING)
        wait_until(lambda: len(files(tmp_path)) == 1, "one file")
    assert [path.name.split("Z_")[1] for path in files(tmp_path)] == ["action_not_finite.mcap"]


def test_a_folder_that_cannot_be_written_stops_nobody(robot: Probe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with closed_loop(robot, black_box_dir=str(tmp_path / "file" / "box")) as loop:
        loop.run()
        robot.press_estop()
        robot.wait_for_state(PolicyStatus.STATE_STOPPED)
        robot.press_estop(pressed=False)
        assert robot.trigger("/policy_node/arm").success
        loop.run()
