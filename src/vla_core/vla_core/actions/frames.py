# SPDX-License-Identifier: Apache-2.0
"""Relative motions in SI units, in the two physical frames, each beside its inverse.

A motion is (6,) float64: three metres, three radians (extrinsic x-y-z angles). Rows of poses and motions (N, 6) go
through the same functions.

* ``tcp``: a rigid motion seen from the tool, ``T_base_target = T_base_tcp @ T(motion)``.
* ``base``: CALVIN's ``rel_actions`` (calvin_env ``utils.to_relative_action``): translation in base axes, and a
  difference of Euler angles. Adding Euler angles is CALVIN's definition, not ours.
"""

import numpy as np
from numpy.typing import ArrayLike

from vla_core.geometry import FloatArray, Pose, compose, relative, wrap_angle


def apply_tcp_motion(pose_tcp_in_base: Pose, motion: ArrayLike) -> Pose:
    """Return the target pose in base after ``motion`` seen from the tool frame."""
    motion = np.asarray(motion, dtype=np.float64)
    return compose(pose_tcp_in_base, Pose.from_euler(motion[..., :3], motion[..., 3:6]))


def tcp_motion_between(pose_tcp_in_base: Pose, pose_target_in_base: Pose) -> FloatArray:
    """Return the tool-frame motion that ``apply_tcp_motion`` turns into the target."""
    delta = relative(pose_tcp_in_base, pose_target_in_base)
    return np.concatenate([delta.position_m, delta.euler_xyz_rad], axis=-1)


def apply_base_motion(pose_tcp_in_base: Pose, motion: ArrayLike) -> Pose:
    """Return the target pose in base after CALVIN's base-frame ``motion``."""
    motion = np.asarray(motion, dtype=np.float64)
    position_m = pose_tcp_in_base.position_m + motion[..., :3]
    return Pose.from_euler(position_m, pose_tcp_in_base.euler_xyz_rad + motion[..., 3:6])


def base_motion_between(pose_tcp_in_base: Pose, pose_target_in_base: Pose) -> FloatArray:
    """Return the base-frame motion that ``apply_base_motion`` turns into the target; angles in [-pi, pi)."""
    translation_m = pose_target_in_base.position_m - pose_tcp_in_base.position_m
    start, end = pose_tcp_in_base.euler_xyz_rad, pose_target_in_base.euler_xyz_rad
    # Two triples of angles mean the target's rotation; beyond a pitch of 90 degrees the other one is the near one.
    other = end * [1.0, -1.0, 1.0] + np.pi
    plain, turned = wrap_angle(end - start), wrap_angle(other - start)
    is_near = np.abs(plain).max(axis=-1, keepdims=True) <= np.abs(turned).max(axis=-1, keepdims=True)
    return np.concatenate([translation_m, np.where(is_near, plain, turned)], axis=-1)
