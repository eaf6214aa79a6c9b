# SPDX-License-Identifier: Apache-2.0
"""Plays the motions of the frame test through controller, guard and command output, slowly, and measures.

Whatever ends it (a stale stream, another publisher, an arm that goes elsewhere, Ctrl-C): the arm comes to rest
within the limits, and is then asked to stand still, as by the policy node.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from vla_core.controller import ActionController
from vla_core.errors import VlaError
from vla_core.geometry import FloatArray, Pose, angle_rad, distance_m
from vla_core.observer import Observer, Proprioception
from vla_core.robot_spec import RobotSpec
from vla_policy_node.doctor.frame_plan import TURN_RAD, WAY_M, FrameMotion
from vla_policy_node.inputs import subscribe_streams
from vla_policy_node.outputs import CommandOutput

_PERIOD_S = 0.1
_SPEED_M_S, _SPEED_RAD_S = 0.02, 0.1
_LIMIT_M_S, _LIMIT_RAD_S = 0.05, 0.2
_ASTRAY_M, _ASTRAY_RAD = 0.03, 0.2
_SETTLED_M, _SETTLED_RAD, _SETTLED_S, _LONGEST_SETTLING_S = 0.0003, 0.002, 0.4, 3.0
_FIRST_STREAMS_S = 2.0
# The first messages of a publisher that nobody has seen yet are lost.
_DISCOVERY_S = 0.5
_LOOK_FOR_OTHERS_S = 0.2
_LONGEST_STOP_S = 2.0


class FrameRunError(VlaError):
    """The frame test cannot begin or has to end; the arm is still."""


class AstrayError(FrameRunError):
    """The arm went elsewhere.

    Attributes:
        measured: Where it was then, TCP in base.
    """

    def __init__(self, message: str, measured: Pose) -> None:
        super().__init__(message)
        self.measured = measured


@dataclass(frozen=True, eq=False)
class MeasuredMotion:
    """What the measured pose did in one motion.

    Attributes:
        before: Pose of the TCP in base before it.
        after: The pose after it.
        astray: Why it was stopped on the way, because the arm went elsewhere; ``None`` when it was not.
    """

    before: Pose
    after: Pose
    astray: str | None = None


class FrameRun:
    """Moves the arm of one robot, or its shadow. Not thread-safe.

    Args:
        node: The node to command with.
        executor: Spins the node; nobody else does.
        spec: The robot; slower limits than its own are used.
        folder: Folder of the robot spec.
        move: Whether commands go to the robot; otherwise to ``~/shadow/*``.
        asked_to_end: Tells whether a person wants it to end.

    Raises:
        ConfigError: The command interface needs something that is not there.
    """

    def __init__(
        self,
        node: Node,
        executor: SingleThreadedExecutor,
        spec: RobotSpec,
        folder: Path,
        *,
        move: bool,
        asked_to_end: Callable[[], bool],
    ) -> None:
        self._node, self._executor, self._asked_to_end = node, executor, asked_to_end
        self._spec, self._move = slowed(spec), move
        self._command_period_s = 1.0 / spec.command.rate_hz
        self._observer = Observer(spec)
        self._output = CommandOutput(node, self._spec, move, folder)
        self._subscriptions = subscribe_streams(node, spec, self._observer.push)
        self._controller: ActionController | None = None
        self._looked_for_others_s = 0.0

    def begin(self) -> Pose:
        """Wait for the streams and return the measured pose.

        Raises:
            FrameRunError: They are stale, or somebody else commands the arm.
        """
        self._wait(_DISCOVERY_S)
        ends_s = time.monotonic() + _FIRST_STREAMS_S
        while True:
            self._executor.spin_once(timeout_sec=0.02)
            try:
                return self._measured().pose_tcp_in_base
            except VlaError:
                if time.monotonic() > ends_s:
                    raise

    def play(self, motion: FrameMotion) -> MeasuredMotion:
        """Go out along one motion and back; return what was measured on the way out.

        Raises:
            FrameRunError: It had to end; the arm is still.
        """
        self._controller = self._anchored(motion)
        before = self._measured().pose_tcp_in_base
        try:
            before = self._settle()
            self._drive(motion, +1.0)
            after = self._settle()
            self._drive(motion, -1.0)
            self._settle()
        except AstrayError as error:
            return MeasuredMotion(before, error.measured, str(error))
        finally:
            self.stop()
        return MeasuredMotion(before, after)

    def stop(self) -> None:
        """Bring the arm to rest within the limits and ask it to stand still."""
        controller, self._controller = self._controller, None
        if controller is None:
            return
        ends_s = time.monotonic() + _LONGEST_STOP_S
        controller.hold()
        while time.monotonic() < ends_s:
            now = self._node.get_clock().now()
            command = controller.command(now.nanoseconds)
            if not controller.guard.is_at_rest:
                ahead = controller.path_ahead((), now.nanoseconds) if self._wants_path else None
                self._output.move(command, None, now, ahead)
            elif not self._output.stand_still(command.pose_tcp_in_base, now):
                break
            self._wait(self._command_period_s)
        self._output.release()

    def close(self) -> None:
        """Stop, and remove publishers and subscriptions."""
        self.stop()
        self._output.destroy()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    @property
    def _wants_path(self) -> bool:
        return self._spec.command.interface == "joint_trajectory"

    def _anchored(self, motion: FrameMotion) -> ActionController:
        measured = self._measured().pose_tcp_in_base
        controller = ActionController(self._spec, motion.space, _PERIOD_S)
        problem = controller.why_not_move(measured)
        if problem:
            raise FrameRunError(problem)
        controller.anchor(measured, self._now_ns())
        return controller

    def _drive(self, motion: FrameMotion, sign: float) -> None:
        """Send the motion in small actions, one per period, until the commands rest."""
        number = num_actions(self._spec, motion)
        begin_s = time.monotonic()
        for index in range(number):
            self._command(motion.action(sign / number))
            while time.monotonic() < begin_s + (index + 1) * _PERIOD_S:
                self._command()
        assert self._controller is not None
        ends_s = time.monotonic() + _LONGEST_SETTLING_S
        for _ in range(round(2 * _PERIOD_S / self._command_period_s)):
            self._command()
        while not self._controller.guard.is_at_rest and time.monotonic() < ends_s:
            self._command()

    def _settle(self) -> Pose:
        """Go on commanding until the measured pose rests; return it. A shadow has nothing to wait for."""
        reference, since_s = self._command(), time.monotonic()
        if not self._move:
            return reference
        ends_s = since_s + _LONGEST_SETTLING_S
        while time.monotonic() < min(since_s + _SETTLED_S, ends_s):
            pose = self._command()
            if distance_m(pose, reference) > _SETTLED_M or angle_rad(pose, reference) > _SETTLED_RAD:
                reference, since_s = pose, time.monotonic()
        return reference

    def _command(self, action: FloatArray | None = None) -> Pose:
        """Wait for the next command's time, look, and send it; return the measured pose."""
        self._wait(self._command_period_s)
        self._require_permission()
        measured, now = self._measured(), self._node.get_clock().now()
        controller = self._controller
        assert controller is not None, "play has made it"
        self._require_near(measured.pose_tcp_in_base, controller.guard.pose)
        if action is not None:
            controller.begin(action, measured.pose_tcp_in_base, now.nanoseconds)
        if controller.guard.trip is not None:
            raise FrameRunError(controller.guard.trip.detail)
        command = controller.command(now.nanoseconds)
        is_new = action is not None and self._wants_path
        ahead = controller.path_ahead((), now.nanoseconds) if is_new else None
        problem = self._output.move(command, measured, now, ahead)
        if problem is not None:
            raise FrameRunError(f"the joints cannot do it: {problem.sentence}")
        return measured.pose_tcp_in_base

    def _require_permission(self) -> None:
        if self._asked_to_end():
            raise FrameRunError("ended by a person; the arm is still")
        now_s = time.monotonic()
        if now_s - self._looked_for_others_s < _LOOK_FOR_OTHERS_S or not self._move:
            return
        self._looked_for_others_s = now_s
        topic = self._node.resolve_topic_name(self._spec.command.topic)
        if self._node.count_publishers(topic) > 1:
            raise FrameRunError(f"another program has begun to publish on {topic}; the arm is still")

    def _require_near(self, measured: Pose, commanded: Pose) -> None:
        if not self._move:
            return
        way_m, turn_rad = distance_m(measured, commanded), angle_rad(measured, commanded)
        if way_m > _ASTRAY_M or turn_rad > _ASTRAY_RAD:
            raise AstrayError(
                f"the measured pose is {way_m * 1e3:.0f} mm and {math.degrees(turn_rad):.0f} degrees from where "
                "the arm was sent; it was stopped",
                measured,
            )

    def _measured(self) -> Proprioception:
        return self._observer.measured(self._now_ns())

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _wait(self, seconds: float) -> None:
        ends_s = time.monotonic() + seconds
        while (left_s := ends_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)


def slowed(spec: RobotSpec) -> RobotSpec:
    """Return a robot spec with limits for the frame test: slow, and from target to target."""
    limits = replace(
        spec.limits,
        max_speed_m_s=min(spec.limits.max_speed_m_s, _LIMIT_M_S),
        max_speed_rad_s=min(spec.limits.max_speed_rad_s, _LIMIT_RAD_S),
    )
    return replace(spec, limits=limits, command=replace(spec.command, reference="target"))


def num_actions(spec: RobotSpec, motion: FrameMotion) -> int:
    """Return in how many actions a motion is made, so that speed and steps stay well within the limits."""
    limits = spec.limits
    if motion.is_rotation:
        speed, step, whole = min(_SPEED_RAD_S, 0.8 * limits.max_speed_rad_s), limits.max_step_rad, TURN_RAD
    else:
        speed, step, whole = min(_SPEED_M_S, 0.8 * limits.max_speed_m_s), limits.max_step_m, WAY_M
    return math.ceil(whole / min(speed * _PERIOD_S, step))
