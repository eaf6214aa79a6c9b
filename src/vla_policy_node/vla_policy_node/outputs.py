# SPDX-License-Identifier: Apache-2.0
"""Publishers of commands: the arm interface of the robot spec and the gripper, each with its shadow.

With ``command_enabled`` false everything goes to ``~/shadow/*`` instead, and nothing here can move the arm.
"""

from typing import Any, Protocol

from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Float64MultiArray

from vla_core.actions.gripper import command_from_open
from vla_core.codecs.pose_stamped import encode_pose
from vla_core.errors import ConfigError
from vla_core.geometry import Pose
from vla_core.robot_spec import RobotSpec
from vla_core.twist import Twist, twist_towards
from vla_core.types import Command

# Below this two commands count as one moment.
_SHORTEST_DT_S = 1e-3


class ArmOutput(Protocol):
    """One command interface of an arm."""

    message_type: Any

    def move(self, command: Command, measured: Pose, stamp: Any) -> Any:
        """Return the message that follows ``command``."""

    def still(self, held: Pose | None, stamp: Any) -> Any | None:
        """Return the message that makes the arm stand still at ``held``; ``None`` when silence does."""


class TargetPoseOutput:
    """``geometry_msgs/PoseStamped`` targets in the base frame; still means: stay at the pose sent last."""

    message_type = PoseStamped

    def __init__(self, spec: RobotSpec) -> None:
        self._frame = spec.base_frame

    def move(self, command: Command, measured: Pose, stamp: Any) -> PoseStamped:
        """Return the target pose."""
        return self._message(command.pose_tcp_in_base, stamp)

    def still(self, held: Pose | None, stamp: Any) -> PoseStamped | None:
        """Return the held pose."""
        return None if held is None else self._message(held, stamp)

    def _message(self, pose: Pose, stamp: Any) -> PoseStamped:
        message = PoseStamped()
        message.header.stamp, message.header.frame_id = stamp, self._frame
        encode_pose(pose, message.pose)
        return message


class TwistOutput:
    """``geometry_msgs/TwistStamped`` of the TCP in the base frame; still means: zero."""

    message_type = TwistStamped

    def __init__(self, spec: RobotSpec) -> None:
        self._frame = spec.base_frame
        self._limits = spec.limits
        self._period_s = 1.0 / spec.command.rate_hz
        self._previous: tuple[Pose, float] | None = None

    def move(self, command: Command, measured: Pose, stamp: Any) -> TwistStamped:
        """Return the velocity that follows the target poses."""
        target, now_s = command.pose_tcp_in_base, stamp.sec + stamp.nanosec * 1e-9
        # Commands come at the command rate, and between when a chunk arrives.
        previous, then_s = self._previous or (measured, now_s - self._period_s)
        self._previous = target, now_s
        dt_s = max(now_s - then_s, _SHORTEST_DT_S)
        return self._message(twist_towards(previous, target, measured, dt_s, self._limits), stamp)

    def still(self, held: Pose | None, stamp: Any) -> TwistStamped:
        """Return a zero velocity."""
        self._previous = None
        return self._message(Twist.still(), stamp)

    def _message(self, twist: Twist, stamp: Any) -> TwistStamped:
        message = TwistStamped()
        message.header.stamp, message.header.frame_id = stamp, self._frame
        linear, angular = message.twist.linear, message.twist.angular
        linear.x, linear.y, linear.z = (float(value) for value in twist.linear_m_s)
        angular.x, angular.y, angular.z = (float(value) for value in twist.angular_rad_s)
        return message


_ARM_OUTPUTS: dict[str, type[Any]] = {"target_pose": TargetPoseOutput, "twist": TwistOutput}


class CommandOutput:
    """Sends guarded commands, or their shadow.

    Attributes:
        command_enabled: Whether commands go to the robot.

    Raises:
        ConfigError: The robot spec names an interface that is not supported.
    """

    def __init__(self, node: Node, spec: RobotSpec, command_enabled: bool) -> None:
        if spec.command.interface not in _ARM_OUTPUTS:
            raise ConfigError(
                f"robot spec '{spec.name}': command.interface '{spec.command.interface}' is not supported yet; "
                f"allowed: {', '.join(_ARM_OUTPUTS)}"
            )
        self._node = node
        self._gripper = spec.gripper
        self._arm: ArmOutput = _ARM_OUTPUTS[spec.command.interface](spec)
        self._arm_publishers = _with_shadow(node, self._arm.message_type, spec.command.topic)
        self._gripper_publishers = _with_shadow(node, Float64MultiArray, spec.gripper.topic)
        self._gripper_sent: float | None = None
        self.command_enabled = command_enabled

    def move(self, command: Command, measured: Pose, now: Time) -> None:
        """Send a command; the gripper only when its decision has changed."""
        self._publish(self._arm_publishers, self._arm.move(command, measured, now.to_msg()))
        if command.gripper_open is not None and command.gripper_open != self._gripper_sent:
            self._gripper_sent = command.gripper_open
            value = command_from_open(
                command.gripper_open, closed=self._gripper.command_closed, opened=self._gripper.command_open
            )
            self._publish(self._gripper_publishers, Float64MultiArray(data=[value]))

    def still(self, held: Pose | None, now: Time) -> None:
        """Send what makes the arm stand still; the gripper keeps what it holds."""
        message = self._arm.still(held, now.to_msg())
        if message is not None:
            self._publish(self._arm_publishers, message)

    def forget_gripper(self) -> None:
        """Send the next gripper decision even if it is the one sent last."""
        self._gripper_sent = None

    def destroy(self) -> None:
        """Remove the publishers."""
        for publisher in (*self._arm_publishers, *self._gripper_publishers):
            self._node.destroy_publisher(publisher)

    def _publish(self, publishers: tuple[Any, Any], message: Any) -> None:
        publishers[0 if self.command_enabled else 1].publish(message)


def _with_shadow(node: Node, kind: Any, topic: str) -> tuple[Any, Any]:
    """Return the publisher of a topic and that of its shadow."""
    return node.create_publisher(kind, topic, 1), node.create_publisher(kind, f"~/shadow/{topic}", 1)
