# SPDX-License-Identifier: Apache-2.0
"""Many actions to the poses that they ask for: ``target_pose`` of ``vla_core.actions`` over arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from vla_core.actions.action_space import ActionSpace
from vla_core.actions.normalization import expand, unnormalize, unstandardize
from vla_core.actions.robovlms_frame import robovlms_tcp_to_base
from vla_core.geometry import FloatArray


@dataclass(frozen=True, eq=False)
class Targets:
    """M poses of the tool centre point in base.

    Attributes:
        positions_m: (M, 3).
        rotations: M orientations.
    """

    positions_m: FloatArray
    rotations: Rotation


def targets_of(space: ActionSpace, poses: FloatArray, arm: ArrayLike) -> Targets:
    """Return the poses that M normalised arm actions ask for.

    Args:
        space: Meaning of the actions.
        poses: (M, 6) poses that they are relative to: position (m), extrinsic x-y-z angles (rad), TCP in base.
        arm: (M, 6) normalised actions.
    """
    motion = _units(space, np.asarray(arm, dtype=np.float64), poses[:, 3:6]) * space.scale
    if space.frame == "tcp":
        here = Rotation.from_euler("xyz", poses[:, 3:6])
        positions = poses[:, :3] + here.apply(motion[:, :3])
        return Targets(positions, here * Rotation.from_euler("xyz", motion[:, 3:]))
    return Targets(poses[:, :3] + motion[:, :3], Rotation.from_euler("xyz", poses[:, 3:6] + motion[:, 3:]))


def offsets(found: Targets, wanted: Targets) -> FloatArray:
    """Return (M, 6) where poses lie as seen from others, in the tool's axes.

    Columns: three millimetres, then three degrees of a rotation vector.
    """
    back = wanted.rotations.inv()
    shift_mm = back.apply(found.positions_m - wanted.positions_m) * 1e3
    turn_deg = np.degrees((back * found.rotations).as_rotvec())
    return np.concatenate([shift_mm, turn_deg], axis=1)


def _units(space: ActionSpace, arm: FloatArray, euler_xyz_rad: FloatArray) -> FloatArray:
    """Return motions in units of the scale: the steps of ``encode_motion`` backwards."""
    units = robovlms_tcp_to_base(arm, euler_xyz_rad) if space.frame == "robovlms_tcp" else arm
    if space.mu_law is not None:
        units = expand(units, space.mu_law)
    if space.standardization is not None:
        units = unstandardize(units, space.standardization)
    if space.normalization is not None:
        units = unnormalize(units, space.normalization)
    return np.asarray(units, dtype=np.float64)
