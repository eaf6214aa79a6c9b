# SPDX-License-Identifier: Apache-2.0
"""How the tool is turned towards things: straight down, at the yaw that suits."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from vla_core.geometry import FloatArray, Pose
from vla_sim.task_state import TabletopState

# Tool axis down; at yaw 0 the fingers open along y of the base.
_DOWN = Rotation.from_euler("x", math.pi)
_FINGER_CLEARANCE_M = 0.05


def pointing_down(position_m: FloatArray | Sequence[float], yaw_rad: float) -> Pose:
    """Return the pose of a tool that points straight down."""
    return Pose(np.array(position_m, dtype=np.float64), Rotation.from_euler("z", yaw_rad) * _DOWN)


def yaw_of(pose: Pose) -> float:
    """Return the yaw of a block that lies flat, or of a tool that points (about) straight down."""
    matrix = pose.rotation.as_matrix()
    return math.atan2(matrix[1, 0], matrix[0, 0])


def nearest_yaw(yaw_rad: float, symmetry_rad: float, current_rad: float) -> float:
    """Return the yaw that is equivalent under a symmetry and nearest to the current one."""
    return yaw_rad + symmetry_rad * round((current_rad - yaw_rad) / symmetry_rad)


def grasp_yaw(state: TabletopState, block: str, current_rad: float) -> float:
    """Return the yaw at which the open fingers clear the other blocks, the nearest if several do."""
    pose = state.blocks[block]
    nearest = nearest_yaw(yaw_of(pose), math.pi / 2, current_rad)
    candidates = [nearest, *(nearest + turn for turn in (-math.pi / 2, math.pi / 2))]
    others = [other.position_m[:2] for name, other in state.blocks.items() if name != block]

    def clearance_m(yaw_rad: float) -> float:
        across = np.array([-math.sin(yaw_rad), math.cos(yaw_rad)]) * _FINGER_CLEARANCE_M
        fingers = [pose.position_m[:2] + side * across for side in (-1, 1)]
        gap_m = min(float(np.linalg.norm(finger - other)) for finger in fingers for other in others)
        return min(gap_m, _FINGER_CLEARANCE_M)

    return max(candidates, key=lambda yaw: (clearance_m(yaw), -abs(yaw - current_rad)))
