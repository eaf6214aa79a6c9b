# SPDX-License-Identifier: Apache-2.0
"""The way to rest from any velocity and acceleration: a closed form whose bounds hold at every moment.

Two phases. *Level*: the acceleration goes to zero at the largest jerk. *Stop*: from the velocity ``v`` that is
then left, with s = t / T in [0, 1], along a straight line:

    a(s) = -6 (v / T) s (1 - s)        v(s) = v (1 - 3 s^2 + 2 s^3)        way = v T / 2

the motion of least squared jerk from a velocity to rest (as Flash and Hogan, J. Neurosci. 1985, for positions).
Its largest acceleration is 1.5 v / T, its largest jerk 6 v / T^2, so the shortest T within the limits is known.
Rows are two motions side by side: translation (m) and rotation (rad), each a vector of three.
"""

from dataclasses import dataclass

import numpy as np

from vla_core.geometry import FloatArray
from vla_core.robot_spec import LimitsSpec

_SHORTEST_S = 1e-6


@dataclass(frozen=True, eq=False)
class MotionLimits:
    """Largest norms of the derivatives of a motion.

    Attributes:
        speed: (2,) m/s and rad/s.
        acceleration: (2,) m/s^2 and rad/s^2.
        jerk: (2,) m/s^3 and rad/s^3.
    """

    speed: FloatArray
    acceleration: FloatArray
    jerk: FloatArray

    @classmethod
    def of(cls, limits: LimitsSpec) -> "MotionLimits":
        """Return those of a robot."""
        return cls(
            speed=np.array([limits.max_speed_m_s, limits.max_speed_rad_s]),
            acceleration=np.array([limits.max_acceleration_m_s2, limits.max_acceleration_rad_s2]),
            jerk=np.array([limits.max_jerk_m_s3, limits.max_jerk_rad_s3]),
        )


@dataclass(frozen=True, eq=False)
class ConstantJerk:
    """A motion of constant jerk.

    Attributes:
        velocity: (2, 3) at the start.
        acceleration: (2, 3) at the start.
        jerk: (2, 3).
    """

    velocity: FloatArray
    acceleration: FloatArray
    jerk: FloatArray

    def at(self, elapsed_s: "float | FloatArray") -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return way, velocity and acceleration, (2, 3) each, after a time, or a (2, 1) time per row."""
        v, a, j, t = self.velocity, self.acceleration, self.jerk, elapsed_s
        return t * (v + t * (a / 2.0 + t * j / 6.0)), v + t * (a + t * j / 2.0), a + t * j

    def hull_m(self, start_m: FloatArray, elapsed_s: float) -> FloatArray:
        """Return (4, 3) points whose hull holds the way of the TCP: Bernstein coefficients of the cubic."""
        v, a, j, t = self.velocity[0], self.acceleration[0], self.jerk[0], elapsed_s
        first_m = start_m + v * t / 3.0
        second_m = first_m + v * t / 3.0 + a * t**2 / 6.0
        return np.array([start_m, first_m, second_m, start_m + t * (v + t * (a / 2.0 + t * j / 6.0))])


@dataclass(frozen=True, eq=False)
class Braking:
    """The way to rest: level, then stop.

    Attributes:
        level: First phase.
        level_s: (2, 1) time of the first phase.
        level_way: (2, 3) way of the first phase.
        speed_left: (2, 3) velocity after the first phase.
        stop_s: (2, 1) time of the second phase.
    """

    level: ConstantJerk
    level_s: FloatArray
    level_way: FloatArray
    speed_left: FloatArray
    stop_s: FloatArray

    def at(self, elapsed_s: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return way, velocity and acceleration, (2, 3) each, after a time."""
        way, velocity, acceleration = self.level.at(np.minimum(elapsed_s, self.level_s))
        s = np.minimum(np.maximum(elapsed_s - self.level_s, 0.0) / self.stop_s, 1.0)
        v, duration_s, has_levelled = self.speed_left, self.stop_s, elapsed_s > self.level_s
        way = way + v * duration_s * (s - s**3 + 0.5 * s**4)
        velocity = np.where(has_levelled, v * (1.0 - 3.0 * s**2 + 2.0 * s**3), velocity)
        return way, velocity, np.where(has_levelled, -6.0 * v / duration_s * s * (1.0 - s), acceleration)

    @property
    def way(self) -> FloatArray:
        """(2, 3) from the start to rest."""
        return self.level_way + 0.5 * self.speed_left * self.stop_s

    @property
    def duration_s(self) -> float:
        """Time until both rows are at rest."""
        return float((self.level_s + self.stop_s).max())

    def hull_m(self, start_m: FloatArray) -> FloatArray:
        """Return (5, 3) points whose hull holds the whole way of the TCP that begins at ``start_m``."""
        levelling_m = self.level.hull_m(start_m, self.level_s[0, 0])
        return np.vstack([levelling_m, start_m + self.way[0]])


def brake(velocity: FloatArray, acceleration: FloatArray, limits: MotionLimits) -> Braking | None:
    """Return the way to rest; ``None`` when it would be too fast on the way.

    Args:
        velocity: (2, 3) at the start, within the limits.
        acceleration: (2, 3) at the start, within the limits.
        limits: Never exceeded on the way.
    """
    level_s = (norms(acceleration) / limits.jerk)[:, None]
    level = ConstantJerk(velocity, acceleration, -acceleration / np.maximum(level_s, _SHORTEST_S))
    level_way, speed_left, _ = level.at(level_s)
    # Bernstein coefficients of the velocity while levelling: start, middle and end; the middle one is v + a t / 2,
    # which is also the end, because the acceleration ends at zero.
    speed = norms(speed_left)
    if (speed > limits.speed * (1.0 + 1e-9)).any():
        return None
    stop_s = np.maximum(
        np.maximum(np.sqrt(6.0 * speed / limits.jerk), 1.5 * speed / limits.acceleration), _SHORTEST_S
    )
    return Braking(level, level_s, level_way, speed_left, stop_s[:, None])


def norms(vectors: FloatArray) -> FloatArray:
    """Return the (...) lengths of (..., 3) vectors."""
    lengths: FloatArray = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    return lengths
