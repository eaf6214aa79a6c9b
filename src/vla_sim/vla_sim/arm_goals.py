# SPDX-License-Identifier: Apache-2.0
"""What the arm can be asked to do. A goal that holds nonsense cannot be made."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vla_core.errors import VlaError
from vla_core.geometry import FloatArray, Pose


class CommandRefusedError(VlaError):
    """A command is not one that the arm can follow; the arm does not move because of it."""


@dataclass(frozen=True, eq=False)
class PoseGoal:
    """Go to a pose in a straight line and stay there.

    Attributes:
        pose_tcp_in_base: Where the TCP shall be.
    """

    pose_tcp_in_base: Pose

    def __post_init__(self) -> None:
        _require_finite(self.pose_tcp_in_base.position_m, (3,), "the target position")
        _require_finite(self.pose_tcp_in_base.quat_xyzw, (4,), "the target orientation")


@dataclass(frozen=True, eq=False)
class TwistGoal:
    """Move at a velocity until a moment, then stand still.

    Attributes:
        linear_m_s: (3,) velocity of the TCP.
        angular_rad_s: (3,) angular velocity of the tool.
        frame: Axes of both: those of the base or those of the tool.
        expires_s: Simulated time after which the velocity counts as zero.
    """

    linear_m_s: FloatArray
    angular_rad_s: FloatArray
    frame: Literal["base", "tcp"]
    expires_s: float

    def __post_init__(self) -> None:
        _require_finite(self.linear_m_s, (3,), "the linear velocity")
        _require_finite(self.angular_rad_s, (3,), "the angular velocity")


@dataclass(frozen=True, eq=False)
class JointGoal:
    """Go to joint positions and stay there.

    Attributes:
        positions_rad: (7,) joint positions.
    """

    positions_rad: FloatArray

    def __post_init__(self) -> None:
        _require_finite(self.positions_rad, (7,), "the joint positions")


@dataclass(frozen=True, eq=False)
class TrajectoryGoal:
    """Follow joint positions over time, linearly between points, and stay at the last.

    Attributes:
        start_s: Simulated time that ``times_s`` counts from.
        times_s: (N,) seconds, increasing, none negative.
        positions_rad: (N, 7) joint positions at these times.
    """

    start_s: float
    times_s: FloatArray
    positions_rad: FloatArray

    def __post_init__(self) -> None:
        count = len(self.times_s)
        _require_finite(self.times_s, (count,), "time_from_start")
        _require_finite(self.positions_rad, (count, 7), "the joint positions of the trajectory")
        if count == 0:
            raise CommandRefusedError("the trajectory has no points; it needs at least one")
        if self.times_s[0] < 0.0 or np.any(np.diff(self.times_s) <= 0.0):
            raise CommandRefusedError(
                f"time_from_start of the trajectory is {np.round(self.times_s, 4).tolist()} s; the times must "
                "start at 0 or later and increase from point to point"
            )


ArmGoal = PoseGoal | TwistGoal | JointGoal | TrajectoryGoal


def _require_finite(values: FloatArray, shape: tuple[int, ...], what: str) -> None:
    found = np.asarray(values)
    if found.shape != shape:
        raise CommandRefusedError(f"{what} has shape {found.shape}; it must be {shape}")
    if not np.all(np.isfinite(found)):
        raise CommandRefusedError(f"{what} is {found.tolist()}; every number must be finite")
