# SPDX-License-Identifier: Apache-2.0
"""Sends guarded commands to the arm and the gripper of a robot spec, or to their shadows.

With ``command_enabled`` false everything goes to ``~/shadow/*`` instead, and nothing here can move the arm.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Float64MultiArray

from vla_core.actions.gripper import command_from_open
from vla_core.geometry import Pose
from vla_core.joint_following import JointProblem
from vla_core.observer import Proprioception
from vla_core.robot_spec import GripperSpec, RobotSpec
from vla_core.types import Command, PosePath
from vla_policy_node.outputs.arm_output import ArmOutput
from vla_policy_node.outputs.gripper_output import GripperDwell, GripperOutput
from vla_policy_node.outputs.gripper_topic import GripperTopicOutput
from vla_policy_node.outputs.target_pose import TargetPoseOutput
from vla_policy_node.outputs.twist import TwistOutput
from vla_policy_node.robot_kinematics import robot_kinematics

# A still command is repeated for this long, against a lost message; then other publishers have the topic.
_STILL_REPEAT_NS = 500_000_000
# A publisher that goes away takes with it what it has just said.
_NUM_STILL_HEARD = 3


class CommandOutput:
    """Sends guarded commands, or their shadow.

    Attributes:
        on_sent: Told the resolved topic and the message of every command of the arm.

    Args:
        node: The node whose topics these are.
        spec: The robot.
        command_enabled: Whether commands go to the robot.
        folder: Folder of the robot spec; ``None`` for that of the node's parameter ``robot_spec``.

    Raises:
        ConfigError: The interface needs something that is not there: kinematics, a URDF, mink, control_msgs.
    """

    def __init__(self, node: Node, spec: RobotSpec, command_enabled: bool, folder: Path | None = None) -> None:
        self.on_sent: Callable[[str, Any], None] = lambda topic, message: None
        self._node = node
        self._topic = spec.command.topic
        self._gripper_spec = spec.gripper
        self._arm = _arm_output(node, spec, folder)
        self._gripper = make_gripper_output(node, spec.gripper)
        self._dwell = GripperDwell(spec.gripper.min_dwell_s)
        kind, topic = self._arm.message_type, spec.command.topic
        self._arm_publisher: Any | None = None
        self._arm_shadow = node.create_publisher(kind, f"~/shadow/{topic}", self._arm.queue_depth)
        gripper = spec.gripper.topic or spec.gripper.action
        self._gripper_shadow = node.create_publisher(Float64MultiArray, f"~/shadow/{gripper}", 1)
        self._still_since_ns: int | None = None
        self._num_still = 0
        self.enable(command_enabled)

    @property
    def command_enabled(self) -> bool:
        """Whether commands go to the robot."""
        return self._arm_publisher is not None

    @property
    def has_said_still(self) -> bool:
        """Whether the command sent last was to stand still, and is some commands old."""
        return self._num_still >= _NUM_STILL_HEARD

    def enable(self, command_enabled: bool) -> None:
        """Send commands to the robot, or only their shadow: then nobody sees a publisher of commands here."""
        if command_enabled and self._arm_publisher is None:
            self._arm_publisher = self._node.create_publisher(
                self._arm.message_type, self._topic, self._arm.queue_depth
            )
        elif not command_enabled and self._arm_publisher is not None:
            self._node.destroy_publisher(self._arm_publisher)
            self._arm_publisher = None

    def move(
        self, command: Command, measured: Proprioception | None, now: Time, ahead: PosePath | None = None
    ) -> JointProblem | None:
        """Send a command; the gripper only when its decision has changed.

        Args:
            command: Guarded command.
            measured: What is measured now; ``None`` when the robot's streams cannot be trusted: the arm brakes.
            now: Time of the command.
            ahead: The path that follows, beginning with ``command``; given when it differs from the one before.

        Returns:
            Why the joints cannot do what the command asks, if they cannot; for the guard's stage ``joints``.
        """
        self._still_since_ns, self._num_still = None, 0
        message, problem = self._arm.move(command.pose_tcp_in_base, measured, now, ahead)
        self._publish(message)
        self._move_gripper(command.gripper_open, now.nanoseconds)
        return problem

    def stand_still(self, held: Pose, now: Time) -> bool:
        """Send what makes the arm stand still; return False once it has been said often enough.

        The gripper gets no command: it keeps what it holds.
        """
        if self._still_since_ns is None:
            self._still_since_ns = now.nanoseconds
        if now.nanoseconds - self._still_since_ns > _STILL_REPEAT_NS:
            return False
        self._publish(self._arm.stand_still(held, now))
        self._num_still += 1
        return True

    def release(self) -> None:
        """Forget what was sent: the next motion starts from where the arm is, and the gripper is asked anew."""
        self._arm.release()
        self._dwell.release()
        self._still_since_ns, self._num_still = None, 0

    def destroy(self) -> None:
        """Remove the publishers and clients."""
        self._gripper.destroy()
        self.enable(False)
        for publisher in (self._arm_shadow, self._gripper_shadow):
            self._node.destroy_publisher(publisher)

    def _publish(self, message: Any) -> None:
        if message is not None:
            publisher = self._arm_publisher or self._arm_shadow
            publisher.publish(message)
            self.on_sent(publisher.topic_name, message)

    def _move_gripper(self, decision: float | None, now_ns: int) -> None:
        due = self._dwell.due(decision, now_ns)
        if due is None:
            return
        gripper = self._gripper_spec
        value = command_from_open(due, closed=gripper.command_closed, opened=gripper.command_open)
        if not self.command_enabled:
            self._gripper_shadow.publish(Float64MultiArray(data=[value]))
        elif not self._gripper.send(value):
            return  # nobody was there; it is tried again with the next command
        self._dwell.note_sent(due, now_ns)


def _arm_output(node: Node, spec: RobotSpec, folder: Path | None) -> ArmOutput:
    """Return the interface in use. Those of the joints are imported only here: they need mink."""
    if spec.command.interface == "target_pose":
        return TargetPoseOutput(spec)
    if spec.command.interface == "twist":
        return TwistOutput(spec)
    if folder is None:
        folder = Path(str(node.get_parameter("robot_spec").value)).parent
    kinematics = robot_kinematics(node, spec, folder)
    if spec.command.interface == "forward_position":
        from vla_policy_node.outputs.forward_position import ForwardPositionOutput

        return ForwardPositionOutput(spec, kinematics)
    from vla_policy_node.outputs.joint_trajectory import JointTrajectoryOutput

    return JointTrajectoryOutput(spec, kinematics)


def make_gripper_output(node: Node, gripper: GripperSpec) -> GripperOutput:
    """Return the interface of a gripper.

    Raises:
        ConfigError: It is commanded by an action, and ``control_msgs`` is not installed.
    """
    if gripper.topic is not None:
        return GripperTopicOutput(node, gripper.topic)
    from vla_policy_node.outputs.gripper_action import GripperActionOutput, control_msgs_action

    assert gripper.action is not None, "the gripper spec has checked it"
    return GripperActionOutput(node, gripper.action, *control_msgs_action(gripper))
