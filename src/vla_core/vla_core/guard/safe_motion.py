# SPDX-License-Identifier: Apache-2.0
"""A motion that can always be stopped: the guard's proof that no command leaves the limits.

The motion is a curve in time, not a row of samples: for one command period a constant jerk, then the way to rest
(``braking``). A new plan is taken only when all of it, rest included, is within speed, acceleration, jerk and
workspace. Where no better plan passes, the one before goes on, and that one ends at rest inside the limits. So
whatever is asked for, at whatever times, and also when nothing is asked for any more, the limits hold by
construction.

Rows are translation (m) and rotation (rad) of the TCP in base axes. The rotation vectors of successive commands
are composed; within a plan they are added, which is exact to the order of the square of one command's rotation.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from vla_core.geometry import FloatArray, Pose
from vla_core.guard.braking import Braking, ConstantJerk, MotionLimits, brake, norms
from vla_core.guard.workspace import Workspace

_WEAKENED = (0.6, 0.3, 0.1)
_SHORTEST_S = 1e-5
# What is nearer (m, rad) and slower (m/s, rad/s) than this is there.
_NEAR, _SLOW = 1e-6, 1e-4
_REST = np.zeros((2, 3))
_ROUNDING = 1.0 + 1e-9
_QUARTERS = np.arange(4.0)[:, None, None] / 4.0
# Share of its time after which the quintic's speed would have made up the error, and share of the speed limit that
# leaves room for its overshoot.
_CHASE, _CRUISE = 0.6, 0.97
# First jerk of the quintic that makes up a speed error, in error / time^2; and the acceleration, in error / time,
# that it may ask for. Its peak is higher: what is cut off there costs less than the lag of a longer time.
_FIRST_JERK, _ASKED_ACCELERATION = 36.0, 2.2


@dataclass(frozen=True, eq=False)
class _Plan:
    """A constant jerk for ``begin_s``, then the way to rest."""

    begin: ConstantJerk
    begin_s: float
    begin_way: FloatArray
    braking: Braking

    def at(self, elapsed_s: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return way, velocity and acceleration, (2, 3) each."""
        if elapsed_s < self.begin_s:
            return self.begin.at(elapsed_s)
        way, velocity, acceleration = self.braking.at(elapsed_s - self.begin_s)
        return self.begin_way + way, velocity, acceleration

    @property
    def way(self) -> FloatArray:
        """(2, 3) from the start to rest."""
        return self.begin_way + self.braking.way


class SafeMotion:
    """Moves a pose towards a reference within the limits. Not thread-safe.

    Attributes:
        pose: TCP in base, now.

    Args:
        limits: Largest speed, acceleration and jerk.
        workspace: Where the TCP may be.
        period_s: Time from one command to the next.
    """

    def __init__(self, limits: MotionLimits, workspace: Workspace, period_s: float) -> None:
        self._limits, self._workspace = limits, workspace
        half_speed = 0.5 * limits.speed
        self._shortest_s = np.maximum(
            3.0 * period_s,
            np.maximum(
                np.sqrt(_FIRST_JERK * half_speed / limits.jerk),
                _ASKED_ACCELERATION * half_speed / limits.acceleration,
            ),
        )
        self._plan: _Plan | None = None
        self._elapsed_s = 0.0
        self._passed: FloatArray = _REST
        self._velocity: FloatArray = _REST
        self._acceleration: FloatArray = _REST
        self.pose = Pose.identity()

    def begin(self, pose: Pose) -> None:
        """Be at rest at a pose."""
        self.pose = pose
        self._rest()

    @property
    def is_at_rest(self) -> bool:
        """Whether the pose does not change any more by itself."""
        return self._plan is None

    @property
    def rest_pose(self) -> Pose:
        """Where the motion ends when nothing more is asked for."""
        if self._plan is None:
            return self.pose
        way = self._plan.way - self._passed
        return Pose(self.pose.position_m + way[0], Rotation.from_rotvec(way[1]) * self.pose.rotation)

    def coast(self, dt_s: float) -> Pose:
        """Go on for ``dt_s`` on the way to rest, the end of every plan, and return the pose there."""
        if self._plan is None or dt_s <= 0.0:
            return self.pose
        self._elapsed_s += dt_s
        way, self._velocity, self._acceleration = self._plan.at(self._elapsed_s)
        step, self._passed = way - self._passed, way
        self.pose = Pose(self.pose.position_m + step[0], Rotation.from_rotvec(step[1]) * self.pose.rotation)
        if self._elapsed_s >= self._plan.begin_s + self._plan.braking.duration_s:
            self._rest()
        return self.pose

    def follow(self, reference: Pose, velocity: FloatArray, dt_s: float) -> bool:
        """Go on for ``dt_s`` towards a moving reference; return whether the limits allow what that needs.

        Args:
            reference: Where to be then; TCP in base.
            velocity: (2, 3) of the reference from then on.
            dt_s: Time since the last command, seconds.
        """
        turn = (reference.rotation * self.pose.rotation.inv()).as_rotvec()
        error = np.array([reference.position_m - self.pose.position_m, turn]) - velocity * dt_s
        if dt_s < _SHORTEST_S or self._has_arrived(error, velocity):
            self.coast(dt_s)
            return True
        wanted = self._jerk_towards(error, velocity, dt_s)
        within = self._shortened(wanted, dt_s)
        is_free = bool((np.abs(within - wanted) <= 1e-6 * np.abs(wanted) + 1e-9).all())
        is_followed = self._adopt(within, dt_s)
        if not is_followed:
            self._adopt_weakened(within, dt_s)
        self.coast(dt_s)
        return is_free and is_followed

    def _has_arrived(self, error: FloatArray, velocity: FloatArray) -> bool:
        return not velocity.any() and bool(
            (np.abs(error) < _NEAR).all() and (np.abs(self._velocity) < _SLOW).all()
        )

    def _rest(self) -> None:
        self._plan, self._elapsed_s = None, 0.0
        self._passed = self._velocity = self._acceleration = _REST

    def _adopt_weakened(self, jerk: FloatArray, dt_s: float) -> None:
        """Go as far towards the wanted jerk as the limits allow; where they allow nothing, the plan goes on."""
        _, _, kept = self._plan.at(self._elapsed_s + dt_s) if self._plan else (_REST, _REST, _REST)
        kept_jerk = (kept - self._acceleration) / dt_s
        for share in _WEAKENED:
            if self._adopt(kept_jerk + share * (jerk - kept_jerk), dt_s):
                return

    def _jerk_towards(self, error: FloatArray, velocity: FloatArray, h: float) -> FloatArray:
        """Return the (2, 3) jerk that, held for ``h`` seconds, leads to the reference and its velocity.

        It is the quintic of least jerk (Flash and Hogan 1985) to a reference that is ``error`` away.
        """
        limits = self._limits
        # A reference that is too far away to be caught up with is chased at a speed that is kept without braking.
        reach_s = _CHASE * self._shortest_s[:, None]
        chase = _no_longer(velocity + error / reach_s, _CRUISE * limits.speed)
        error, error_rate = (chase - velocity) * reach_s, velocity - self._velocity
        change = norms(chase - self._velocity)
        time_s = np.maximum.reduce(
            [
                self._shortest_s,
                _ASKED_ACCELERATION * change / limits.acceleration,
                np.sqrt(_FIRST_JERK * change / limits.jerk),
            ]
        )[:, None]
        # Held for a period, so it is the mean over the period that counts, not the first value.
        a = self._acceleration
        jerk = 60.0 * error / time_s**3 + 36.0 * error_rate / time_s**2 - 9.0 * a / time_s
        snap = -360.0 * error / time_s**4 - 192.0 * error_rate / time_s**3 + 36.0 * a / time_s**2
        crackle = 720.0 * error / time_s**5 + 360.0 * error_rate / time_s**4 - 60.0 * a / time_s**3
        mean: FloatArray = jerk + h / 2.0 * snap + h**2 / 6.0 * crackle
        return mean

    def _shortened(self, jerk: FloatArray, dt_s: float) -> FloatArray:
        """Return a jerk that keeps jerk and acceleration within the limits, and the speed at the next command."""
        limits, a = self._limits, self._acceleration
        acceleration = _no_longer(a + _no_longer(jerk, limits.jerk) * dt_s, limits.acceleration)
        # The speed when the acceleration ends one period later; beyond the limit, only braking would be left then.
        levelled = self._velocity + (0.5 * a + acceleration) * dt_s
        acceleration += (_no_longer(levelled, limits.speed) - levelled) / dt_s
        return _no_longer((acceleration - a) / dt_s, limits.jerk)

    def _adopt(self, jerk: FloatArray, begin_s: float) -> bool:
        """Make a plan the one that is followed, if all of it is within the limits."""
        begin = ConstantJerk(self._velocity, self._acceleration, jerk)
        way, velocity, acceleration = begin.at(begin_s)
        if not self._is_within(begin, begin_s, velocity, acceleration):
            return False
        braking = brake(velocity, acceleration, self._limits)
        if braking is None or not self._stays_inside(begin, begin_s, braking):
            return False
        self._plan, self._elapsed_s, self._passed = _Plan(begin, begin_s, way, braking), 0.0, _REST
        return True

    def _is_within(
        self, begin: ConstantJerk, begin_s: float, velocity: FloatArray, acceleration: FloatArray
    ) -> bool:
        """Return whether a constant jerk keeps the limits; the velocity by Bernstein coefficients of quarters."""
        limits, quarter_s = self._limits, 0.25 * begin_s
        _, starts, slopes = begin.at(_QUARTERS * begin_s)
        speed = np.maximum(norms(velocity), norms(starts + 0.5 * quarter_s * slopes).max(axis=0))
        return bool(
            (speed <= limits.speed * _ROUNDING).all()
            and (norms(acceleration) <= limits.acceleration * _ROUNDING).all()
            and (norms(begin.jerk) <= limits.jerk * _ROUNDING).all()
        )

    def _stays_inside(self, begin: ConstantJerk, begin_s: float, braking: Braking) -> bool:
        begin_hull_m = begin.hull_m(self.pose.position_m, begin_s)
        return self._workspace.allows(begin_hull_m) and self._workspace.allows(braking.hull_m(begin_hull_m[-1]))


def _no_longer(vectors: FloatArray, longest: FloatArray) -> FloatArray:
    """Return (2, 3) vectors, each scaled down to at most its (2,) length."""
    lengths = norms(vectors)
    return vectors * np.minimum(1.0, longest / np.maximum(lengths, 1e-12))[:, None]
