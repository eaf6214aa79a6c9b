# SPDX-License-Identifier: Apache-2.0
"""How long the policy node takes from a picture's stamp to the command, and what of it is not the model.

Usage: python benchmarks/node_overhead.py

Two 640x480 rgb8 cameras at 30 Hz, TCP pose and joint states at 100 Hz come from one process, the policy node runs
in a second one, real DDS is between them. The stages are those that the node reports on /diagnostics. First with a
policy that only sleeps for 30 ms, then with the tiny untrained model. The node's own part should stay under 10 ms
at the 95th percentile.

Fast DDS is given enough shared memory for such pictures, unless FASTRTPS_DEFAULT_PROFILES_FILE is set: empty, it
shows what the defaults do.
"""

import array
import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from machine import machine
from own_domain import use_own_domain
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState

from vla_core.actions.action_space import ActionSpace
from vla_core.latency import Stage
from vla_core.policy_contract import PolicyContract
from vla_core.robot_spec import CameraSpec, RobotSpec
from vla_core.types import ActionChunk, Observation
from vla_msgs.msg import Instruction
from vla_policy_node.policy_loader import load_policy
from vla_policy_node.policy_node import PolicyLoader, run
from vla_training.init_checkpoint import init_checkpoint

FAST_DDS_PROFILES = Path(__file__).resolve().parents[1] / "config" / "fastdds.xml"
SPEC = Path(__file__).parents[1] / "config/robots/sim_arm.yaml"
WIDTH_PX, HEIGHT_PX = 640, 480
PERIOD_S = 0.1
SLEEP_S = 0.03
MEASURED_S = 10.0
PATIENCE_S = 60.0
NUM_PICTURES = 8
PERCENTILES = (50, 95, 99)
TCP_POSITION_M = (0.45, 0.0, 0.3)
TCP_QUAT_XYZW = (1.0, 0.0, 0.0, 0.0)


def main() -> None:
    print(f"{machine()}; two {WIDTH_PX}x{HEIGHT_PX} rgb8 cameras at 30 Hz")
    use_own_domain()
    os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(FAST_DDS_PROFILES))
    rclpy.init()
    with tempfile.TemporaryDirectory() as folder:
        spec = write_spec(Path(folder) / "robot.yaml")
        checkpoint = init_checkpoint(RobotSpec.load(spec), Path(folder) / "tiny")
        with process(publish_streams, spec):
            measure(f"a policy that sleeps {SLEEP_S * 1e3:.0f} ms", spec, sleeping_policy)
            measure("the tiny model", spec, load_policy, "-p", f"checkpoint:={checkpoint}")
    rclpy.try_shutdown()


def write_spec(path: Path) -> Path:
    values = yaml.safe_load(SPEC.read_text("utf-8"))
    for camera in values["cameras"].values():
        camera.update(width_px=WIDTH_PX, height_px=HEIGHT_PX)
    path.write_text(yaml.safe_dump(values), "utf-8")
    return path


def measure(title: str, spec: Path, loader: PolicyLoader, *ros_arguments: str) -> None:
    """Run a policy node for a while and print its stages."""
    listener = Listener()
    try:
        with process(run_node, loader, spec, *ros_arguments):
            listener.wait_for_first_action()
            listener.spin_for(MEASURED_S)
    finally:
        listener.destroy_node()
    values = listener.values
    print(f"\n{title}: {values['actions']} actions, {values['inference.skipped']} observations skipped")
    print(f"{'milliseconds':34}" + "".join(f"{f'p{percent}':>9}" for percent in PERCENTILES))
    for stage in Stage:
        row = (float(values[f"latency.{stage.value}.p{percent}_ms"]) for percent in PERCENTILES)
        print(f"{stage.value:34}" + "".join(f"{value:9.2f}" for value in row), flush=True)


class Listener(Node):
    """Says the sentence and remembers the newest diagnostics of the policy node.

    Attributes:
        values: Keys and values of the newest diagnostics.
    """

    def __init__(self) -> None:
        super().__init__("node_overhead")
        self.values: dict[str, str] = {}
        self._instruction = self.create_publisher(Instruction, "vla/instruction", 1)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 1)

    def wait_for_first_action(self) -> None:
        """Repeat the sentence until the policy node acts on it."""
        deadline_s = time.monotonic() + PATIENCE_S
        while int(self.values.get("actions", 0)) == 0:
            if time.monotonic() > deadline_s:
                sys.exit(f"the policy node began no action within {PATIENCE_S:.0f} s; it says {self.values}")
            self._instruction.publish(Instruction(text="lift the red block"))
            self.spin_for(0.2)

    def spin_for(self, duration_s: float) -> None:
        """Listen for a while."""
        end_s = time.monotonic() + duration_s
        while (left_s := end_s - time.monotonic()) > 0.0:
            rclpy.spin_once(self, timeout_sec=left_s)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "policy_node: policy":
                self.values = {entry.key: entry.value for entry in status.values} | {"message": status.message}


class SleepingPolicy:
    """Sleeps, as a model on a GPU would let the CPU do, and asks for a small motion."""

    contract = PolicyContract(
        cameras=("static", "wrist"),
        image_aspects=(WIDTH_PX / HEIGHT_PX,) * 2,
        period_s=PERIOD_S,
        chunk_size=1,
        window_size=1,
        action_space=ActionSpace(frame="base"),
        is_trained=False,
    )

    def reset(self) -> None:
        """Forget nothing: there is no history."""

    def infer(self, observation: Observation, instruction: str) -> ActionChunk:
        """Return a motion of 2 mm."""
        time.sleep(SLEEP_S)
        actions = np.array([[0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 1.0]], dtype=np.float32)
        return ActionChunk(observation.stamp_ns, PERIOD_S, actions)


def sleeping_policy(*_: Any) -> SleepingPolicy:
    return SleepingPolicy()


# --- what runs in processes of its own ----------------------------------------------------------------


@contextlib.contextmanager
def process(target: Callable[..., Any], *arguments: Any) -> Iterator[None]:
    """Run a function in a fresh process until the end of the block."""
    child = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    child.start()
    try:
        yield
    finally:
        child.terminate()
        child.join(10.0)
        child.kill()


def run_node(loader: PolicyLoader, spec: Path, *ros_arguments: str) -> None:
    """Run the policy node as its executable does, commanding."""
    own = ["-p", f"robot_spec:={spec}", "-p", "command_enabled:=true", "-p", "autostart:=true"]
    run(loader, ["--ros-args", "--log-level", "warn", *own, *ros_arguments])


def publish_streams(path: Path) -> None:
    """Publish every stream of a robot that stands still, stamped when it is sent."""
    rclpy.init()
    spec, node = RobotSpec.load(path), Node("streams")
    for camera in spec.cameras.values():
        publish_pictures(node, camera)
    publish_state(node, spec)
    with contextlib.suppress(ExternalShutdownException):
        rclpy.spin(node)


def publish_pictures(node: Node, camera: CameraSpec) -> None:
    """Publish noise: no two pictures in a row are equal, as with a real camera."""
    noise = np.random.default_rng(0).integers(0, 256, (NUM_PICTURES, HEIGHT_PX * WIDTH_PX * 3), dtype=np.uint8)
    message = Image(height=HEIGHT_PX, width=WIDTH_PX, encoding="rgb8", step=WIDTH_PX * 3)
    message.header.frame_id = camera.frame
    pictures = [array.array("B", picture.tobytes()) for picture in noise]
    publisher = node.create_publisher(Image, camera.topic, qos_profile_sensor_data)

    def publish() -> None:
        pictures.append(pictures.pop(0))
        message.data = pictures[0]
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)

    node.create_timer(1.0 / camera.rate_hz, publish)


def publish_state(node: Node, spec: RobotSpec) -> None:
    """Publish TCP pose and joint states, as most drivers do with reliable QoS."""
    pose = PoseStamped()
    pose.header.frame_id = spec.base_frame
    at, turn = pose.pose.position, pose.pose.orientation
    at.x, at.y, at.z = TCP_POSITION_M
    turn.x, turn.y, turn.z, turn.w = TCP_QUAT_XYZW
    names = [*spec.joints.names, spec.gripper.joint]
    joints = JointState(name=names, position=[0.0] * len(names))
    for topic, message, rate_hz in (
        (spec.tcp_pose.topic, pose, spec.tcp_pose.rate_hz),
        (spec.joints.topic, joints, spec.joints.rate_hz),
    ):
        publisher = node.create_publisher(type(message), topic, 10)

        def publish(publisher: Any = publisher, message: Any = message) -> None:
            message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(message)

        node.create_timer(1.0 / rate_hz, publish)


if __name__ == "__main__":
    main()
