# SPDX-License-Identifier: Apache-2.0
"""A row of target poses to a velocity, for robots that are commanded by twist."""

from dataclasses import dataclass

import numpy as np

from vla_core.geometry import FloatArray, Pose, shortened
from vla_core.robot_spec import LimitsSpec
from vla_core.units import NS_PER_S

# Below this two targets count as one moment.
_SHORTEST_DT_S = 1e-3


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


class TwistFollower:
    """Follows targets by velocity: the targets' own velocity, and a pull towards where they are.

    Args:
        limits: The velocity stays within their speeds.
        feedback_hz: Share of the way to the target that is made up per second; open-loop velocities drift.
    """

    def __init__(self, limits: LimitsSpec, feedback_hz: float) -> None:
        self._limits, self._feedback_hz = limits, feedback_hz
        self._last: tuple[Pose, int] | None = None

    def follow(self, target: Pose, measured: Pose | None, now_ns: int) -> Twist:
        """Return the velocity for now.

        Args:
            target: Guarded target, TCP in base.
            measured: Measured pose, TCP in base; ``None`` when it is not known: then there is no pull.
            now_ns: Time of the target, nanoseconds.
        """
        last, self._last = self._last, (target, now_ns)
        linear, angular = np.zeros(3), np.zeros(3)
        if measured is not None:
            linear = self._feedback_hz * (target.position_m - measured.position_m)
            angular = self._feedback_hz * (target.rotation * measured.rotation.inv()).as_rotvec()
        if last is not None:
            previous, then_ns = last
            dt_s = max((now_ns - then_ns) / NS_PER_S, _SHORTEST_DT_S)
            linear = linear + (target.position_m - previous.position_m) / dt_s
            angular = angular + (target.rotation * previous.rotation.inv()).as_rotvec() / dt_s
        limits = self._limits
        return Twist(shortened(linear, limits.max_speed_m_s), shortened(angular, limits.max_speed_rad_s))

    def stop(self) -> Twist:
        """Return no velocity, and forget the last target."""
        self._last = None
        return Twist.still()
