# SPDX-License-Identifier: Apache-2.0
"""The poses that actions ask for, and how far they lie from each other."""

import numpy as np
from numpy.typing import ArrayLike

from vla_core.actions.action_space import ActionSpace, target_pose
from vla_core.geometry import FloatArray, Pose, relative


def targets_of(space: ActionSpace, poses: FloatArray, arm: ArrayLike) -> Pose:
    """Return the M poses that M normalised arm actions ask for, in base.

    Args:
        space: Meaning of the actions.
        poses: (M, 6) poses that they are relative to: position (m), extrinsic x-y-z angles (rad), TCP in base.
        arm: (M, 6) normalised actions.
    """
    return target_pose(space, Pose.from_euler(poses[:, :3], poses[:, 3:6]), arm)


def offsets(found: Pose, wanted: Pose) -> FloatArray:
    """Return (M, 6) where M poses lie as seen from others, in the tool's axes.

    Columns: three millimetres, then three degrees of a rotation vector.
    """
    apart = relative(wanted, found)
    return np.concatenate([apart.position_m * 1e3, np.degrees(apart.rotation.as_rotvec())], axis=1)
