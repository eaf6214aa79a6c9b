# SPDX-License-Identifier: Apache-2.0
"""A path of TCP poses as one cubic spline of the joints that begins exactly where the one before it is by then.

A controller interpolates positions and velocities by cubic polynomials, so ``state_at`` is what it does, too.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from vla_core.geometry import FloatArray
from vla_core.joint_following import JointProblem, why_not_begin, why_not_followed
from vla_core.robot_spec import RobotSpec
from vla_core.types import PosePath
from vla_core.units import NS_PER_S

if TYPE_CHECKING:
    from vla_core.kinematics.solver import Kinematics

# Inverse kinematics at each command of a long path would take too long, so knots are fewer than its poses.
_KNOT_S = 0.05
_MOST_KNOTS = 40
_SPEED_SHARE = 0.9  # of the joints' speed limits that knots use; the spline between them needs the rest
_MARGIN_PER_KNOT = 0.3  # of the way at full speed between two knots: so far a spline may swing beyond a knot
_STRETCHES = 4
_CHECKS_PER_KNOT = 8
_BRAKE_S = 0.1
_SHORTEST_BRAKE_S = 0.02


@dataclass(frozen=True, eq=False)
class JointTrajectory:
    """Positions and velocities of the joints over time; cubic between the knots, at rest after the last.

    Attributes:
        start_ns: Time of the first knot, nanoseconds.
        times_s: (N,) seconds since the start, increasing from 0.
        positions_rad: (N, J) positions at the knots.
        velocities_rad_s: (N, J) velocities at the knots; zero at the last.
    """

    start_ns: int
    times_s: FloatArray
    positions_rad: FloatArray
    velocities_rad_s: FloatArray

    def state_at(self, now_ns: int) -> tuple[FloatArray, FloatArray]:
        """Return (J,) positions and (J,) velocities at a time."""
        since_s = (now_ns - self.start_ns) / NS_PER_S
        if since_s <= 0.0:
            return self.positions_rad[0], self.velocities_rad_s[0]
        if since_s >= self.times_s[-1]:
            return self.positions_rad[-1], np.zeros_like(self.positions_rad[-1])
        return self.sample(np.array(since_s))

    def sample(self, times_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return positions and velocities (..., J) at (...) seconds since the start, within the trajectory."""
        spline = CubicHermiteSpline(self.times_s, self.positions_rad, self.velocities_rad_s)
        return spline(times_s), spline(times_s, 1)

    @property
    def end_ns(self) -> int:
        """Time of the last knot, nanoseconds."""
        return self.start_ns + round(float(self.times_s[-1]) * NS_PER_S)


class TrajectoryPlanner:
    """Turns pose paths into trajectories that join without a jump. Not thread-safe.

    Args:
        spec: The robot; with a reaction other than ``clamp`` for its stage ``joints``, a path that cannot be
            followed is not begun: the joints brake.
        kinematics: Those of the robot.
    """

    def __init__(self, spec: RobotSpec, kinematics: "Kinematics") -> None:
        self._names = spec.joints.names
        self._clamps = spec.limits.reaction("joints") == "clamp"
        self._kinematics = kinematics
        self._current: JointTrajectory | None = None

    def plan(
        self, path: PosePath, measured_rad: FloatArray | None, now_ns: int
    ) -> tuple[JointTrajectory | None, JointProblem | None]:
        """Return the trajectory along a path from now on, and why it does not follow the path.

        Args:
            path: Guarded poses; those before ``now_ns`` are past.
            measured_rad: (J,) measured joints, ``None`` when they are not known; only the first plan needs them.
            now_ns: Time at which it begins, nanoseconds.

        Returns:
            The trajectory, ``None`` when there is nothing to start from, and the problem, if any.
        """
        if self._current is None:
            problem = why_not_begin(self._kinematics, measured_rad, path.poses[0])
            if problem is not None or measured_rad is None:
                return None, problem
            positions, velocities = measured_rad, np.zeros_like(measured_rad)
        else:
            positions, velocities = self._current.state_at(now_ns)
        times_s, knots, problem = self._along(path, positions, now_ns)
        if problem is not None and not self._clamps:
            self._current = self._braked(positions, velocities, now_ns)
            return self._current, problem
        trajectory = self._fit(now_ns, times_s, knots, velocities)
        self._current = trajectory or self._braked(positions, velocities, now_ns)
        return self._current, problem

    def brake(self, now_ns: int) -> JointTrajectory | None:
        """Return a trajectory that comes to rest as soon as is gentle; ``None`` before the first plan."""
        if self._current is not None:
            self._current = self._braked(*self._current.state_at(now_ns), now_ns)
        return self._current

    def release(self) -> None:
        """Let go of the arm: the next plan starts at the measured joints."""
        self._current = None

    def _along(
        self, path: PosePath, positions: FloatArray, now_ns: int
    ) -> tuple[FloatArray, FloatArray, JointProblem | None]:
        spacing_s = max(_KNOT_S, (int(path.stamps_ns[-1]) - now_ns) / NS_PER_S / _MOST_KNOTS)
        margin_rad = _MARGIN_PER_KNOT * spacing_s * self._kinematics.arm.max_speed_rad_s
        times_s, knots, problem = [0.0], [positions], None
        for index in _knot_indices(path, now_ns, spacing_s):
            pose = path.poses[index]
            # A path that has ended already is gone to as fast as any.
            time_s = max((int(path.stamps_ns[index]) - now_ns) / NS_PER_S, times_s[-1] + _KNOT_S)
            reach_s = _SPEED_SHARE * (time_s - times_s[-1])
            joints = self._kinematics.approach(knots[-1], pose, reach_s, margin_rad=margin_rad)
            problem = problem or why_not_followed(self._kinematics, self._names, joints, pose)
            times_s.append(time_s)
            knots.append(joints)
        return np.array(times_s), np.array(knots), problem

    def _fit(
        self, now_ns: int, times_s: FloatArray, knots: FloatArray, velocities: FloatArray
    ) -> JointTrajectory | None:
        """Return the clamped spline through knots, slower where need be; ``None`` when it leaves the limits."""
        arm = self._kinematics.arm
        lower, upper = np.minimum(arm.lower_rad, knots[0]), np.maximum(arm.upper_rad, knots[0])
        for _ in range(_STRETCHES):
            spline = CubicSpline(times_s, knots, bc_type=((1, velocities), (1, np.zeros_like(velocities))))
            checked_s = np.linspace(0.0, times_s[-1], _CHECKS_PER_KNOT * len(times_s))
            excess = float(np.max(np.abs(spline(checked_s, 1)) / arm.max_speed_rad_s))
            if excess <= 1.0:
                checked = spline(checked_s)
                if np.any(checked < lower) or np.any(checked > upper):
                    return None
                # Exactly at rest at the end: controllers refuse a trajectory that is not.
                rates = np.vstack([velocities, spline(times_s[1:-1], 1), np.zeros_like(velocities)])
                return JointTrajectory(now_ns, times_s, knots, rates)
            times_s = times_s * min(1.05 * excess, 2.0)
        return None

    def _braked(self, positions: FloatArray, velocities: FloatArray, now_ns: int) -> JointTrajectory:
        """Return even braking to rest; shorter where a joint has no room for it."""
        arm = self._kinematics.arm
        room = np.where(velocities > 0.0, arm.upper_rad - positions, positions - arm.lower_rad)
        speed = np.maximum(np.abs(velocities), 1e-9)
        duration_s = float(np.clip(np.min(2.0 * room / speed), _SHORTEST_BRAKE_S, _BRAKE_S))
        end = positions + velocities * duration_s / 2.0
        within = np.clip(end, np.minimum(arm.lower_rad, positions), np.maximum(arm.upper_rad, positions))
        knots = np.array([positions, within])
        return JointTrajectory(
            now_ns, np.array([0.0, duration_s]), knots, np.array([velocities, np.zeros_like(velocities)])
        )


def _knot_indices(path: PosePath, now_ns: int, spacing_s: float) -> list[int]:
    """Return which poses become knots: not too near to each other, and the last one always."""
    shortest_ns = round(spacing_s * NS_PER_S)
    chosen: list[int] = []
    before_ns = now_ns
    for index, stamp_ns in enumerate(path.stamps_ns.tolist()):
        if stamp_ns - before_ns >= shortest_ns:
            chosen.append(index)
            before_ns = stamp_ns
    last = len(path.poses) - 1
    if chosen and chosen[-1] != last:
        # The knot before would be too near to the end of the path.
        chosen[-1] = last
    return chosen or [last]
