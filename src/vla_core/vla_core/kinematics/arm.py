# SPDX-License-Identifier: Apache-2.0
"""A robot spec and its URDF as one arm: chain, limits, tool. A sentence says where they contradict each other."""

from dataclasses import dataclass

import numpy as np

from vla_core.errors import ConfigError
from vla_core.geometry import FloatArray, Pose
from vla_core.kinematics.urdf import UrdfJoint, read_chain
from vla_core.robot_spec import KinematicsSpec, RobotSpec

# URDFs and specs round pi differently; a difference of this size moves nothing.
_SAME_RAD = 2e-3


@dataclass(frozen=True, eq=False)
class Arm:
    """The kinematics of one serial arm.

    Attributes:
        chain: Joints from base to tip; those that move are the robot spec's, in its order.
        pose_tcp_in_tip: The tool centre point in the frame of the last link.
        lower_rad: (J,) lower joint limits.
        upper_rad: (J,) upper joint limits.
        max_speed_rad_s: (J,) largest joint speeds.
        posture_rad: (J,) joint positions that a redundant arm leans towards.
    """

    chain: tuple[UrdfJoint, ...]
    pose_tcp_in_tip: Pose
    lower_rad: FloatArray
    upper_rad: FloatArray
    max_speed_rad_s: FloatArray
    posture_rad: FloatArray

    @property
    def turns_freely(self) -> bool:
        """Whether the arm can give its tool any orientation at a place: it has six joints or more."""
        return len(self.lower_rad) >= 6


def make_arm(spec: RobotSpec, kinematics: KinematicsSpec, urdf: str, source: str) -> Arm:
    """Return the arm that a robot spec and a URDF describe together.

    Args:
        spec: The robot.
        kinematics: Its section of that name.
        urdf: Text of the URDF.
        source: Where the text comes from, for the sentences.

    Raises:
        ConfigError: The URDF is damaged or does not fit the robot spec.
    """
    chain = read_chain(urdf, source, kinematics.base_link, kinematics.tip_link)
    moving = {joint.name: joint for joint in chain if joint.moves}
    _require_same_joints(spec, kinematics, tuple(moving), source)
    for joint in moving.values():
        _require_turning(joint, source)
    joints = spec.joints
    lower, upper = np.array(joints.lower_rad), np.array(joints.upper_rad)
    for name, spec_lower, spec_upper in zip(joints.names, lower, upper, strict=True):
        _require_within(moving[name], spec_lower, spec_upper, source)
    posture = (lower + upper) / 2.0 if kinematics.posture_rad is None else np.array(kinematics.posture_rad)
    for name, low, value, high in zip(joints.names, lower, posture, upper, strict=True):
        if not low <= value <= high:
            raise ConfigError(
                f"robot spec '{spec.name}': kinematics.posture_rad of joint '{name}' is {value:g}, its limits are "
                f"{low:g} to {high:g} rad"
            )
    return Arm(
        chain=chain,
        pose_tcp_in_tip=Pose.from_euler(kinematics.tcp_in_tip_position_m, kinematics.tcp_in_tip_euler_xyz_rad),
        lower_rad=lower,
        upper_rad=upper,
        max_speed_rad_s=_speeds(spec, moving, source),
        posture_rad=posture,
    )


def _require_same_joints(spec: RobotSpec, kinematics: KinematicsSpec, found: tuple[str, ...], source: str) -> None:
    wanted = spec.joints.names
    if found != wanted:
        raise ConfigError(
            f"{source}: the joints that move between '{kinematics.base_link}' and '{kinematics.tip_link}' are "
            f"{list(found)}, joints.names of robot spec '{spec.name}' are {list(wanted)}. List these joints, from "
            "base to tip, or choose other links"
        )


def _require_turning(joint: UrdfJoint, source: str) -> None:
    if joint.type not in ("revolute", "continuous"):
        raise ConfigError(
            f"{source}: joint '{joint.name}' is {joint.type}; an arm's joints are revolute or continuous"
        )
    if joint.mimics is not None:
        raise ConfigError(
            f"{source}: joint '{joint.name}' mimics '{joint.mimics}'; it cannot be commanded by itself"
        )


def _require_within(joint: UrdfJoint, lower_rad: float, upper_rad: float, source: str) -> None:
    if lower_rad < joint.lower_rad - _SAME_RAD or upper_rad > joint.upper_rad + _SAME_RAD:
        raise ConfigError(
            f"{source}: joint '{joint.name}' has the limits {joint.lower_rad:g} to {joint.upper_rad:g} rad, the "
            f"robot spec says {lower_rad:g} to {upper_rad:g}, which is wider. Narrow the robot spec's"
        )


def _speeds(spec: RobotSpec, joints: dict[str, UrdfJoint], source: str) -> FloatArray:
    wanted = spec.joints.max_speed_rad_s
    speeds = [joints[name].max_speed_rad_s for name in spec.joints.names] if wanted is None else list(wanted)
    for name, speed in zip(spec.joints.names, speeds, strict=True):
        allowed = joints[name].max_speed_rad_s
        if not 0.0 < speed < np.inf:
            raise ConfigError(f"{source}: joint '{name}' has no speed limit above 0; set joints.max_speed_rad_s")
        if speed > allowed + _SAME_RAD:
            raise ConfigError(
                f"{source}: joint '{name}' may turn at {allowed:g} rad/s, joints.max_speed_rad_s says "
                f"{speed:g}. Lower it"
            )
    return np.array(speeds)
