# SPDX-License-Identifier: Apache-2.0
"""The gripper of a robot: how its opening is read and commanded."""

from dataclasses import dataclass
from typing import Literal

GRIPPER_COMMAND_TYPE = "std_msgs/msg/Float64MultiArray"
GripperInterface = Literal["topic", "gripper_command", "parallel_gripper_command"]
GRIPPER_ACTION_TYPES: dict[GripperInterface, str] = {
    "gripper_command": "control_msgs/action/GripperCommand",
    "parallel_gripper_command": "control_msgs/action/ParallelGripperCommand",
}


@dataclass(frozen=True, kw_only=True)
class GripperSpec:
    """The gripper: how its opening is read and commanded.

    Attributes:
        joint: Joint of the joint-state stream that tells the opening.
        joint_closed: Position of that joint when closed (m or rad, as the driver says).
        joint_open: Position of that joint when open.
        interface: ``topic``: ``std_msgs/msg/Float64MultiArray`` with one value. ``gripper_command`` and
            ``parallel_gripper_command``: the actions of ``control_msgs`` of these names.
        topic: Relative topic of the command, for ``interface: topic``.
        action: Relative name of the action, for the two others.
        command_closed: Value that closes the gripper.
        command_open: Value that opens the gripper.
        hysteresis: Width of the band around ``gripper_open`` 0.5 in which the last decision, open or close,
            stays as it is.
        min_dwell_s: The gripper is asked for nothing new for this long after a change, seconds.
        max_effort: Largest effort that an action asks for (N or Nm, as the driver says); 0 for the driver's own.
    """

    joint: str
    joint_closed: float
    joint_open: float
    interface: GripperInterface = "topic"
    topic: str | None = None
    action: str | None = None
    command_closed: float
    command_open: float
    hysteresis: float
    min_dwell_s: float = 0.3
    max_effort: float = 0.0

    def __post_init__(self) -> None:
        if self.joint_closed == self.joint_open:
            raise ValueError(f"joint_closed and joint_open are both {self.joint_open:g}; polarity is unknown")
        if self.command_closed == self.command_open:
            raise ValueError(
                f"command_closed and command_open are both {self.command_open:g}; the gripper could not move"
            )
        key, other = ("topic", "action") if self.interface == "topic" else ("action", "topic")
        if getattr(self, key) is None or getattr(self, other) is not None:
            raise ValueError(
                f"interface '{self.interface}' needs '{key}' and has no '{other}', found topic {self.topic!r}, "
                f"action {self.action!r}"
            )
        if self.min_dwell_s < 0.0 or self.max_effort < 0.0:
            raise ValueError(
                f"min_dwell_s and max_effort may not be negative, found {self.min_dwell_s:g}, {self.max_effort:g}"
            )
        if not 0.0 < self.hysteresis < 1.0:
            raise ValueError(f"hysteresis must be between 0 and 1, found {self.hysteresis:g}")
