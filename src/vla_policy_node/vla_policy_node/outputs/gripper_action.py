# SPDX-License-Identifier: Apache-2.0
"""A gripper that is commanded by an action. The only file that imports ``control_msgs``, where it is installed."""

from collections.abc import Callable
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.node import Node
from sensor_msgs.msg import JointState

from vla_core.errors import ConfigError
from vla_core.robot_spec import GripperSpec

_WARNING_PERIOD_S = 2.0


def control_msgs_action(gripper: GripperSpec) -> tuple[Any, Callable[[float], Any]]:
    """Return the action type of a gripper's interface, and what makes a goal of a position.

    Raises:
        ConfigError: ``control_msgs`` is not installed, or is too old to have this action.
    """
    try:
        if gripper.interface == "gripper_command":
            from control_msgs.action import GripperCommand as Action
        else:
            from control_msgs.action import ParallelGripperCommand as Action
    except ImportError as error:
        raise ConfigError(
            f"gripper.interface '{gripper.interface}' needs the ROS package control_msgs with that action "
            f"({error}); install ros-$ROS_DISTRO-control-msgs, or command the gripper by 'topic'"
        ) from error

    def gripper_command(value: float) -> Any:
        goal = Action.Goal()
        goal.command.position, goal.command.max_effort = value, float(gripper.max_effort)
        return goal

    def parallel_gripper_command(value: float) -> Any:
        effort = [float(gripper.max_effort)] if gripper.max_effort > 0.0 else []
        return Action.Goal(command=JointState(name=[gripper.joint], position=[value], effort=effort))

    return Action, gripper_command if gripper.interface == "gripper_command" else parallel_gripper_command


class GripperActionOutput:
    """Sends goals to a gripper's action server and hears how they end. Nothing here waits.

    Args:
        node: The node whose client it is.
        name: Name of the action.
        action_type: Type of the action.
        make_goal: Makes a goal of a position in the driver's unit.
    """

    def __init__(self, node: Node, name: str, action_type: Any, make_goal: Callable[[float], Any]) -> None:
        self._node, self._name, self._make_goal = node, name, make_goal
        self._client = ActionClient(node, action_type, name)
        self._newest = 0
        self._is_destroyed = False

    def send(self, value: float) -> bool:
        """Send a goal, which replaces the one before it; return False when there is no server yet."""
        if not self._client.server_is_ready():
            self._warn(f"action '{self._name}' of the gripper is not there; start the gripper's driver")
            return False
        self._newest += 1
        number = self._newest
        sent = self._client.send_goal_async(self._make_goal(value))
        sent.add_done_callback(lambda future: self._on_answer(future, number, value))
        return True

    def destroy(self) -> None:
        """Remove the client; what is under way is not waited for."""
        self._is_destroyed = True
        self._client.destroy()

    def _on_answer(self, future: Any, number: int, value: float) -> None:
        if self._is_destroyed or future.result() is None:
            return
        if not future.result().accepted:
            self._warn(f"action '{self._name}': the gripper has rejected the position {value:g}")
            return
        result = future.result().get_result_async()
        result.add_done_callback(lambda ended: self._on_end(ended, number, value))

    def _on_end(self, future: Any, number: int, value: float) -> None:
        # A goal that a newer one has replaced ends early, and nobody needs to know.
        if self._is_destroyed or number != self._newest or future.result() is None:
            return
        if future.result().status == GoalStatus.STATUS_ABORTED:
            self._warn(
                f"action '{self._name}': the gripper has given up on the position {value:g}; with something "
                "between its fingers that is usual for drivers that do not allow stalling"
            )

    def _warn(self, sentence: str) -> None:
        self._node.get_logger().warning(sentence, throttle_duration_sec=_WARNING_PERIOD_S)
