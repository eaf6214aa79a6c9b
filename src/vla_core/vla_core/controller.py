# SPDX-License-Identifier: Apache-2.0
"""Policy actions to guarded commands: the one path that live control, the scripted expert and replay share.

``begin`` takes a new policy action at the policy's rate and sets a goal; ``command`` is called at the command
rate. A reference goes to the goal on the straight way, and the guard's motion follows the reference. The goal is
reached one command after the period of the action, if no new action comes by then; there the arm comes to rest.
"""

import copy
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from vla_core.actions.action_space import ActionSpace, target_pose
from vla_core.geometry import FloatArray, Pose, angle_rad, distance_m, step_towards
from vla_core.guard import Guard
from vla_core.robot_spec import RobotSpec
from vla_core.types import Command, PosePath
from vla_core.units import NS_PER_S

_LONGEST_SILENCE_NS = NS_PER_S // 2
_LONGEST_PATH_S = 5.0
_STILL: FloatArray = np.zeros((2, 3))


class ActionController:
    """Turns policy actions into commands for one robot. Not thread-safe.

    Attributes:
        guard: The guard that every command passes.

    Args:
        spec: The robot.
        space: Meaning of the actions.
        period_s: Spacing of the actions, seconds.
    """

    def __init__(self, spec: RobotSpec, space: ActionSpace, period_s: float) -> None:
        self._command_spec, self._limits = spec.command, spec.limits
        self._space = space
        self._command_period_ns = round(NS_PER_S / spec.command.rate_hz)
        # One command longer than the period: an action that comes a little late finds the arm still on its way.
        self._period_ns = round(period_s * NS_PER_S) + self._command_period_ns
        self._max_dt_s = 2.0 / spec.command.rate_hz
        self.guard = Guard(spec.limits, 1.0 / spec.command.rate_hz)
        self._gripper_margin = spec.gripper.hysteresis / 2.0
        self._gripper_open: float | None = None
        self._sent_ns: int | None = None
        self._is_held = True

    @property
    def is_anchored(self) -> bool:
        """Whether there is a pose to command."""
        return self._sent_ns is not None

    @property
    def is_held(self) -> bool:
        """Whether the arm is at rest or coming to rest."""
        return self._is_held

    def why_not_move(self, measured: Pose) -> str | None:
        """Return why the arm may not be moved from ``measured``; ``None`` when it may."""
        return self.guard.why_not_start_at(measured, self._command_spec.reanchor_m)

    def has_been_silent(self, now_ns: int) -> bool:
        """Return whether nothing was commanded for so long that somebody else may have moved the arm."""
        return self._sent_ns is not None and not 0 <= now_ns - self._sent_ns <= _LONGEST_SILENCE_NS

    def release(self) -> None:
        """Forget what was commanded: the next motion needs ``anchor``, the gripper a new decision of the policy.

        While nothing is commanded a person may move arm and gripper; neither is then moved back.
        """
        self._sent_ns = self._gripper_open = None

    def anchor(self, pose_tcp_in_base: Pose, now_ns: int) -> None:
        """Start at rest from the measured pose; no motion is asked for, and the gripper is left alone."""
        self._sent_ns = now_ns
        self.guard.begin(pose_tcp_in_base)
        self.hold()

    def hold(self) -> None:
        """Let the arm come to rest as soon as the limits allow."""
        self._goal = self.guard.rest_pose
        self._is_held = True

    def begin(self, action: ArrayLike, measured: Pose, now_ns: int, share: float = 1.0) -> bool:
        """Take a new policy action; return whether it was admitted (otherwise the arm comes to rest).

        Args:
            action: (7,) six normalised arm numbers, then ``gripper_open``.
            measured: Pose of the TCP in base, for ``reference: measured`` and for re-anchoring.
            now_ns: Time at which the action begins.
            share: Part of the action's motion that is asked for, in [0, 1].
        """
        sent_ns = self._last_sent_ns()
        action = np.asarray(action, dtype=np.float64)
        if now_ns - sent_ns > _LONGEST_SILENCE_NS:
            self.anchor(measured, now_ns)
        self.guard.forget_trip(armed=False)
        goal = self._goal_of(action, self._reference(measured), share)
        if goal is None:
            self.hold()
            return False
        # The motion goes on from the command sent last; a begin at "now" would stop it for a moment.
        self._begin_ns = max(sent_ns, now_ns - self._command_period_ns)
        self._set_way(goal, now_ns + self._period_ns)
        self._decide_gripper(float(action[6]))
        return True

    def command(self, now_ns: int) -> Command:
        """Return the guarded command to send at ``now_ns``."""
        # A command that comes late does not earn the distance of the time that was lost.
        dt_s = min(max((now_ns - self._last_sent_ns()) / NS_PER_S, 0.0), self._max_dt_s)
        if self._is_held or self.guard.trip is not None:
            pose = self.guard.brake(dt_s)
        else:
            share = min(max((now_ns - self._begin_ns) / self._duration_ns, 0.0), 1.0)
            pose = self.guard.follow(self._on_the_way(share), self._velocity if share < 1.0 else _STILL, dt_s)
        self._sent_ns = now_ns
        return Command(pose, self._gripper_open)

    def path_ahead(self, upcoming: Sequence[tuple[int, ArrayLike]], now_ns: int) -> PosePath:
        """Return the commands that follow if nothing but these actions comes, until the arm rests.

        Args:
            upcoming: When each action begins, nanoseconds, and the (7,) action; in the order of time.
            now_ns: Time of the command sent last.
        """
        double = copy.copy(self)
        double.guard = self.guard.copy()
        left, stamps_ns = list(upcoming), []
        poses: list[Pose] = []
        latest_ns = now_ns + round(_LONGEST_PATH_S * NS_PER_S)
        while now_ns < latest_ns and (left or not poses or not double._is_done(now_ns)):
            now_ns += self._command_period_ns
            while left and left[0][0] <= now_ns:
                begin_ns, action = left.pop(0)
                double.begin(action, double.guard.pose, begin_ns)
            poses.append(double.command(now_ns).pose_tcp_in_base)
            stamps_ns.append(now_ns)
        return PosePath(np.array(stamps_ns, dtype=np.int64), tuple(poses))

    def _is_done(self, now_ns: int) -> bool:
        is_on_the_way = not self._is_held and now_ns < self._begin_ns + self._duration_ns
        return self.guard.is_at_rest and not is_on_the_way

    def _goal_of(self, action: FloatArray, reference: Pose, share: float) -> Pose | None:
        if self.guard.trip is not None or not self.guard.are_finite(action):
            return None
        goal = self.guard.admit(reference, target_pose(self._space, reference, action))
        return goal if goal is None or share >= 1.0 else step_towards(reference, goal, max(share, 0.0))

    def _set_way(self, goal: Pose, end_ns: int) -> None:
        """Lead the reference from where it is to the goal by ``end_ns``, but no faster than the arm may be."""
        self._start, self._goal, self._is_held = self.guard.reference, goal, False
        slowest_s = max(
            distance_m(self._start, goal) / self._limits.max_speed_m_s,
            angle_rad(self._start, goal) / self._limits.max_speed_rad_s,
        )
        self._duration_ns = max(end_ns - self._begin_ns, round(slowest_s * NS_PER_S), 1)
        way_rad = (goal.rotation * self._start.rotation.inv()).as_rotvec()
        self._way: FloatArray = np.array([goal.position_m - self._start.position_m, way_rad])
        self._velocity = self._way / (self._duration_ns / NS_PER_S)

    def _on_the_way(self, share: float) -> Pose:
        """Return the pose at a share of the straight way: ``step_towards`` without what every share repeats."""
        position_m = self._start.position_m + share * self._way[0]
        return Pose(position_m, Rotation.from_rotvec(share * self._way[1]) * self._start.rotation)

    def _reference(self, measured: Pose) -> Pose:
        """Return the pose that the next action is relative to."""
        # The way from an old target to an arm that is elsewhere would be a motion that nobody has asked for.
        has_strayed = (
            distance_m(self._goal, measured) > self._command_spec.reanchor_m
            or angle_rad(self._goal, measured) > self._command_spec.reanchor_rad
        )
        return measured if has_strayed or self._command_spec.reference == "measured" else self._goal

    def _decide_gripper(self, gripper_open: float) -> None:
        """Open or close; near one half the last decision stays, so that the gripper does not chatter."""
        if gripper_open > 0.5 + self._gripper_margin:
            self._gripper_open = 1.0
        elif gripper_open < 0.5 - self._gripper_margin:
            self._gripper_open = 0.0

    def _last_sent_ns(self) -> int:
        assert self._sent_ns is not None, (
            "the controller has no pose yet: call anchor with the measured pose first"
        )
        return self._sent_ns
