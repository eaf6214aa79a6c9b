# SPDX-License-Identifier: Apache-2.0
"""The robot spec: every fact about one robot, read from ``config/robots/<robot>.yaml``.

Topics are relative ROS names. Nothing that differs between robots or can move the arm has a default.
"""

from vla_core.robot_spec.command import (
    COMMAND_TYPES,
    JOINT_INTERFACES,
    CommandInterface,
    CommandSpec,
    KinematicsSpec,
)
from vla_core.robot_spec.gripper import (
    GRIPPER_ACTION_TYPES,
    GRIPPER_COMMAND_TYPE,
    GripperInterface,
    GripperSpec,
)
from vla_core.robot_spec.limits import (
    DEFAULT_REACTIONS,
    GuardStageName,
    KeepOutBox,
    LimitsSpec,
    Reaction,
)
from vla_core.robot_spec.robot import RobotSpec
from vla_core.robot_spec.streams import (
    CAMERA_NAMES,
    JOINTS_TYPE,
    TCP_POSE_TYPE,
    CameraName,
    CameraSpec,
    JointsSpec,
    TcpPoseSource,
    TcpPoseSpec,
)

__all__ = [
    "CAMERA_NAMES",
    "COMMAND_TYPES",
    "DEFAULT_REACTIONS",
    "GRIPPER_ACTION_TYPES",
    "GRIPPER_COMMAND_TYPE",
    "JOINTS_TYPE",
    "JOINT_INTERFACES",
    "TCP_POSE_TYPE",
    "CameraName",
    "CameraSpec",
    "CommandInterface",
    "CommandSpec",
    "GripperInterface",
    "GripperSpec",
    "GuardStageName",
    "JointsSpec",
    "KeepOutBox",
    "KinematicsSpec",
    "LimitsSpec",
    "Reaction",
    "RobotSpec",
    "TcpPoseSource",
    "TcpPoseSpec",
]
