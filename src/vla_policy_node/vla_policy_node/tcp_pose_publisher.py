# SPDX-License-Identifier: Apache-2.0
"""Publishes the TCP pose for a robot whose driver does not: from tf, or by forward kinematics of the joints.

Which of the two, the topic and the frames are in the robot spec (``tcp_pose``). A joint state or a transform that
cannot be used leads to no pose: the policy node then sees a stream that is stale and holds.
"""

import sys
from pathlib import Path
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import JointState

from vla_core.codecs.joint_state import decode_joint_positions
from vla_core.codecs.pose_stamped import encode_pose
from vla_core.codecs.stamp import stamp_ns_of
from vla_core.errors import CodecError, ConfigError
from vla_core.robot_spec import RobotSpec
from vla_core.units import NS_PER_S
from vla_policy_node.robot_kinematics import robot_kinematics
from vla_policy_node.spinning import spin_until_asked_to_end

_WARNING_PERIOD_S = 2.0
# Joint states come a little early or late; this share of a period early is in time.
_EARLY = 0.1


class TcpPosePublisher(Node):
    """Publishes ``tcp_pose.topic`` of a robot spec.

    Parameters: ``robot_spec`` (path of the robot spec).

    Args:
        kwargs: Handed to ``Node``.

    Raises:
        ConfigError: The robot spec is wrong, its driver publishes the pose itself, or tf2_ros or the kinematics
            are missing.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("tcp_pose_publisher", **kwargs)
        path = Path(str(self.declare_parameter("robot_spec", "").value))
        if path == Path():
            raise ConfigError(
                "parameter 'robot_spec' is empty; give the path of a robot spec (config/robots/*.yaml)"
            )
        self._spec = RobotSpec.load(path)
        self._period_ns = NS_PER_S / self._spec.tcp_pose.rate_hz
        self._last_ns, self._due_ns = 0, 0.0
        self._publisher = self.create_publisher(PoseStamped, self._spec.tcp_pose.topic, 10)
        if self._spec.tcp_pose.source == "joints":
            self._kinematics = robot_kinematics(self, self._spec, path.parent)
            self.create_subscription(JointState, self._spec.joints.topic, self._on_joints, qos_profile_sensor_data)
        elif self._spec.tcp_pose.source == "tf":
            self._transforms = _listen_to_tf(self)
            self.create_timer(1.0 / self._spec.tcp_pose.rate_hz, self._on_timer)
        else:
            raise ConfigError(
                f"{path}: tcp_pose.source is 'topic', so the driver publishes the pose and this node must not; "
                "set it to 'tf' or 'joints', or do not start this node"
            )

    def _on_joints(self, message: JointState) -> None:
        stamp_ns = stamp_ns_of(message)
        if stamp_ns < self._last_ns:
            self._due_ns = 0.0  # the clock has jumped back
        if stamp_ns < self._due_ns - _EARLY * self._period_ns:
            return
        try:
            joints_rad = decode_joint_positions(message, self._spec.joints.names)
        except CodecError as error:
            self._warn(str(error))
            return
        self._last_ns = stamp_ns
        self._due_ns = max(self._due_ns, stamp_ns - self._period_ns) + self._period_ns
        pose = PoseStamped()
        pose.header.stamp, pose.header.frame_id = message.header.stamp, self._spec.base_frame
        encode_pose(self._kinematics.forward(joints_rad), pose.pose)
        self._publisher.publish(pose)

    def _on_timer(self) -> None:
        base, tcp = self._spec.base_frame, self._spec.tcp_frame
        found = self._transforms.newest(base, tcp)
        if isinstance(found, str):
            self._warn(f"tf has no pose of '{tcp}' in '{base}' yet: {found}")
            return
        if stamp_ns_of(found) == self._last_ns:
            return  # the same under a fresh stamp would hide that tf has gone silent
        self._last_ns = stamp_ns_of(found)
        pose = PoseStamped()
        pose.header.stamp, pose.header.frame_id = found.header.stamp, base
        shift, turn = found.transform.translation, found.transform.rotation
        pose.pose.position.x, pose.pose.position.y, pose.pose.position.z = shift.x, shift.y, shift.z
        pose.pose.orientation = turn
        self._publisher.publish(pose)

    def _warn(self, sentence: str) -> None:
        self.get_logger().warning(sentence, throttle_duration_sec=_WARNING_PERIOD_S)


class _Transforms:
    """What is heard on tf; the only user of ``tf2_ros``, which not every installation has."""

    def __init__(self, node: Node, tf2_ros: Any) -> None:
        self._error = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer(node=node)
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def newest(self, base: str, tcp: str) -> Any:
        """Return the newest ``geometry_msgs/TransformStamped`` of ``tcp`` in ``base``, or why there is none."""
        try:
            return self._buffer.lookup_transform(base, tcp, Time())
        except self._error as error:
            return str(error)


def _listen_to_tf(node: Node) -> _Transforms:
    try:
        import tf2_ros
    except ImportError as error:
        raise ConfigError(
            "tcp_pose.source 'tf' needs the ROS package tf2_ros, which is not installed; install "
            "ros-$ROS_DISTRO-tf2-ros-py, or set tcp_pose.source to 'joints'"
        ) from error
    return _Transforms(node, tf2_ros)


def run(args: list[str] | None = None) -> int:
    """Spin a publisher until SIGINT or SIGTERM; return the exit code."""
    return spin_until_asked_to_end(TcpPosePublisher, args)


def main() -> None:
    """Entry point of ``ros2 run vla_policy_node tcp_pose_publisher``."""
    sys.exit(run())


if __name__ == "__main__":
    main()
