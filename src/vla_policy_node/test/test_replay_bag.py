# SPDX-License-Identifier: Apache-2.0
"""A recorded bag through the real policy node in shadow mode: numbers that are right, and nothing left behind."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from closed_loop import SIM_ARM, wait_until
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer

from vla_core.actions.action_space import ActionSpace, action_towards
from vla_core.codecs.pose_stamped import encode_pose
from vla_core.geometry import Pose
from vla_core.robot_spec import RobotSpec
from vla_msgs.msg import PolicyStatus
from vla_policy_node.replaying.bag_player import Heard
from vla_policy_node.replaying.comparison import compare
from vla_policy_node.replaying.recorded_bag import RecordedBag, ReplayError
from vla_policy_node.replaying.replay_report import as_table, mean_length_mm
from vla_policy_node.replaying.shadow_robot import shadow_spec

pytestmark = pytest.mark.ros
SPEC = RobotSpec.load(SIM_ARM)
PERIOD_NS = 100_000_000


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demonstration of the scripted expert, as MCAP."""
    folder = tmp_path_factory.mktemp("bags")
    options = ["--robot", str(SIM_ARM), "--tasks", "open_drawer", "--episodes", "1", "--out", str(folder)]
    subprocess.run([sys.executable, "-m", "vla_sim.demonstration_bags", *options], check=True, capture_output=True)
    return folder / "open_drawer_00000"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained checkpoint for the simulated arm."""
    if importlib.util.find_spec("vla_training") is None:
        pytest.skip("vla_training, which makes checkpoints, is not installed")
    folder = tmp_path_factory.mktemp("checkpoint") / "untrained"
    command = [sys.executable, "-m", "vla_training.init_checkpoint", "--robot", str(SIM_ARM), "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def replay_command(bag: Path, checkpoint: Path, *options: str) -> list[str]:
    module = [sys.executable, "-m", "vla_policy_node.replay_bag"]
    return [*module, str(bag), "--robot", str(SIM_ARM), "--checkpoint", str(checkpoint), *options]


def processes_of(namespace: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if namespace in words:
            found.append(words)
    return found


def topics_of_nodes_in(bystander: Node, namespace: str) -> set[str]:
    nodes = [(name, at) for name, at in bystander.get_node_names_and_namespaces() if at == namespace]
    found = [
        *(bystander.get_publisher_names_and_types_by_node(*node) for node in nodes),
        *(bystander.get_subscriber_names_and_types_by_node(*node) for node in nodes),
    ]
    return {name for topics in found for name, _ in topics}


def test_a_bag_is_replayed_in_a_namespace_of_its_own(
    ros: None, bag: Path, checkpoint: Path, tmp_path: Path
) -> None:
    bystander = Node("bystander")
    command = replay_command(bag, checkpoint, "--json", str(tmp_path / "replay.json"))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        namespace = f"/replay_{process.pid}"
        shadow = f"{namespace}/policy_node/shadow/arm_controller/target_pose"
        wait_until(lambda: bystander.count_publishers(shadow) > 0, "the policy node", timeout_s=60.0)
        names = topics_of_nodes_in(bystander, namespace)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        bystander.destroy_node()
    assert process.returncode == 0, errors
    assert shadow in names
    assert {name for name in names if not name.startswith(namespace)} <= {"/parameter_events", "/rosout"}
    assert "UNTRAINED" in output
    assert max(map(len, output.splitlines())) <= 100
    result = json.loads((tmp_path / "replay.json").read_text())
    assert result["reference"] == "recorded commands"
    assert result["num_ticks"] > 0.5 * result["expected_ticks"] > 10
    assert result["mean_error_mm"] > 0.0
    assert not processes_of(namespace)


def test_ctrl_c_ends_all_processes(bag: Path, checkpoint: Path) -> None:
    process = subprocess.Popen(replay_command(bag, checkpoint), stderr=subprocess.PIPE, text=True)
    namespace = f"/replay_{process.pid}"
    wait_until(lambda: bool(processes_of(namespace)), "the policy node's process", timeout_s=30.0)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert not processes_of(namespace)


def test_a_policy_that_repeats_the_recording_has_no_error(bag: Path) -> None:
    space = ActionSpace(frame="tcp")
    with RecordedBag(bag, SPEC) as recorded:
        commanded, measured = recorded.commanded_poses(), recorded.measured_poses()
        assert commanded is not None
        heard = Heard(statuses=[PolicyStatus(trained_rate_hz=10.0, policy_is_trained=True)])
        for at_ns, pose in zip(commanded.times_ns, commanded.values, strict=True):
            message = PoseStamped()
            message.header.frame_id = SPEC.base_frame
            encode_pose(pose, message.pose)
            heard.poses.append((at_ns, message))
            where, then = measured.at(at_ns), commanded.at(at_ns + PERIOD_NS)
            if where is not None and then is not None:
                shift = Pose(where.position_m + then.position_m - pose.position_m, where.rotation)
                target = Pose(shift.position_m, then.rotation * pose.rotation.inv() * where.rotation)
                heard.chunks.append((at_ns, np.append(action_towards(space, where, target), 1.0), 20.0))
        comparison = compare(recorded, SPEC, space, heard, rate=1.0)
    assert comparison.mean_error_m < 1e-9
    assert mean_length_mm(comparison.recorded_motions) > 1.0
    assert mean_length_mm(comparison.motion_errors) < 0.1 * mean_length_mm(comparison.recorded_motions)
    assert "nearer than that of a policy" in as_table(comparison)


def test_sqlite3_and_mcap_give_the_same(bag: Path, tmp_path: Path) -> None:
    copy = tmp_path / "sqlite"
    with AnyReader([bag]) as reader, Writer(copy, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        kept = {}
        for connection in reader.connections:
            kept[connection.id] = writer.add_connection(
                connection.topic, connection.msgtype, typestore=reader.typestore
            )
        for connection, received_ns, data in reader.messages():
            writer.write(kept[connection.id], received_ns, data)
    with RecordedBag(bag, SPEC) as one, RecordedBag(copy, SPEC) as two:
        assert list(one.stream_messages()) == list(two.stream_messages())
        assert one.sentence() == yaml.safe_load((bag / "episode.yaml").read_text())["instruction"]
        assert two.sentence() is None


def test_what_cannot_be_replayed_is_told_in_a_sentence(bag: Path, tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="no such bag"):
        RecordedBag(tmp_path / "nothing", SPEC)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "metadata.yaml").write_text("{")
    with pytest.raises(ReplayError, match="cannot be read"):
        RecordedBag(tmp_path / "broken", SPEC)
    with pytest.raises(ReplayError, match=r"/left/static_camera/image_raw.*--namespace"):
        RecordedBag(bag, SPEC, namespace="left")


def test_no_topic_of_a_replayed_robot_is_absolute() -> None:
    joints = replace(SPEC.joints, topic="/joint_states")
    cameras = {name: replace(camera, topic=f"/{camera.topic}") for name, camera in SPEC.cameras.items()}
    gripper = replace(SPEC.gripper, interface="gripper_command", topic=None, action="/gripper/command")
    replayed = shadow_spec(replace(SPEC, joints=joints, cameras=cameras, gripper=gripper))
    topics = [
        replayed.joints.topic,
        replayed.gripper.topic,
        *(camera.topic for camera in replayed.cameras.values()),
    ]
    assert not [topic for topic in topics if topic is None or topic.startswith("/")]
    assert replayed.command.interface == "target_pose"
