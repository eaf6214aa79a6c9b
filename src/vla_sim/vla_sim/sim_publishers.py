# SPDX-License-Identifier: Apache-2.0
"""Publishers of everything that the simulated robot measures, stamped at capture, each behind a faulty link."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, JointState
from std_msgs.msg import Header

from vla_core.codecs.pose_stamped import encode_pose
from vla_core.codecs.stamp import split_stamp_ns
from vla_core.geometry import Pose
from vla_core.robot_spec import RobotSpec
from vla_sim.camera_model import PinholeCamera
from vla_sim.cameras import Picture
from vla_sim.faults import FaultyLink
from vla_sim.image_messages import IMAGE_MESSAGES
from vla_sim.tabletop import ArmState
from vla_sim.task_state import TabletopState
from vla_sim.world import steps_per_sample

TASK_STATE_TOPIC = "task_state"
TASK_STATE_HZ = 50.0


class StatePublishers:
    """TCP pose, joint states and task state. ``on_step`` is called by the physics thread.

    Where the robot spec says that the TCP pose is made of something else, this robot tells none.

    The task state travels as a ``JointState`` whose ``name`` and ``position`` are named scalars: see
    ``TabletopState.to_scalars``.
    """

    def __init__(self, node: Node, spec: RobotSpec, period_s: float) -> None:
        self._spec = spec
        self._tcp_pose: Publisher | None = None
        if spec.tcp_pose.source == "topic":
            self._tcp_pose = node.create_publisher(PoseStamped, spec.tcp_pose.topic, 10)
        self._joints = node.create_publisher(JointState, spec.joints.topic, 10)
        self._task = node.create_publisher(JointState, TASK_STATE_TOPIC, 10)
        self._pose_every = steps_per_sample(period_s, spec.tcp_pose.rate_hz, "tcp_pose")
        self._joints_every = steps_per_sample(period_s, spec.joints.rate_hz, "joints")
        self._task_every = steps_per_sample(period_s, TASK_STATE_HZ, "task state")
        self._joint_names = [*spec.joints.names, spec.gripper.joint]
        self._steps = 0
        self.pose_link: FaultyLink[Pose] = FaultyLink(self._send_pose)
        self.joints_link: FaultyLink[ArmState] = FaultyLink(self._send_joints)

    def on_step(self, arm: ArmState, state: TabletopState, stamp_ns: int) -> None:
        """Publish what is due after a step."""
        if self._steps % self._pose_every == 0:
            self.pose_link.offer(arm.pose_tcp_in_base, stamp_ns)
        if self._steps % self._joints_every == 0:
            self.joints_link.offer(arm, stamp_ns)
        if self._steps % self._task_every == 0:
            self._send_task(state, stamp_ns)
        self._steps += 1

    def _send_pose(self, pose: Pose, stamp_ns: int) -> None:
        if self._tcp_pose is None:
            return
        message = PoseStamped(header=_header(stamp_ns, self._spec.base_frame))
        encode_pose(pose, message.pose)
        self._tcp_pose.publish(message)

    def _send_joints(self, arm: ArmState, stamp_ns: int) -> None:
        message = JointState(header=_header(stamp_ns), name=self._joint_names)
        message.position = [*arm.positions_rad.tolist(), arm.finger_m]
        message.velocity = [*arm.velocities_rad_s.tolist(), arm.finger_m_s]
        self._joints.publish(message)

    def _send_task(self, state: TabletopState, stamp_ns: int) -> None:
        names, values = state.to_scalars()
        header = _header(stamp_ns, self._spec.base_frame)
        self._task.publish(JointState(header=header, name=names, position=values))


class CameraPublishers:
    """Pictures and camera infos. ``offer`` is called by the camera thread.

    Attributes:
        links: Camera name to its link.
        sent: Camera name to the number of pictures sent.
    """

    def __init__(self, node: Node, spec: RobotSpec, intrinsics: dict[str, PinholeCamera]) -> None:
        self._spec = spec
        self._images: dict[str, Publisher] = {}
        self._to_message: dict[str, Callable[[Picture], Any]] = {}
        self._infos: dict[str, Publisher] = {}
        self._info_messages: dict[str, CameraInfo] = {}
        self.links: dict[str, FaultyLink[Picture]] = {}
        self.sent: Counter[str] = Counter()
        for name, camera in spec.cameras.items():
            kind, self._to_message[name] = IMAGE_MESSAGES[camera.type]
            self._images[name] = node.create_publisher(kind, camera.topic, qos_profile_sensor_data)
            topic = info_topic(camera.topic)
            self._infos[name] = node.create_publisher(CameraInfo, topic, qos_profile_sensor_data)
            self._info_messages[name] = info_message(intrinsics[name])
            self.links[name] = FaultyLink(partial(self._send, name))

    def _send(self, name: str, picture: Picture, stamp_ns: int) -> None:
        message = self._to_message[name](picture)
        message.header = _header(stamp_ns, self._spec.cameras[name].frame)
        self._images[name].publish(message)
        info = self._info_messages[name]
        info.header = message.header
        self._infos[name].publish(info)
        self.sent[name] += 1


def info_topic(image_topic: str) -> str:
    """Return the topic of the camera info that belongs to an image topic."""
    namespace, _, _ = image_topic.removesuffix("/compressed").rpartition("/")
    return f"{namespace}/camera_info" if namespace else "camera_info"


def info_message(intrinsics: PinholeCamera) -> CameraInfo:
    """Return the camera info, without a header."""
    message = CameraInfo(height=intrinsics.height_px, width=intrinsics.width_px, distortion_model="plumb_bob")
    message.d = [0.0] * 5
    message.k = intrinsics.matrix.ravel().tolist()
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [value for row in intrinsics.matrix.tolist() for value in (*row, 0.0)]
    return message


def _header(stamp_ns: int, frame: str = "") -> Header:
    header = Header(frame_id=frame)
    header.stamp.sec, header.stamp.nanosec = split_stamp_ns(stamp_ns)
    return header
