# SPDX-License-Identifier: Apache-2.0
"""A whole robot."""

import re
from dataclasses import dataclass
from pathlib import Path

from vla_core.config import load_config
from vla_core.robot_spec.command import JOINT_INTERFACES, CommandSpec, KinematicsSpec
from vla_core.robot_spec.gripper import GripperSpec
from vla_core.robot_spec.limits import LimitsSpec
from vla_core.robot_spec.streams import CAMERA_NAMES, CameraSpec, JointsSpec, TcpPoseSpec

_ROS_NAME = re.compile(r"/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


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
        kinematics: Where the kinematics come from; joint interfaces and ``tcp_pose.source: joints`` need them.
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
    kinematics: KinematicsSpec | None = None

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
        self._require_kinematics()
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
        name = self.gripper.action if self.gripper.topic is None else self.gripper.topic
        assert name is not None, "the gripper spec has checked it"
        return topics | {"gripper": name}

    def _require_kinematics(self) -> None:
        kinematics = self.kinematics
        if kinematics is None:
            if self.command.interface in JOINT_INTERFACES:
                raise ValueError(f"command.interface '{self.command.interface}' needs the section 'kinematics'")
            if self.tcp_pose.source == "joints":
                raise ValueError("tcp_pose.source 'joints' needs the section 'kinematics'")
        elif kinematics.posture_rad is not None and len(kinematics.posture_rad) != len(self.joints.names):
            found = len(kinematics.posture_rad)
            raise ValueError(f"kinematics.posture_rad has {found} values for {len(self.joints.names)} joints")

    @classmethod
    def load(cls, path: Path | str) -> "RobotSpec":
        """Return the robot spec in a YAML file.

        Raises:
            ConfigError: The file does not describe a robot; the message names file and key.
        """
        return load_config(path, cls)
