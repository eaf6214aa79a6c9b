# SPDX-License-Identifier: Apache-2.0
"""The robot spec: every fact about one robot, read from ``config/robots/<robot>.yaml``.

Topics are relative ROS names. Nothing that differs between robots or can move the arm has a default.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from vla_core.config import load_config

CameraName = Literal["static", "wrist"]
CAMERA_NAMES: tuple[CameraName, ...] = get_args(CameraName)
_ROS_NAME = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")
CommandInterface = Literal["target_pose", "twist", "joint_trajectory", "forward_position"]
TCP_POSE_TYPE, JOINTS_TYPE = "geometry_msgs/msg/PoseStamped", "sensor_msgs/msg/JointState"
COMMAND_TYPES: dict[CommandInterface, str] = {
    "target_pose": "geometry_msgs/msg/PoseStamped",
    "twist": "geometry_msgs/msg/TwistStamped",
    "joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
    "forward_position": "std_msgs/msg/Float64MultiArray",
}
GRIPPER_COMMAND_TYPE = "std_msgs/msg/Float64MultiArray"


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
        _require_positive(self, "width_px", "height_px")
        _require_age_above_period(self.rate_hz, self.max_age_ms, self.delay_ms)
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
        rate_hz: Rate at which the driver publishes.
        max_age_ms: A pose older than this at a tick is refused.
        delay_ms: How much later than the measurement the driver stamps; taken off each stamp.
    """

    topic: str
    rate_hz: float
    max_age_ms: float
    delay_ms: float = 0.0

    def __post_init__(self) -> None:
        _require_age_above_period(self.rate_hz, self.max_age_ms, self.delay_ms)


@dataclass(frozen=True, kw_only=True)
class JointsSpec:
    """Stream of joint positions: ``sensor_msgs/msg/JointState``, looked up by name.

    Attributes:
        topic: Relative topic.
        names: Arm joints from base to tip.
        lower_rad: Lower limit of each joint, radians.
        upper_rad: Upper limit of each joint, radians.
        rate_hz: Rate at which the driver publishes.
        max_age_ms: A state older than this at a tick is refused.
        delay_ms: How much later than the measurement the driver stamps; taken off each stamp.
    """

    topic: str
    names: tuple[str, ...]
    lower_rad: tuple[float, ...]
    upper_rad: tuple[float, ...]
    rate_hz: float
    max_age_ms: float
    delay_ms: float = 0.0

    def __post_init__(self) -> None:
        _require_age_above_period(self.rate_hz, self.max_age_ms, self.delay_ms)
        if len(set(self.names)) != len(self.names) or not self.names:
            raise ValueError(f"names must list each joint once, found {list(self.names)}")
        for key in ("lower_rad", "upper_rad"):
            if len(getattr(self, key)) != len(self.names):
                found = len(getattr(self, key))
                raise ValueError(f"{key} has {found} values for {len(self.names)} joints")
        for name, lower, upper in zip(self.names, self.lower_rad, self.upper_rad, strict=True):
            if lower >= upper:
                raise ValueError(f"joint '{name}': lower_rad {lower:g} is not below upper_rad {upper:g}")


@dataclass(frozen=True, kw_only=True)
class GripperSpec:
    """The gripper: how its opening is read and commanded.

    Attributes:
        joint: Joint of the joint-state stream that tells the opening.
        joint_closed: Position of that joint when closed (m or rad, as the driver says).
        joint_open: Position of that joint when open.
        topic: Relative topic of the command, ``std_msgs/msg/Float64MultiArray`` with one value.
        command_closed: Value that closes the gripper.
        command_open: Value that opens the gripper.
        hysteresis: Width of the band around ``gripper_open`` 0.5 in which the last decision, open or close,
            stays as it is.
    """

    joint: str
    joint_closed: float
    joint_open: float
    topic: str
    command_closed: float
    command_open: float
    hysteresis: float

    def __post_init__(self) -> None:
        if self.joint_closed == self.joint_open:
            raise ValueError(f"joint_closed and joint_open are both {self.joint_open:g}; polarity is unknown")
        if self.command_closed == self.command_open:
            raise ValueError(
                f"command_closed and command_open are both {self.command_open:g}; the gripper could not move"
            )
        if not 0.0 < self.hysteresis < 1.0:
            raise ValueError(f"hysteresis must be between 0 and 1, found {self.hysteresis:g}")


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
    """

    interface: CommandInterface
    topics: dict[CommandInterface, str]
    rate_hz: float
    reference: Literal["target", "measured"]
    reanchor_m: float
    reanchor_rad: float

    def __post_init__(self) -> None:
        _require_positive(self, "rate_hz", "reanchor_m", "reanchor_rad")
        if self.interface not in self.topics:
            raise ValueError(
                f"interface '{self.interface}' has no topic; topics holds {sorted(self.topics)}. Add it there"
            )

    @property
    def topic(self) -> str:
        """Topic of the interface in use."""
        return self.topics[self.interface]


@dataclass(frozen=True, kw_only=True)
class LimitsSpec:
    """What the guard never lets pass.

    Attributes:
        max_step_m: Largest motion of one policy action, metres.
        max_step_rad: Largest rotation of one policy action, radians.
        max_speed_m_s: Largest speed of the commanded TCP.
        max_speed_rad_s: Largest angular speed of the commanded TCP.
        workspace_min_m: Lower corner of the box, base frame, that the TCP target stays in.
        workspace_max_m: Upper corner of that box.
    """

    max_step_m: float
    max_step_rad: float
    max_speed_m_s: float
    max_speed_rad_s: float
    workspace_min_m: tuple[float, float, float]
    workspace_max_m: tuple[float, float, float]

    def __post_init__(self) -> None:
        _require_positive(self, "max_step_m", "max_step_rad", "max_speed_m_s", "max_speed_rad_s")
        for axis, low, high in zip("xyz", self.workspace_min_m, self.workspace_max_m, strict=True):
            if low >= high:
                raise ValueError(f"workspace {axis}: minimum {low:g} m is not below maximum {high:g} m")


@dataclass(frozen=True, kw_only=True)
class RobotSpec:
    """Every fact about one robot.

    Attributes:
        name: Name of the robot.
        base_frame: Frame in which poses and the workspace box are given.
        tcp_frame: Frame of the tool centre point.
        cameras: Camera name to stream; the suite's names are ``static`` and ``wrist``.
        tcp_pose: Stream of the measured TCP pose.
        joints: Stream of joint positions.
        gripper: The gripper.
        command: How the arm is commanded.
        limits: What the guard never lets pass.
    """

    name: str
    base_frame: str
    tcp_frame: str
    cameras: dict[str, CameraSpec]
    tcp_pose: TcpPoseSpec
    joints: JointsSpec
    gripper: GripperSpec
    command: CommandSpec
    limits: LimitsSpec

    def __post_init__(self) -> None:
        unknown = sorted(set(self.cameras) - set(CAMERA_NAMES))
        if unknown or not self.cameras:
            raise ValueError(f"cameras must be of {list(CAMERA_NAMES)}, found {unknown or 'none'}")
        if self.base_frame == self.tcp_frame:
            raise ValueError(f"base_frame and tcp_frame are both '{self.base_frame}'")
        if self.gripper.joint in self.joints.names:
            raise ValueError(f"gripper joint '{self.gripper.joint}' is also listed as an arm joint")
        for key, frame in {"base_frame": self.base_frame, "tcp_frame": self.tcp_frame}.items():
            if not frame.strip():
                raise ValueError(f"{key} is empty; name a frame")
        seen: dict[str, str] = {}
        for key, topic in self._topics().items():
            if not _ROS_NAME.fullmatch(topic):
                raise ValueError(f"{key}: '{topic}' is no ROS topic name; use letters, digits, '_' and '/'")
            if topic in seen:
                raise ValueError(f"{key} and {seen[topic]} share the topic '{topic}'; each needs its own")
            seen[topic] = key

    def _topics(self) -> dict[str, str]:
        topics = {f"cameras.{name}": camera.topic for name, camera in self.cameras.items()}
        topics |= {f"command.topics.{name}": topic for name, topic in self.command.topics.items()}
        topics |= {"tcp_pose": self.tcp_pose.topic, "joints": self.joints.topic}
        return topics | {"gripper": self.gripper.topic}

    @classmethod
    def load(cls, path: Path | str) -> "RobotSpec":
        """Return the robot spec in a YAML file.

        Raises:
            ConfigError: The file does not describe a robot; the message names file and key.
        """
        return load_config(path, cls)


def _require_positive(spec: object, *keys: str) -> None:
    for key in keys:
        if getattr(spec, key) <= 0:
            raise ValueError(f"{key} must be above 0, found {getattr(spec, key):g}")


def _require_age_above_period(rate_hz: float, max_age_ms: float, delay_ms: float) -> None:
    if rate_hz <= 0:
        raise ValueError(f"rate_hz must be above 0, found {rate_hz:g}")
    if max_age_ms <= 1e3 / rate_hz + max(delay_ms, 0.0):
        delay = f" and a delay_ms of {delay_ms:g}" if delay_ms else ""
        raise ValueError(
            f"max_age_ms {max_age_ms:g} is not above one period of {1e3 / rate_hz:g} ms (rate_hz {rate_hz:g})"
            f"{delay}; every sample would be refused. Raise max_age_ms or the driver's rate"
        )
