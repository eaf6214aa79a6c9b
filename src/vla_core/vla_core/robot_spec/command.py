# SPDX-License-Identifier: Apache-2.0
"""How an arm is commanded, and the kinematics that the joint interfaces need."""

import math
from dataclasses import dataclass
from typing import Literal

from vla_core.robot_spec.require import require_positive

CommandInterface = Literal["target_pose", "twist", "joint_trajectory", "forward_position"]
COMMAND_TYPES: dict[CommandInterface, str] = {
    "target_pose": "geometry_msgs/msg/PoseStamped",
    "twist": "geometry_msgs/msg/TwistStamped",
    "joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
    "forward_position": "std_msgs/msg/Float64MultiArray",
}
JOINT_INTERFACES: frozenset[CommandInterface] = frozenset({"joint_trajectory", "forward_position"})


@dataclass(frozen=True, kw_only=True)
class CommandSpec:
    """How the arm is commanded.

    Attributes:
        interface: The interface in use; ``topics`` must hold its topic.
        topics: Interface name to relative topic, for each interface that the robot offers.
        rate_hz: Rate at which commands are sent.
        reference: A relative action is applied to the previous ``target`` (CALVIN's controller) or to the
            ``measured`` pose.
        reanchor_m: Under ``target``: start again from the measured pose when target and measurement are further
            apart than this, metres.
        reanchor_rad: The same for orientation, radians.
        twist_feedback_hz: Share of the way to the target that a twist makes up per second.
    """

    interface: CommandInterface
    topics: dict[CommandInterface, str]
    rate_hz: float
    reference: Literal["target", "measured"]
    reanchor_m: float
    reanchor_rad: float
    twist_feedback_hz: float = 3.0

    def __post_init__(self) -> None:
        require_positive(self, "rate_hz", "reanchor_m", "reanchor_rad")
        if self.twist_feedback_hz < 0.0 or not math.isfinite(self.twist_feedback_hz):
            raise ValueError(f"twist_feedback_hz may not be negative, found {self.twist_feedback_hz:g}")
        if self.interface not in self.topics:
            raise ValueError(
                f"interface '{self.interface}' has no topic; topics holds {sorted(self.topics)}. Add it there"
            )

    @property
    def topic(self) -> str:
        """Topic of the interface in use."""
        return self.topics[self.interface]


@dataclass(frozen=True, kw_only=True)
class KinematicsSpec:
    """Where the kinematics of the arm come from.

    Attributes:
        urdf: Path of the URDF, relative to the robot spec; ``null`` for ``urdf_topic``.
        urdf_topic: Relative topic (``std_msgs/msg/String``, latched) that tells the URDF; ``null`` for ``urdf``.
        base_link: Link whose frame is ``base_frame``.
        tip_link: Link that carries the tool.
        tcp_in_tip_position_m: Position of the TCP in the frame of ``tip_link``, metres.
        tcp_in_tip_euler_xyz_rad: Orientation of the TCP in that frame, extrinsic x-y-z angles, radians.
        posture_rad: Joint positions that a redundant arm leans towards, in the order of ``joints.names``; ``null``
            for the middle of the joint limits.
    """

    urdf: str | None = None
    urdf_topic: str | None = None
    base_link: str
    tip_link: str
    tcp_in_tip_position_m: tuple[float, float, float]
    tcp_in_tip_euler_xyz_rad: tuple[float, float, float]
    posture_rad: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if (self.urdf is None) == (self.urdf_topic is None):
            raise ValueError(f"give urdf or urdf_topic, found urdf {self.urdf!r}, urdf_topic {self.urdf_topic!r}")
