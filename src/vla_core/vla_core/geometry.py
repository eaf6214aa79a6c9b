# SPDX-License-Identifier: Apache-2.0
"""Rigid poses: compose, invert, interpolate, compare.

A pose of frame ``c`` in frame ``a`` is named ``pose_c_in_a``. Quaternions are unit, ``xyzw``. Euler angles are
extrinsic x-y-z (roll, pitch, yaw; the ROS and URDF convention): ``R = Rz(yaw) @ Ry(pitch) @ Rx(roll)``. All arrays
are float64, metres and radians.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid pose, or a row of N of them.

    ``from_euler``, ``euler_xyz_rad``, ``compose``, ``invert`` and ``relative`` take rows; the rest is for one.

    Attributes:
        position_m: (3,) or (N, 3) float64, metres.
        rotation: Orientation, a scipy ``Rotation`` of one or N elements.
    """

    position_m: FloatArray
    rotation: Rotation

    @classmethod
    def from_quat(cls, position_m: ArrayLike, quat_xyzw: ArrayLike) -> "Pose":
        """Return a pose from a position and a quaternion; a near-unit quaternion is normalised.

        Raises:
            ValueError: A value is not finite, or the quaternion is not near unit length.
        """
        position = np.array(position_m, dtype=np.float64)
        quat = np.array(quat_xyzw, dtype=np.float64)
        norm = float(np.linalg.norm(quat))
        if position.shape != (3,) or quat.shape != (4,) or not np.all(np.isfinite(position)):
            raise ValueError(f"a pose needs 3 finite metres and 4 quaternion values, found {position} {quat}")
        if not abs(norm - 1.0) < 1e-2:
            raise ValueError(f"quaternion {quat.tolist()} (xyzw) has length {norm:.4g}; it must be 1")
        return cls(position, Rotation.from_quat(quat))

    @classmethod
    def from_euler(cls, position_m: ArrayLike, euler_xyz_rad: ArrayLike) -> "Pose":
        """Return a pose from a position (..., 3) and extrinsic x-y-z angles (..., 3)."""
        rotation = Rotation.from_euler("xyz", np.asarray(euler_xyz_rad, dtype=np.float64))
        return cls(np.array(position_m, dtype=np.float64), rotation)

    @classmethod
    def identity(cls) -> "Pose":
        """Return the pose of a frame in itself."""
        return cls(np.zeros(3), Rotation.identity())

    @property
    def quat_xyzw(self) -> FloatArray:
        """Orientation as a (4,) unit quaternion."""
        return np.asarray(self.rotation.as_quat(), dtype=np.float64)

    @property
    def euler_xyz_rad(self) -> FloatArray:
        """Orientation as (..., 3) extrinsic x-y-z angles."""
        return euler_xyz_from_matrix(self.rotation.as_matrix())

    @property
    def matrix(self) -> FloatArray:
        """The pose as a (4, 4) homogeneous matrix."""
        m = np.eye(4)
        m[:3, :3] = self.rotation.as_matrix()
        m[:3, 3] = self.position_m
        return m

    def __repr__(self) -> str:
        xyz = ", ".join(f"{v:.4f}" for v in self.position_m)
        rpy = ", ".join(f"{v:.4f}" for v in self.euler_xyz_rad)
        return f"Pose(position_m=[{xyz}], euler_xyz_rad=[{rpy}])"


def compose(pose_b_in_a: Pose, pose_c_in_b: Pose) -> Pose:
    """Return ``pose_c_in_a``."""
    position_m = pose_b_in_a.position_m + pose_b_in_a.rotation.apply(pose_c_in_b.position_m)
    return Pose(position_m, pose_b_in_a.rotation * pose_c_in_b.rotation)


def invert(pose_b_in_a: Pose) -> Pose:
    """Return ``pose_a_in_b``."""
    inverse = pose_b_in_a.rotation.inv()
    return Pose(-inverse.apply(pose_b_in_a.position_m), inverse)


def relative(pose_b_in_a: Pose, pose_c_in_a: Pose) -> Pose:
    """Return ``pose_c_in_b``, so that ``compose(pose_b_in_a, pose_c_in_b)`` is ``pose_c_in_a``."""
    inverse = pose_b_in_a.rotation.inv()
    position_m = inverse.apply(pose_c_in_a.position_m - pose_b_in_a.position_m)
    return Pose(position_m, inverse * pose_c_in_a.rotation)


def distance_m(a: Pose, b: Pose) -> float:
    """Return the distance between the origins of two poses, in metres."""
    return math.dist(a.position_m, b.position_m)


def angle_rad(a: Pose, b: Pose) -> float:
    """Return the angle of the rotation that leads from ``a`` to ``b``, in [0, pi]."""
    return float((a.rotation.inv() * b.rotation).magnitude())


def step_towards(start: Pose, target: Pose, fraction: float) -> Pose:
    """Return the pose at ``fraction`` of the straight way from ``start`` to ``target``.

    Position is linear, orientation follows the shortest rotation (slerp). ``fraction`` is not limited to [0, 1].
    """
    position_m = start.position_m + fraction * (target.position_m - start.position_m)
    rotvec = (start.rotation.inv() * target.rotation).as_rotvec()
    return Pose(position_m, start.rotation * Rotation.from_rotvec(fraction * rotvec))


def shortened(vector: FloatArray, longest: float) -> FloatArray:
    """Return a vector scaled down to a length of at most ``longest``; its direction stays."""
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else np.asarray(vector * (longest / length))


def wrap_angle(angle_rad: Any) -> Any:
    """Return angles wrapped to [-pi, pi)."""
    return (np.asarray(angle_rad) + np.pi) % (2.0 * np.pi) - np.pi


def euler_xyz_from_matrix(matrix: ArrayLike) -> FloatArray:
    """Return (..., 3) extrinsic x-y-z angles of (..., 3, 3) rotation matrices.

    At gimbal lock (pitch of +-pi/2) yaw is set to 0, and the angles still reproduce the matrix.
    """
    m = np.asarray(matrix, dtype=np.float64)
    cos_pitch = np.hypot(m[..., 0, 0], m[..., 1, 0])
    is_locked = cos_pitch < 1e-9
    roll = np.where(is_locked, np.arctan2(-m[..., 1, 2], m[..., 1, 1]), np.arctan2(m[..., 2, 1], m[..., 2, 2]))
    yaw = np.where(is_locked, 0.0, np.arctan2(m[..., 1, 0], m[..., 0, 0]))
    return np.stack([roll, np.arctan2(-m[..., 2, 0], cos_pitch), yaw], axis=-1)
