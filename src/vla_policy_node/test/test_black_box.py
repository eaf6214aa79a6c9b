# SPDX-License-Identifier: Apache-2.0
"""What happened before a stop can be read afterwards."""

from pathlib import Path

import numpy as np
import pytest
from closed_loop import Probe, closed_loop, wait_until
from rosbags.highlevel import AnyReader

from vla_msgs.msg import PolicyStatus

pytestmark = pytest.mark.ros


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.mcap"))


def test_a_stop_leaves_the_seconds_before_it_in_a_file(robot: Probe, tmp_path: Path) -> None:
    with closed_loop(robot, black_box_dir=str(tmp_path / "box"), black_box_s=2.0) as loop:
        loop.run()
        robot.press_estop()
        robot.wait_for_state(PolicyStatus.STATE_STOPPED)
        wait_until(lambda: len(files(tmp_path / "box")) == 1, "a file")
        robot.press_estop(pressed=False)
    (path,) = files(tmp_path / "box")
    assert path.name.endswith("estop.mcap")
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
