# SPDX-License-Identifier: Apache-2.0
"""Policy actions to guarded commands: the one path that live control, the scripted expert and replay share.

``begin`` takes a new policy action at the policy's rate and sets a goal; ``command`` is called at the command rate
and gives the pose to send now, on the straight way to that goal, through the guard. The goal is reached one
command after the period of the action, if no new action comes by then; there the arm stands still.
"""

import numpy as np
from numpy.typing import ArrayLike

from vla_core.actions.action_space import ActionSpace, target_pose
from vla_core.geometry import Pose, angle_rad, distance_m, step_towards
from vla_core.guard import Guard
from vla_core.robot_spec import RobotSpec
from vla_core.types import Command
from vla_core.units import NS_PER_S

_LONGEST_SILENCE_NS = NS_PER_S // 2


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
        self._command_spec = spec.command
        self._space = space
        self._command_period_ns = round(NS_PER_S / spec.command.rate_hz)
        # One command longer than the period: an action that comes a little late finds the arm still on its way.
        self._duration_ns = period_s * NS_PER_S + self._command_period_ns
        self._max_dt_s = 2.0 / spec.command.rate_hz
        self.guard = Guard(spec.limits)
        self._gripper_margin = spec.gripper.hysteresis / 2.0
        self._gripper_open: float | None = None
        self._sent: Command | None = None

    @property
    def is_anchored(self) -> bool:
        """Whether there is a pose to command."""
        return self._sent is not None

    def why_not_move(self, measured: Pose) -> str | None:
        """Return why the arm may not be moved from ``measured``; ``None`` when it may."""
        return self.guard.why_not_start_at(measured, self._command_spec.reanchor_m)

    def has_been_silent(self, now_ns: int) -> bool:
        """Return whether nothing was commanded for so long that somebody else may have moved the arm."""
        return self._sent is not None and not 0 <= now_ns - self._sent_ns <= _LONGEST_SILENCE_NS

    def release(self) -> None:
        """Forget what was commanded: the next motion needs ``anchor``, the gripper a new decision of the policy.

        While nothing is commanded a person may move arm and gripper; neither is then moved back.
        """
        self._sent = self._gripper_open = None

    def anchor(self, pose_tcp_in_base: Pose, now_ns: int) -> None:
        """Start, or start again, from the measured pose; no motion is asked for, and the gripper is left alone."""
        self._sent = Command(pose_tcp_in_base, self._gripper_open)
        self._sent_ns = now_ns
        self.hold(now_ns)

    def hold(self, now_ns: int) -> None:
        """Make the pose commanded last the goal: the arm comes to rest there."""
        self._start = self._goal = self._last_sent().pose_tcp_in_base
        self._begin_ns = now_ns

    def begin(self, action: ArrayLike, measured: Pose, now_ns: int) -> bool:
        """Take a new policy action; return whether it was admitted (otherwise the arm holds).

        Args:
            action: (7,) six normalised arm numbers, then ``gripper_open``.
            measured: Pose of the TCP in base, for ``reference: measured`` and for re-anchoring.
            now_ns: Time at which the action begins.
        """
        action = np.asarray(action, dtype=np.float64)
        if self._has_strayed(measured):
            # The way from the old target to the arm would be a motion that nobody has asked for.
            self.anchor(measured, now_ns)
        sent = self._last_sent()
        if not self.guard.are_finite(action):
            self.hold(now_ns)
            return False
        reference = self._reference(measured)
        goal = self.guard.admit(reference, target_pose(self._space, reference, action))
        if goal is None:
            self.hold(now_ns)
            return False
        self._start, self._goal = sent.pose_tcp_in_base, goal
        # The motion goes on from the command sent last; a begin at "now" would stop it for a moment.
        self._begin_ns = max(self._sent_ns, now_ns - self._command_period_ns)
        self._decide_gripper(float(action[6]))
        return True

    def command(self, now_ns: int) -> Command:
        """Return the guarded command to send at ``now_ns``."""
        sent = self._last_sent()
        fraction = min(max((now_ns - self._begin_ns) / self._duration_ns, 0.0), 1.0)
        target = step_towards(self._start, self._goal, fraction)
        # A command that comes late does not earn the distance of the time that was lost.
        dt_s = min(max((now_ns - self._sent_ns) / NS_PER_S, 0.0), self._max_dt_s)
        pose = self.guard.limit(sent.pose_tcp_in_base, target, dt_s)
        self._sent, self._sent_ns = Command(pose, self._gripper_open), now_ns
        return self._sent

    def _reference(self, measured: Pose) -> Pose:
        """Return the pose that the next action is relative to."""
        return measured if self._command_spec.reference == "measured" else self._goal

    def _has_strayed(self, measured: Pose) -> bool:
        return (
            distance_m(self._goal, measured) > self._command_spec.reanchor_m
            or angle_rad(self._goal, measured) > self._command_spec.reanchor_rad
        )

    def _decide_gripper(self, gripper_open: float) -> None:
        """Open or close; near one half the last decision stays, so that the gripper does not chatter."""
        if gripper_open > 0.5 + self._gripper_margin:
            self._gripper_open = 1.0
        elif gripper_open < 0.5 - self._gripper_margin:
            self._gripper_open = 0.0

    def _last_sent(self) -> Command:
        assert self._sent is not None, "the controller has no pose yet: call anchor with the measured pose first"
        return self._sent
