# SPDX-License-Identifier: Apache-2.0
"""Opens and closes the gripper and tells whether its polarity is right. Only where a person has asked for it."""

import time
from collections import deque
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState

from vla_core.actions.gripper import command_from_open, share_open
from vla_core.codecs.joint_state import decode_joint_positions
from vla_core.errors import VlaError
from vla_core.robot_spec import GripperSpec, RobotSpec
from vla_policy_node.doctor.findings import Finding, Notes
from vla_policy_node.outputs import make_gripper_output

_LONGEST_WAY_S, _SETTLED_S = 5.0, 0.6
_MOVED, _SAME = 0.1, 0.02
_FULL = 0.15


def run_gripper_trial(node: Node, executor: SingleThreadedExecutor, spec: RobotSpec) -> list[Finding]:
    """Open the gripper, close it, bring it back, and return the findings."""
    notes = Notes("gripper trial")
    trial = _Trial(node, executor, spec)
    try:
        before = trial.share()
        opened = trial.command(1.0)
        closed = trial.command(0.0)
        trial.command(1.0 if before > 0.5 else 0.0)
    except VlaError as error:
        notes.fail("gripper", str(error), "correct this first")
        return notes.findings
    finally:
        trial.close()
    _judge(notes, spec.gripper, opened, closed)
    return notes.findings


def _judge(notes: Notes, gripper: GripperSpec, opened: float, closed: float) -> None:
    found = f"told to open: {opened:.0%} open by its joint; told to close: {closed:.0%}"
    if abs(opened - closed) < _MOVED:
        notes.fail(
            "polarity", f"it did not move; {found}", "is its driver active? compare command_open with its manual"
        )
    elif opened < closed:
        notes.fail(
            "polarity",
            f"SWAPPED: {found}",
            "if it opened when told to, swap joint_closed and joint_open, else command_closed and command_open",
        )
    elif opened < 1.0 - _FULL or closed > _FULL:
        notes.warn(
            "polarity", f"right, but not the whole way: {found}", "measure joint_open and joint_closed again"
        )
    else:
        notes.ok("polarity", f"right: {found}")


class _Trial:
    """Commands one gripper and reads its joint."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor, spec: RobotSpec) -> None:
        self._node, self._executor, self._spec = node, executor, spec
        self._states: deque[JointState] = deque(maxlen=1)
        self._subscription = node.create_subscription(
            JointState, spec.joints.topic, self._on_state, qos_profile_sensor_data
        )
        self._output = make_gripper_output(node, spec.gripper)

    def share(self) -> float:
        """Return how far the gripper is open by its joint, not clipped: 0 closed, 1 open.

        Raises:
            VlaError: No joint state comes, or it has no such joint.
        """
        self._states.clear()
        ends_s = time.monotonic() + 2.0
        while not self._states and time.monotonic() < ends_s:
            self._executor.spin_once(timeout_sec=0.05)
        gripper = self._spec.gripper
        if not self._states:
            raise VlaError(f"no joint state came on {self._spec.joints.topic}")
        (position,) = decode_joint_positions(self._states[-1], (gripper.joint,))
        return share_open(position, closed=gripper.joint_closed, opened=gripper.joint_open)

    def command(self, gripper_open: float) -> float:
        """Ask for open (1) or closed (0), wait until the joint rests, and return how far it is open."""
        gripper = self._spec.gripper
        value = command_from_open(gripper_open, closed=gripper.command_closed, opened=gripper.command_open)
        self._wait_for_listener(value)
        began_s = since_s = time.monotonic()
        reference = self.share()
        while time.monotonic() < began_s + _LONGEST_WAY_S:
            share = self.share()
            if abs(share - reference) > _SAME:
                reference, since_s = share, time.monotonic()
            elif time.monotonic() > max(since_s, began_s + _SETTLED_S) + _SETTLED_S:
                break
        return reference

    def close(self) -> None:
        """Remove subscription and publisher."""
        self._node.destroy_subscription(self._subscription)
        self._output.destroy()

    def _on_state(self, message: Any) -> None:
        self._states.append(message)

    def _wait_for_listener(self, value: float) -> None:
        """Send the command until somebody takes it: discovery of a new publisher takes a moment."""
        topic = self._spec.gripper.topic
        ends_s = time.monotonic() + 3.0
        while time.monotonic() < ends_s:
            self._executor.spin_once(timeout_sec=0.05)
            if topic is not None and not self._node.count_subscribers(self._node.resolve_topic_name(topic)):
                continue
            if self._output.send(value):
                return
        raise VlaError("nobody takes the gripper's commands; start its driver")
