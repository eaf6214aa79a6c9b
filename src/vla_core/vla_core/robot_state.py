# SPDX-License-Identifier: Apache-2.0
"""What a policy may feel of the robot: the measured state as numbers without jumps."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vla_core.geometry import Pose
from vla_core.types import Observation

STATE_DIM = 10


def robot_state(observation: Observation) -> NDArray[np.float32]:
    """Return (10,) float32: TCP position in base (3, metres), first two columns of its rotation (6), gripper (1).

    Two columns of a rotation matrix determine it and have no jump at half a turn (Zhou et al., "On the Continuity
    of Rotation Representations in Neural Networks", 2019). The gripper is 0 closed to 1 open.
    """
    return state_of(observation.pose_tcp_in_base, [observation.gripper_open])


def state_of(pose_tcp_in_base: Pose, gripper_open: ArrayLike) -> NDArray[np.float32]:
    """Return (10,) float32, as ``robot_state``; of a row of N poses (N, 10).

    Args:
        pose_tcp_in_base: One pose, or N.
        gripper_open: (1,), or (N, 1).
    """
    matrix = pose_tcp_in_base.rotation.as_matrix()
    columns = [pose_tcp_in_base.position_m, matrix[..., 0], matrix[..., 1], np.asarray(gripper_open)]
    return np.concatenate(columns, axis=-1).astype(np.float32)
