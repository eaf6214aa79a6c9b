# SPDX-License-Identifier: Apache-2.0
"""A small robot that publishes everything it should, a recorder on it, and a client of the recorder's services."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from closed_loop import spinning, wait_until
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray, Header, String
from std_srvs.srv import Trigger

from vla_msgs.msg import EpisodeEvent, Instruction
from vla_msgs.srv import RelabelEpisode, StartEpisode, StopEpisode
from vla_policy_node.recording.episode_recorder import EpisodeRecorder

TINY_ROBOT = Path(__file__).resolve().parents[3] / "tests" / "data" / "tiny_robot.yaml"
STREAMS = {
    "/static_camera/image_raw",
    "/wrist_camera/image_raw/compressed",
    "/tcp_pose",
    "/joint_states",
}
PERIOD_S = 0.02


class TinyRobot(Node):
    """Publishes every stream of ``tiny_robot.yaml``; the wrist camera with best effort, all else reliably.

    Attributes:
        num_sent: Messages of each stream so far.
        published: Streams that it publishes.
    """

    def __init__(self, namespace: str = "") -> None:
        super().__init__("tiny_robot", namespace=namespace)
        self.num_sent = 0
        self.published = {"static", "wrist", "tcp_pose", "joints"}
        self._static = self.create_publisher(Image, "static_camera/image_raw", 10)
        self._wrist = self.create_publisher(
            CompressedImage, "wrist_camera/image_raw/compressed", qos_profile_sensor_data
        )
        self._pose = self.create_publisher(PoseStamped, "tcp_pose", 10)
        self._joints = self.create_publisher(JointState, "joint_states", 10)
        self.gripper = self.create_publisher(Float64MultiArray, "gripper_controller/commands", 10)
        self.create_timer(PERIOD_S, self._publish)

    def _publish(self) -> None:
        self.num_sent += 1
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id="base_link")
        pixels = (self.num_sent.to_bytes(4, "little") * 288)[:1152]
        if "static" in self.published:
            image = Image(header=header, height=16, width=24, encoding="rgb8", step=72, data=pixels)
            self._static.publish(image)
        if "wrist" in self.published:
            self._wrist.publish(CompressedImage(header=header, format="jpeg", data=pixels[:99]))
        if "tcp_pose" in self.published:
            pose = PoseStamped(header=header)
            pose.pose.position.x = float(self.num_sent)
            self._pose.publish(pose)
        if "joints" in self.published:
            self._joints.publish(JointState(header=header, name=["joint1"], position=[float(self.num_sent)]))


class Operator(Node):
    """Calls the recorder's services, says sentences, and hears status and events."""

    def __init__(self, namespace: str = "") -> None:
        super().__init__("operator", namespace=namespace)
        latched = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self.statuses: list[dict[str, Any]] = []
        self.events: list[EpisodeEvent] = []
        self.create_subscription(
            String, "episode_recorder/status", lambda m: self.statuses.append(json.loads(m.data)), latched
        )
        self.create_subscription(EpisodeEvent, "vla/episode", lambda m: self.events.append(m), 10)
        self._sentence = self.create_publisher(Instruction, "vla/instruction", 10)

    def say(self, text: str) -> None:
        wait_until(lambda: self._sentence.get_subscription_count() > 0, "the recorder's subscription")
        self._sentence.publish(Instruction(text=text))

    def start(self, instruction: str = "") -> StartEpisode.Response:
        return self._call(StartEpisode, "start", StartEpisode.Request(instruction=instruction))

    def stop(self, outcome: int = EpisodeEvent.OUTCOME_SUCCESS, note: str = "") -> StopEpisode.Response:
        return self._call(StopEpisode, "stop", StopEpisode.Request(outcome=outcome, note=note))

    def discard(self) -> Trigger.Response:
        return self._call(Trigger, "discard", Trigger.Request())

    def relabel(
        self, instruction: str = "", outcome: int = RelabelEpisode.Request.OUTCOME_AS_IT_IS, episode: str = ""
    ) -> RelabelEpisode.Response:
        request = RelabelEpisode.Request(instruction=instruction, outcome=outcome, episode=episode)
        return self._call(RelabelEpisode, "relabel", request)

    @property
    def status(self) -> dict[str, Any]:
        return self.statuses[-1] if self.statuses else {"state": "", "messages": 0, "episode": ""}

    def wait_for_messages(self, number: int) -> None:
        wait_until(lambda: self.status["messages"] > number, f"{number} messages", 20.0, lambda: str(self.status))

    def _call(self, kind: Any, service: str, request: Any) -> Any:
        client = self.create_client(kind, f"episode_recorder/{service}")
        try:
            assert client.wait_for_service(timeout_sec=20.0), f"{service} is not there"
            # A recorder that was killed is still there for discovery: what is asked of it alone is never answered.
            answers: list[Any] = []
            answered = threading.Event()
            for _ in range(5):
                future = client.call_async(request)
                future.add_done_callback(lambda done: (answers.append(done), answered.set()))
                if answered.wait(8.0):
                    break
            assert answers, f"no answer of {service}"
            future = answers[0]
            return future.result()
        finally:
            self.destroy_client(client)


@contextmanager
def recorder(output_dir: Path, namespace: str = "", **parameters: Any) -> Iterator[EpisodeRecorder]:
    """Spin a recorder of the tiny robot in this process."""
    values = {"robot_spec": str(TINY_ROBOT), "output_dir": str(output_dir), "min_free_mib": 16} | parameters
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = EpisodeRecorder(namespace=namespace, parameter_overrides=overrides)
    with spinning(node) as executor:
        try:
            yield node
        finally:
            finished = executor.create_task(node.finish)
            wait_until(finished.done, "the recorder's end", 30.0)


def recorder_process(output_dir: Path, **parameters: Any) -> subprocess.Popen[str]:
    """Start a recorder of the tiny robot in a process of its own."""
    values = {"robot_spec": TINY_ROBOT, "output_dir": output_dir, "min_free_mib": 16} | parameters
    arguments = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
    module = "vla_policy_node.recording.episode_recorder"
    return subprocess.Popen(
        [sys.executable, "-m", module, "--ros-args", *arguments], stderr=subprocess.PIPE, text=True
    )


@contextmanager
def small_disk(mount_point: Path, size_mib: int) -> Iterator[Path]:
    """Mount a disk of a few MiB, or skip the test where that is not allowed."""
    mount_point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(mount_point)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip("mounting a small disk needs privileges")
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", "-l", str(mount_point)], check=False)


def read_back(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """Return (received_ns, message) of each topic of a bag."""
    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([folder]) as reader:
        for connection, received_ns, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((received_ns, message))
    return found
