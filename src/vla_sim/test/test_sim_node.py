# SPDX-License-Identifier: Apache-2.0
"""The node as its users see it: over real topics, services and parameters."""

import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from vla_core.actions.action_space import ActionSpace
from vla_core.codecs.pose_stamped import decode_pose, encode_pose
from vla_core.codecs.stamp import stamp_ns_of
from vla_core.controller import ActionController
from vla_core.robot_spec import RobotSpec
from vla_sim.experts.catalogue import make_expert
from vla_sim.task_state import TabletopState
from vla_sim.tasks import TASKS

pytest.importorskip("rclpy")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_sim.sim_robot import SimRobot

pytestmark = pytest.mark.ros
JOINTS = [f"joint{i}" for i in range(1, 8)]
STREAMS: dict[str, type] = {
    "static_camera/image_raw": Image,
    "wrist_camera/image_raw": Image,
    "static_camera/camera_info": CameraInfo,
    "tcp_pose": PoseStamped,
    "joint_states": JointState,
    "task_state": JointState,
}


class Robot:
    """The node under test beside a node that listens and commands."""

    def __init__(self, spec_path: Path, domain_id: int) -> None:
        self.context = rclpy.Context()
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        rclpy.init(context=self.context, domain_id=domain_id)
        parameters = [Parameter("robot_spec", value=str(spec_path))]
        self.sim = SimRobot(context=self.context, parameter_overrides=parameters)
        self.user = Node("user", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        for node in (self.sim, self.user):
            self.executor.add_node(node)
        self.heard: dict[str, list[tuple[float, Any]]] = defaultdict(list)
        for topic, kind in (STREAMS | {"/diagnostics": DiagnosticArray}).items():
            self.user.create_subscription(kind, topic, self._listener(topic), qos_profile_sensor_data)
        self.publishers: dict[str, Any] = {}
        self.resets = self.user.create_client(Trigger, "/sim_robot/reset")
        self.clears = self.user.create_client(Trigger, "/sim_robot/clear_faults")

    def _listener(self, topic: str) -> Callable[[Any], None]:
        return lambda message: self.heard[topic].append((self.now_s(), message))

    def now_s(self) -> float:
        return self.user.get_clock().now().nanoseconds * 1e-9

    def spin(self, duration_s: float) -> None:
        end_s = time.monotonic() + duration_s
        while (left_s := end_s - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left_s)

    def listen(self, duration_s: float) -> dict[str, list[tuple[float, Any]]]:
        self.heard.clear()
        self.spin(duration_s)
        return dict(self.heard)

    def call(self, client: Any) -> Any:
        assert client.wait_for_service(5.0)
        future = client.call_async(Trigger.Request())
        self.executor.spin_until_future_complete(future, timeout_sec=5.0)
        return future.result()

    def set(self, **values: Any) -> Any:
        parameters = [Parameter(name.replace("fault_", "fault."), value=value) for name, value in values.items()]
        return self.sim.set_parameters_atomically(parameters)

    def reset(self, seed: int = 0, task: str = "") -> Any:
        assert self.set(seed=seed, task=task).successful
        return self.call(self.resets)

    def send(self, topic: str, message: Any) -> None:
        if topic not in self.publishers:
            self.publishers[topic] = self.user.create_publisher(type(message), topic, 10)
            while self.publishers[topic].get_subscription_count() == 0:
                self.spin(0.02)
        self.publishers[topic].publish(message)

    def pose(self) -> np.ndarray:
        message = self.listen(0.1)["tcp_pose"][-1][1].pose
        return np.array([message.position.x, message.position.y, message.position.z])

    def joints(self) -> np.ndarray:
        return np.array(self.listen(0.1)["joint_states"][-1][1].position)

    def close(self) -> None:
        self.sim.destroy_node()
        self.user.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture(scope="module")
def running(spec_path: Path, ros_domain_id: int) -> Iterator[Robot]:
    robot = Robot(spec_path, ros_domain_id)
    robot.spin(2.0)
    yield robot
    robot.close()


@pytest.fixture
def robot(running: Robot) -> Robot:
    running.call(running.clears)
    running.set(fault_delay_ms=200)
    running.reset()
    return running


def stamp_s(message: Any) -> float:
    return stamp_ns_of(message) * 1e-9


@pytest.mark.parametrize(
    ("environment", "values", "sentence"),
    [
        ({"MUJOCO_GL": "foo"}, {}, "MUJOCO_GL is 'foo'; it can be egl, osmesa, glfw"),
        ({}, {"tcp_pose": {"rate_hz": 1000}}, "tcp_pose: rate_hz 1000 is above the 100 Hz"),
    ],
)
def test_what_a_user_can_fix_ends_the_process_with_a_sentence(
    tmp_path: Path, spec_path: Path, environment: dict[str, str], values: dict[str, dict[str, Any]], sentence: str
) -> None:
    spec = yaml.safe_load(spec_path.read_text())
    for section, changes in values.items():
        spec[section] |= changes
    changed = tmp_path / "robot.yaml"
    changed.write_text(yaml.safe_dump(spec))
    command = [sys.executable, "-m", "vla_sim.sim_node", "--ros-args", "-p", f"robot_spec:={changed}"]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=60.0, check=False
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_every_stream_keeps_its_rate_and_is_stamped_at_capture(robot: Robot, spec: RobotSpec) -> None:
    heard = robot.listen(3.0)
    rates_hz = {"tcp_pose": 100, "joint_states": 100, "task_state": 50, "/diagnostics": 1}
    for topic, kind in STREAMS.items():
        expected_hz = rates_hz.get(topic, 30)
        assert len(heard[topic]) > 0.9 * 3.0 * expected_hz, topic
        stamps_s = np.array([stamp_s(message) for _, message in heard[topic]])
        assert np.all(np.diff(stamps_s) > 0.0)
        ages_s = [at_s - stamp_s(message) for at_s, message in heard[topic]]
        assert 0.0 <= np.median(ages_s) < 0.03, topic
        assert isinstance(heard[topic][0][1], kind)
    values = {pair.key: pair.value for pair in heard["/diagnostics"][-1][1].status[0].values}
    assert float(values["real_time_factor"]) > 0.95


def test_messages_hold_what_the_robot_spec_says(robot: Robot, spec: RobotSpec) -> None:
    heard = {topic: messages[-1][1] for topic, messages in robot.listen(0.3).items()}
    image, info = heard["static_camera/image_raw"], heard["static_camera/camera_info"]
    assert (image.width, image.height, image.encoding) == (200, 200, "rgb8")
    assert image.header.frame_id == info.header.frame_id == spec.cameras["static"].frame
    assert (info.width, info.height, len(image.data)) == (200, 200, 200 * 200 * 3)
    assert heard["wrist_camera/image_raw"].width == 84
    assert heard["tcp_pose"].header.frame_id == spec.base_frame
    assert list(heard["joint_states"].name) == [*spec.joints.names, spec.gripper.joint]
    assert len(heard["joint_states"].velocity) == 8
    TabletopState.from_scalars(heard["task_state"].name, heard["task_state"].position)


def test_reset_puts_the_scene_where_the_seed_says(robot: Robot) -> None:
    def scene(seed: int, task: str = "") -> TabletopState:
        assert str(seed) in robot.reset(seed, task).message
        message = robot.listen(0.1)["task_state"][-1][1]
        return TabletopState.from_scalars(message.name, message.position)

    first, other, again = (scene(seed).blocks["red_block"].position_m for seed in (1, 2, 1))
    assert np.allclose(first, again, atol=1e-4)
    assert not np.allclose(first, other, atol=1e-3)
    assert scene(3, "close_drawer").drawer_m > 0.09


def test_target_pose_moves_the_arm_there(robot: Robot) -> None:
    wanted = robot.pose() + np.array([0.03, 0.05, -0.06])
    message = PoseStamped()
    message.header.frame_id = "base_link"
    at, turn = message.pose.position, message.pose.orientation
    at.x, at.y, at.z = wanted.tolist()
    turn.x, turn.w = 1.0, 0.0
    robot.send("arm_controller/target_pose", message)
    robot.spin(1.2)
    assert np.allclose(robot.pose(), wanted, atol=1e-3)


def test_a_twist_moves_the_arm_and_silence_stops_it(robot: Robot) -> None:
    start, message = robot.pose(), TwistStamped()
    message.header.frame_id = "base_link"
    message.twist.linear.y = 0.1
    for _ in range(20):
        message.header.stamp = robot.user.get_clock().now().to_msg()
        robot.send("arm_controller/twist", message)
        robot.spin(0.02)
    robot.spin(0.3)
    stopped = robot.pose()
    assert 0.03 < stopped[1] - start[1] < 0.08
    robot.spin(0.4)
    assert np.allclose(robot.pose(), stopped, atol=5e-4)


def test_a_trajectory_and_joint_positions_move_the_joints(robot: Robot) -> None:
    wanted = robot.joints()[:7] + 0.1
    message = JointTrajectory(joint_names=JOINTS[::-1])
    message.points = [JointTrajectoryPoint(positions=wanted[::-1].tolist())]
    message.points[0].time_from_start.nanosec = 500_000_000
    robot.send("arm_controller/joint_trajectory", message)
    robot.spin(1.2)
    assert np.allclose(robot.joints()[:7], wanted, atol=3e-3)
    robot.send("arm_controller/commands", Float64MultiArray(data=(wanted - 0.2).tolist()))
    robot.spin(1.2)
    assert np.allclose(robot.joints()[:7], wanted - 0.2, atol=3e-3)


def test_the_gripper_closes_and_opens(robot: Robot) -> None:
    for width_m in (0.0, 0.04):
        robot.send("gripper_controller/commands", Float64MultiArray(data=[width_m]))
        robot.spin(0.6)
        assert robot.joints()[7] == pytest.approx(width_m, abs=2e-3)


def bad_commands() -> dict[str, tuple[str, Any]]:
    no_frame, nan_pose, old = PoseStamped(), PoseStamped(), TwistStamped()
    no_frame.pose.position.x = no_frame.pose.position.z = 0.4
    nan_pose.header.frame_id = old.header.frame_id = "base_link"
    nan_pose.pose.position.x = float("nan")
    old.header.stamp.sec = 1
    old.twist.linear.x = 0.3
    backwards = JointTrajectory(joint_names=JOINTS)
    backwards.points = [JointTrajectoryPoint(positions=[0.0, 0.0, 0.0, -1.5, 0.0, 1.5, 0.0]) for _ in range(2)]
    strangers = JointTrajectory(joint_names=[f"axis{i}" for i in range(7)], points=backwards.points[:1])
    return {
        "no frame": ("arm_controller/target_pose", no_frame),
        "NaN": ("arm_controller/target_pose", nan_pose),
        "old": ("arm_controller/twist", old),
        "times": ("arm_controller/joint_trajectory", backwards),
        "names": ("arm_controller/joint_trajectory", strangers),
        "count": ("arm_controller/commands", Float64MultiArray(data=[0.0] * 6)),
        "NaN joint": ("arm_controller/commands", Float64MultiArray(data=[float("nan")] * 7)),
        "gripper": ("gripper_controller/commands", Float64MultiArray(data=[float("nan")])),
    }


@pytest.mark.parametrize("kind", bad_commands())
def test_a_bad_command_never_moves_the_arm(robot: Robot, kind: str) -> None:
    before = robot.joints()
    robot.send(*bad_commands()[kind])
    robot.spin(0.4)
    assert np.allclose(robot.joints(), before, atol=5e-4)


def pictures(heard: dict[str, list[tuple[float, Any]]]) -> list[bytes]:
    return [bytes(message.data) for _, message in heard["static_camera/image_raw"]]


def test_pictures_repeat_only_while_frozen(robot: Robot) -> None:
    assert len(set(pictures(robot.listen(0.5)))) > 10
    assert robot.set(fault_static="freeze").successful
    robot.spin(0.1)
    frozen = robot.listen(0.5)
    assert len(set(pictures(frozen))) == 1
    stamps_s = [stamp_s(message) for _, message in frozen["static_camera/image_raw"]]
    assert len(stamps_s) > 10
    assert np.all(np.diff(stamps_s) > 0.0)
    assert "static" in robot.call(robot.clears).message
    assert len(set(pictures(robot.listen(0.5)))) > 10


@pytest.mark.parametrize(
    ("stream", "topic"),
    [("wrist", "wrist_camera/image_raw"), ("tcp_pose", "tcp_pose"), ("joints", "joint_states")],
)
def test_dropped_and_delayed_streams(robot: Robot, stream: str, topic: str) -> None:
    robot.set(**{f"fault_{stream}": "drop"})
    robot.spin(0.1)
    heard = robot.listen(0.3)
    assert topic not in heard
    assert "static_camera/image_raw" in heard
    robot.set(**{f"fault_{stream}": "delay", "fault_delay_ms": 300})
    robot.spin(0.5)
    ages_s = [at_s - stamp_s(message) for at_s, message in robot.listen(0.4)[topic]]
    assert 0.29 < np.median(ages_s) < 0.38


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"fault_tcp_pose": "freeze"}, "it can be none, drop, delay"),
        ({"fault_delay_ms": 9000}, "0 to 5000"),
        ({"seed": -1}, "0 or more"),
        ({"task": "open_drawr"}, "did you mean 'open_drawer'"),
    ],
)
def test_a_wrong_parameter_is_refused_with_a_sentence(robot: Robot, values: dict[str, Any], reason: str) -> None:
    result = robot.set(**values)
    assert not result.successful
    assert reason in result.reason


def test_the_expert_opens_the_drawer_over_topics(robot: Robot, spec: RobotSpec) -> None:
    robot.reset(2, "open_drawer")
    expert, space = make_expert("open_drawer"), ActionSpace(frame="tcp")
    controller, start, ticks = ActionController(spec, space, 0.1), None, 0
    while not expert.is_done and ticks < 600:
        robot.spin(0.02)
        if not robot.heard["tcp_pose"] or not robot.heard["task_state"]:
            continue
        now_ns = robot.user.get_clock().now().nanoseconds
        measured = decode_pose(robot.heard["tcp_pose"][-1][1], spec.base_frame)
        scalars = robot.heard["task_state"][-1][1]
        state = TabletopState.from_scalars(scalars.name, scalars.position)
        if start is None:
            start = state
            controller.anchor(measured, now_ns)
        if ticks % 5 == 0:
            controller.begin(expert.act(state, measured), measured, now_ns)
        ticks += 1
        command = controller.command(now_ns)
        target = PoseStamped()
        target.header.frame_id = spec.base_frame
        encode_pose(command.pose_tcp_in_base, target.pose)
        robot.send("arm_controller/target_pose", target)
        robot.send("gripper_controller/commands", Float64MultiArray(data=[0.04 * (command.gripper_open or 0.0)]))
    assert start is not None
    scalars = robot.listen(0.1)["task_state"][-1][1]
    assert TASKS["open_drawer"].is_success(start, TabletopState.from_scalars(scalars.name, scalars.position))


def test_looks_are_drawn_at_the_next_reset_and_go_with_another(robot: Robot) -> None:
    def picture() -> np.ndarray:
        robot.spin(0.3)
        return np.frombuffer(robot.listen(0.3)["static_camera/image_raw"][-1][1].data, np.uint8).astype(int)

    plain = picture()
    assert robot.set(randomise=["table", "light"]).successful
    assert np.abs(picture() - plain).mean() < 3.0
    robot.reset()
    assert np.abs(picture() - plain).mean() > 5.0
    refused = robot.set(randomise=["colour"])
    assert not refused.successful
    assert "allowed: light, camera, table" in refused.reason
    assert not robot.set(randomise="table").successful
    assert robot.set(randomise=[]).successful
    robot.reset()
    assert np.abs(picture() - plain).mean() < 3.0
