# SPDX-License-Identifier: Apache-2.0
"""Consecutive target poses to a velocity, for robots that are commanded by twist."""

from dataclasses import dataclass

import numpy as np

from vla_core.geometry import FloatArray, Pose
from vla_core.robot_spec import LimitsSpec

# Open-loop velocities drift away from the targets; this share of the error per second pulls the arm back to them.
_FEEDBACK_HZ = 3.0


@dataclass(frozen=True, eq=False)
class Twist:
    """Velocity of the TCP, in base axes.

    Attributes:
        linear_m_s: (3,) metres per second.
        angular_rad_s: (3,) radians per second.
    """

    linear_m_s: FloatArray
    angular_rad_s: FloatArray

    @classmethod
    def still(cls) -> "Twist":
        """Return no velocity."""
        return cls(np.zeros(3), np.zeros(3))


def twist_towards(previous: Pose, target: Pose, measured: Pose, dt_s: float, limits: LimitsSpec) -> Twist:
    """Return the velocity that follows the targets: their own velocity, and a pull towards where they are.

    Args:
        previous: Guarded target ``dt_s`` ago, TCP in base.
        target: Guarded target now, TCP in base.
        measured: Measured pose, TCP in base.
        dt_s: Time between the two targets, seconds; above 0.
        limits: The result stays within their speeds.
    """
    linear = (target.position_m - previous.position_m) / dt_s
    linear = linear + _FEEDBACK_HZ * (target.position_m - measured.position_m)
    angular = (target.rotation * previous.rotation.inv()).as_rotvec() / dt_s
    angular = angular + _FEEDBACK_HZ * (target.rotation * measured.rotation.inv()).as_rotvec()
    return Twist(_shorten(linear, limits.max_speed_m_s), _shorten(angular, limits.max_speed_rad_s))


def _shorten(vector: FloatArray, longest: float) -> FloatArray:
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else np.asarray(vector * (longest / length))
