# SPDX-License-Identifier: Apache-2.0
"""Streams of a robot: cameras, TCP pose, joints."""

from dataclasses import dataclass
from typing import Literal, get_args

from vla_core.robot_spec.require import require_age_above_period, require_positive

CameraName = Literal["static", "wrist"]
CAMERA_NAMES: tuple[CameraName, ...] = get_args(CameraName)
TCP_POSE_TYPE, JOINTS_TYPE = "geometry_msgs/msg/PoseStamped", "sensor_msgs/msg/JointState"
TcpPoseSource = Literal["topic", "tf", "joints"]


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """One camera stream.

    Attributes:
        topic: Relative topic of the images.
        type: ROS type of the images.
        frame: Optical frame of the camera.
        width_px: Width of the images.
        height_px: Height of the images.
        rate_hz: Rate at which the driver publishes.
        max_age_ms: An image older than this at a tick is refused.
        frozen_after_ms: Identical pictures under fresh stamps for this long or longer are refused; ``null`` for a
            source that may honestly repeat itself (a noise-free rendering).
        delay_ms: How much later than the exposure the driver stamps; taken off each stamp.
    """

    topic: str
    type: Literal["sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"]
    frame: str
    width_px: int
    height_px: int
    rate_hz: float
    max_age_ms: float
    frozen_after_ms: float | None
    delay_ms: float = 0.0

    def __post_init__(self) -> None:
        require_positive(self, "width_px", "height_px")
        require_age_above_period(self.rate_hz, self.max_age_ms, self.delay_ms)
        if self.frozen_after_ms is not None and self.frozen_after_ms <= 1e3 / self.rate_hz:
            raise ValueError(
                f"frozen_after_ms {self.frozen_after_ms:g} is not above one camera period of "
                f"{1e3 / self.rate_hz:g} ms; raise it, or set null to accept identical pictures"
            )


@dataclass(frozen=True, kw_only=True)
class TcpPoseSpec:
    """Stream of the measured TCP pose: ``geometry_msgs/msg/PoseStamped`` in the base frame.

    Attributes:
        topic: Relative topic.
        source: Who publishes it: the driver (``topic``), or the suite's ``tcp_pose_publisher``, which reads ``tf``
            or computes it from the ``joints`` by the robot's ``kinematics``.
        rate_hz: Rate at which it is published.
        max_age_ms: A pose older than this at a tick is refused.
        delay_ms: How much later than the measurement the driver stamps; taken off each stamp.
    """

    topic: str
    source: TcpPoseSource = "topic"
    rate_hz: float
    max_age_ms: float
    delay_ms: float = 0.0

    def __post_init__(self) -> None:
        require_age_above_period(self.rate_hz, self.max_age_ms, self.delay_ms)


@dataclass(frozen=True, kw_only=True)
class JointsSpec:
    """Stream of joint positions: ``sensor_msgs/msg/JointState``, looked up by name.

    Attributes:
        topic: Relative topic.
        names: Arm joints from base to tip.
        lower_rad: Lower limit of each joint, radians.
        upper_rad: Upper limit of each joint, radians.
        max_speed_rad_s: Largest speed of each joint that a joint interface asks for; ``null`` for that of the
            URDF.
        rate_hz: Rate at which the driver publishes.
        max_age_ms: A state older than this at a tick is refused.
        delay_ms: How much later than the measurement the driver stamps; taken off each stamp.
    """

    topic: str
    names: tuple[str, ...]
    lower_rad: tuple[float, ...]
    upper_rad: tuple[float, ...]
    max_speed_rad_s: tuple[float, ...] | None = None
    rate_hz: float
    max_age_ms: float
    delay_ms: float = 0.0

    def __post_init__(self) -> None:
        require_age_above_period(self.rate_hz, self.max_age_ms, self.delay_ms)
        if len(set(self.names)) != len(self.names) or not self.names:
            raise ValueError(f"names must list each joint once, found {list(self.names)}")
        for key in ("lower_rad", "upper_rad", "max_speed_rad_s"):
            values = getattr(self, key)
            if values is not None and len(values) != len(self.names):
                raise ValueError(f"{key} has {len(values)} values for {len(self.names)} joints")
        for name, lower, upper in zip(self.names, self.lower_rad, self.upper_rad, strict=True):
            if lower >= upper:
                raise ValueError(f"joint '{name}': lower_rad {lower:g} is not below upper_rad {upper:g}")
        if self.max_speed_rad_s is not None and min(self.max_speed_rad_s) <= 0.0:
            raise ValueError(f"max_speed_rad_s must be above 0, found {list(self.max_speed_rad_s)}")
