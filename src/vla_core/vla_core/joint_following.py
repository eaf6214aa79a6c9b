# SPDX-License-Identifier: Apache-2.0
"""Guarded TCP poses at the command rate to joint positions, always within the joints' limits and speeds.

The first command starts at the measured joints, each further one at the command before, so that the row is
continuous. A pose that the joints cannot follow is a value that says why; what follows from it is for the guard's
stage ``joints`` to decide.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vla_core.geometry import FloatArray, Pose, angle_rad, distance_m
from vla_core.robot_spec import RobotSpec
from vla_core.units import NS_PER_S

if TYPE_CHECKING:
    from vla_core.kinematics.solver import Kinematics

RESIDUAL_M, RESIDUAL_RAD = 0.005, 0.03
"""A pose counts as followed while the commanded joints put the TCP this near to it."""
MISMATCH_M, MISMATCH_RAD = 0.02, 0.1
"""Motion begins only where the kinematics put the measured joints this near to the first pose."""
SINGULAR = 0.02
"""Below this smallest singular value of the Jacobian the arm counts as near a singularity."""
_LIMIT_RAD = 1e-3
_LONGEST_STEP_PERIODS = 2.0
_SHORTEST_STEP_S = 1e-3


@dataclass(frozen=True)
class JointProblem:
    """Why the joints cannot do what is asked.

    Attributes:
        sentence: What was found, and what to do.
        can_clamp: Whether going as near as the limits allow makes sense; if not, the arm has to hold.
    """

    sentence: str
    can_clamp: bool


@dataclass(frozen=True, eq=False)
class JointStep:
    """Where the joints go next.

    Attributes:
        positions_rad: (J,) positions at the end of the step.
        velocities_rad_s: (J,) mean velocities over it.
    """

    positions_rad: FloatArray
    velocities_rad_s: FloatArray


class JointFollower:
    """Follows TCP poses with joint positions, one step per command. Not thread-safe.

    Args:
        spec: The robot; with a reaction other than ``clamp`` for its stage ``joints``, a pose that cannot be
            followed leaves the joints where they are.
        kinematics: Those of the robot.
    """

    def __init__(self, spec: RobotSpec, kinematics: "Kinematics") -> None:
        self._names = spec.joints.names
        self._period_s = 1.0 / spec.command.rate_hz
        self._clamps = spec.limits.reaction("joints") == "clamp"
        self._kinematics = kinematics
        self._last: tuple[JointStep, int] | None = None

    def follow(
        self, target: Pose, measured_rad: FloatArray | None, now_ns: int
    ) -> tuple[JointStep | None, JointProblem | None]:
        """Return the step for now, and why it is not what was asked for.

        Args:
            target: Guarded pose, TCP in base.
            measured_rad: (J,) measured joints, ``None`` when they are not known; only the first step needs them.
            now_ns: Time of the command, nanoseconds.

        Returns:
            The step, ``None`` when there is nothing to start from, and the problem, if any.
        """
        if self._last is None:
            problem = why_not_begin(self._kinematics, measured_rad, target)
            if problem is not None or measured_rad is None:
                return None, problem
            self._last = (
                JointStep(measured_rad, np.zeros_like(measured_rad)),
                now_ns - round(self._period_s * NS_PER_S),
            )
        (before, then_ns) = self._last
        longest_s = _LONGEST_STEP_PERIODS * self._period_s
        dt_s = float(np.clip((now_ns - then_ns) / NS_PER_S, _SHORTEST_STEP_S, longest_s))
        joints = self._kinematics.approach(before.positions_rad, target, dt_s)
        problem = why_not_followed(self._kinematics, self._names, joints, target)
        if problem is not None and not self._clamps:
            joints = before.positions_rad
        step = JointStep(joints, (joints - before.positions_rad) / dt_s)
        self._last = step, now_ns
        return step, problem

    def hold(self, now_ns: int) -> JointStep | None:
        """Return a step that stays where the last one led; ``None`` before the first."""
        if self._last is None:
            return None
        joints = self._last[0].positions_rad
        self._last = JointStep(joints, np.zeros_like(joints)), now_ns
        return self._last[0]

    def release(self) -> None:
        """Let go of the arm: the next step starts at the measured joints."""
        self._last = None


def why_not_begin(kinematics: "Kinematics", measured_rad: FloatArray | None, target: Pose) -> JointProblem | None:
    """Return why motion may not begin: measured joints and TCP pose contradict each other, or are not known.

    Kinematics with another tool or base than the TCP pose's would lead the arm away from where it is at once.
    """
    if measured_rad is None:
        return None
    pose = kinematics.forward(measured_rad)
    off_m, off_rad = distance_m(pose, target), angle_rad(pose, target)
    if off_m <= MISMATCH_M and off_rad <= MISMATCH_RAD:
        return None
    return JointProblem(
        f"the measured joints put the TCP {off_m:.3f} m and {off_rad:.3f} rad away from where motion is to begin; "
        f"allowed are {MISMATCH_M:g} m and {MISMATCH_RAD:g} rad. Correct 'kinematics' of the robot spec (links, "
        "tcp_in_tip), or the driver's TCP pose",
        can_clamp=False,
    )


def why_not_followed(
    kinematics: "Kinematics", names: tuple[str, ...], joints_rad: FloatArray, target: Pose
) -> JointProblem | None:
    """Return why joints do not put the TCP at the target, if they do not.

    With fewer than six joints only the position counts: most orientations are none that the arm can have.

    Args:
        kinematics: Those of the arm.
        names: Names of the joints.
        joints_rad: (J,) what was found.
        target: What was asked for, TCP in base.
    """
    pose = kinematics.forward(joints_rad)
    off_m, off_rad = distance_m(pose, target), angle_rad(pose, target)
    if off_m <= RESIDUAL_M and (off_rad <= RESIDUAL_RAD or not kinematics.arm.turns_freely):
        return None
    return JointProblem(
        f"the joints cannot follow the TCP: it stays {off_m:.3f} m and {off_rad:.3f} rad behind, allowed are "
        f"{RESIDUAL_M:g} m and {RESIDUAL_RAD:g} rad; {_cause(kinematics, names, joints_rad)}",
        can_clamp=True,
    )


def _cause(kinematics: "Kinematics", names: tuple[str, ...], joints_rad: FloatArray) -> str:
    arm = kinematics.arm
    room = np.minimum(joints_rad - arm.lower_rad, arm.upper_rad - joints_rad)
    at_limit = [name for name, left in zip(names, room, strict=True) if left < _LIMIT_RAD]
    if at_limit:
        return f"at their limit: {', '.join(at_limit)}"
    singular = kinematics.smallest_singular_value(joints_rad)
    if singular < SINGULAR:
        return f"the arm is near a singularity (smallest singular value {singular:.3f})"
    return "the joints are too slow, or the pose is out of reach"
