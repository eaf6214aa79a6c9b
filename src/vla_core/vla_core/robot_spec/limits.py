# SPDX-License-Identifier: Apache-2.0
"""What the guard never lets pass, and what it does where something would."""

from dataclasses import dataclass, field
from typing import Literal

from vla_core.robot_spec.require import require_positive

GuardStageName = Literal["finite", "age", "start", "step", "speed", "workspace", "acceleration", "joints"]
"""Stages in their order."""
Reaction = Literal["clamp", "hold", "stop"]
DEFAULT_REACTIONS: dict[GuardStageName, Reaction] = {
    "finite": "hold",
    "age": "hold",
    "start": "hold",
    "step": "clamp",
    "speed": "clamp",
    "workspace": "clamp",
    "acceleration": "clamp",
    "joints": "clamp",
}
_CANNOT_CLAMP: tuple[GuardStageName, ...] = ("finite", "age", "start")


@dataclass(frozen=True, kw_only=True)
class KeepOutBox:
    """A box that the TCP never enters.

    Attributes:
        name: What is there, for people.
        min_m: Lower corner, base frame, metres.
        max_m: Upper corner.
    """

    name: str
    min_m: tuple[float, float, float]
    max_m: tuple[float, float, float]

    def __post_init__(self) -> None:
        for axis, low, high in zip("xyz", self.min_m, self.max_m, strict=True):
            if low >= high:
                raise ValueError(f"keep-out box '{self.name}' {axis}: {low:g} m is not below {high:g} m")


@dataclass(frozen=True, kw_only=True)
class LimitsSpec:
    """What the guard never lets pass.

    Attributes:
        max_step_m: Largest motion of one policy action, metres.
        max_step_rad: Largest rotation of one policy action, radians.
        max_speed_m_s: Largest speed of the commanded TCP.
        max_speed_rad_s: Largest angular speed of the commanded TCP.
        max_acceleration_m_s2: Largest acceleration of the commanded TCP.
        max_acceleration_rad_s2: Largest angular acceleration of the commanded TCP.
        max_jerk_m_s3: Largest change of the commanded TCP's acceleration per second.
        max_jerk_rad_s3: The same for the angular acceleration.
        workspace_min_m: Lower corner of the box, base frame, that the TCP target stays in.
        workspace_max_m: Upper corner of that box.
        keep_out: Boxes that the TCP never enters.
        soft_start_s: After the arm was let go, the share of each action that is carried out grows from nothing
            to all in this time, seconds; 0 for none.
        reactions: What each stage does; a stage that is not named does what is usual for it.
    """

    max_step_m: float
    max_step_rad: float
    max_speed_m_s: float
    max_speed_rad_s: float
    max_acceleration_m_s2: float
    max_acceleration_rad_s2: float
    max_jerk_m_s3: float
    max_jerk_rad_s3: float
    workspace_min_m: tuple[float, float, float]
    workspace_max_m: tuple[float, float, float]
    keep_out: tuple[KeepOutBox, ...] = ()
    soft_start_s: float = 1.0
    reactions: dict[GuardStageName, Reaction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_positive(self, "max_step_m", "max_step_rad", "max_speed_m_s", "max_speed_rad_s")
        require_positive(self, "max_acceleration_m_s2", "max_acceleration_rad_s2")
        require_positive(self, "max_jerk_m_s3", "max_jerk_rad_s3")
        if self.soft_start_s < 0.0:
            raise ValueError(f"soft_start_s may not be negative, found {self.soft_start_s:g}")
        for stage in _CANNOT_CLAMP:
            if self.reaction(stage) == "clamp":
                raise ValueError(f"reactions: stage '{stage}' cannot clamp; allowed: hold, stop")
        for axis, low, high in zip("xyz", self.workspace_min_m, self.workspace_max_m, strict=True):
            if low >= high:
                raise ValueError(f"workspace {axis}: minimum {low:g} m is not below maximum {high:g} m")

    def reaction(self, stage: GuardStageName) -> Reaction:
        """Return what a stage does."""
        return self.reactions.get(stage, DEFAULT_REACTIONS[stage])
