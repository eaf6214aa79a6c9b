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
from vla_core.observer import Proprioception
from vla_core.robot_spec import RobotSpec
from vla_core.twist import Twist, TwistFollower
from vla_core.types import Command, PosePath

# A still command is repeated for this long, against a lost message; then other publishers have the topic.
_STILL_REPEAT_NS = 500_000_000


class ArmOutput(Protocol):
    """One command interface of an arm."""

    message_type: Any

    def move(self, target: Pose, measured: Proprioception | None, now: Time, ahead: PosePath | None) -> Any:
        """Return the message that leads to ``target``; ``None`` when an earlier one has said it."""

    def stand_still(self, held: Pose, now: Time) -> Any:
        """Return the message that makes the arm stand still at ``held``."""


class TargetPoseOutput:
    """``geometry_msgs/PoseStamped`` targets in the base frame; still means: stay at the pose sent last."""

    message_type = PoseStamped

    def __init__(self, spec: RobotSpec) -> None:
        self._frame = spec.base_frame

    def move(
        self, target: Pose, measured: Proprioception | None, now: Time, ahead: PosePath | None
    ) -> PoseStamped:
        """Return the target pose."""
        return self.stand_still(target, now)

    def stand_still(self, held: Pose, now: Time) -> PoseStamped:
        """Return the held pose."""
        message = PoseStamped()
        message.header.stamp, message.header.frame_id = now.to_msg(), self._frame
        encode_pose(held, message.pose)
        return message


class TwistOutput:
    """``geometry_msgs/TwistStamped`` of the TCP in the base frame; still means: zero."""

    message_type = TwistStamped

    def __init__(self, spec: RobotSpec) -> None:
        self._frame = spec.base_frame
        self._follower = TwistFollower(spec.limits, spec.command.twist_feedback_hz)

    def move(
        self, target: Pose, measured: Proprioception | None, now: Time, ahead: PosePath | None
    ) -> TwistStamped:
        """Return the velocity that follows the target poses."""
        pose = None if measured is None else measured.pose_tcp_in_base
        return self._message(self._follower.follow(target, pose, now.nanoseconds), now)

    def stand_still(self, held: Pose, now: Time) -> TwistStamped:
        """Return a zero velocity."""
        return self._message(self._follower.stop(), now)

    def _message(self, twist: Twist, now: Time) -> TwistStamped:
        message = TwistStamped()
        message.header.stamp, message.header.frame_id = now.to_msg(), self._frame
        linear, angular = message.twist.linear, message.twist.angular
        linear.x, linear.y, linear.z = twist.linear_m_s.tolist()
        angular.x, angular.y, angular.z = twist.angular_rad_s.tolist()
        return message


_ARM_OUTPUTS: dict[str, type[TargetPoseOutput] | type[TwistOutput]] = {
    "target_pose": TargetPoseOutput,
    "twist": TwistOutput,
}


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
        self.command_enabled = command_enabled
        self._node = node
        self._gripper = spec.gripper
        self._arm: ArmOutput = _ARM_OUTPUTS[spec.command.interface](spec)
        self._arm_publishers = _with_shadow(node, self._arm.message_type, spec.command.topic)
        self._gripper_publishers = _with_shadow(node, Float64MultiArray, spec.gripper.topic)
        self._gripper_sent: float | None = None
        self._still_since_ns: int | None = None

    def move(
        self, command: Command, measured: Proprioception | None, now: Time, ahead: PosePath | None = None
    ) -> None:
        """Send a command; the gripper only when its decision has changed.

        Args:
            command: Guarded command.
            measured: What is measured now; ``None`` when the robot's streams cannot be trusted: the arm brakes.
            now: Time of the command.
            ahead: The path that follows, beginning with ``command``; given when it differs from the one before.
        """
        self._still_since_ns = None
        self._publish(self._arm_publishers, self._arm.move(command.pose_tcp_in_base, measured, now, ahead))
        if command.gripper_open is not None and command.gripper_open != self._gripper_sent:
            self._gripper_sent = command.gripper_open
            value = command_from_open(
                command.gripper_open, closed=self._gripper.command_closed, opened=self._gripper.command_open
            )
            self._publish(self._gripper_publishers, Float64MultiArray(data=[value]))

    def stand_still(self, held: Pose, now: Time) -> bool:
        """Send what makes the arm stand still; return False once it has been said often enough.

        The gripper gets no command: it keeps what it holds.
        """
        if self._still_since_ns is None:
            self._still_since_ns = now.nanoseconds
        if now.nanoseconds - self._still_since_ns > _STILL_REPEAT_NS:
            return False
        self._publish(self._arm_publishers, self._arm.stand_still(held, now))
        return True

    def release(self) -> None:
        """Forget what was sent: the next gripper decision is sent even if it is the same as the last."""
        self._gripper_sent = self._still_since_ns = None

    def destroy(self) -> None:
        """Remove the publishers."""
        for publisher in (*self._arm_publishers, *self._gripper_publishers):
            self._node.destroy_publisher(publisher)

    def _publish(self, publishers: tuple[Any, Any], message: Any) -> None:
        publishers[0 if self.command_enabled else 1].publish(message)


def _with_shadow(node: Node, kind: Any, topic: str) -> tuple[Any, Any]:
    """Return the publisher of a topic and that of its shadow."""
    return node.create_publisher(kind, topic, 1), node.create_publisher(kind, f"~/shadow/{topic}", 1)
