# SPDX-License-Identifier: Apache-2.0
"""How the tool is turned towards things, straight down at the yaw that suits, and takes hold of them."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from vla_core.geometry import FloatArray, Pose, angle_rad
from vla_sim.experts.aim import CLOSED, OPEN, Aim
from vla_sim.experts.approach import Descent, over_and_down, put_back
from vla_sim.task_state import TabletopState

# Tool axis down; at yaw 0 the fingers open along y of the base.
_DOWN = Rotation.from_euler("x", math.pi)
_FINGER_ASIDE_M, _FINGER_CLEARANCE_M = 0.05, 0.035
_TURNS_BACK_RAD = 0.6
_REACH_RAD = 1.9  # of yaw, on either side: the last joint is near its limit beyond
_GRASP_NEAR_M, _GRASP_NEAR_RAD = 0.012, 0.25


def pointing_down(position_m: FloatArray | Sequence[float], yaw_rad: float) -> Pose:
    """Return the pose of a tool that points straight down."""
    return Pose(np.array(position_m, dtype=np.float64), Rotation.from_euler("z", yaw_rad) * _DOWN)


def yaw_of(pose: Pose) -> float:
    """Return the yaw of a block that lies flat, or of a tool that points (about) straight down."""
    matrix = pose.rotation.as_matrix()
    return math.atan2(matrix[1, 0], matrix[0, 0])


def nearest_yaw(yaw_rad: float, symmetry_rad: float, current_rad: float) -> float:
    """Return the yaw that is equivalent under a symmetry (at most half a turn), within reach, and nearest."""
    turns = np.arange(math.ceil((-_REACH_RAD - yaw_rad) / symmetry_rad), (_REACH_RAD - yaw_rad) / symmetry_rad)
    within_reach = yaw_rad + symmetry_rad * turns
    return float(within_reach[np.argmin(np.abs(within_reach - current_rad))])


def along_y(pose: Pose) -> float:
    """Return the yaw whose fingers open along y of the base, the nearer of two."""
    return nearest_yaw(0.0, math.pi, yaw_of(pose))


def across_y(pose: Pose) -> float:
    """Return the yaw whose fingers open along x of the base: of two, always the same from where an arm begins."""
    return math.pi / 2 if yaw_of(pose) > -_TURNS_BACK_RAD else -math.pi / 2


def grasp_yaw(state: TabletopState, block: str, current_rad: float) -> float:
    """Return the nearest yaw at which the open fingers clear the other blocks, or else the clearest one."""
    pose = state.blocks[block]
    candidates = [nearest_yaw(yaw_of(pose) + turn, math.pi, current_rad) for turn in (0.0, math.pi / 2)]
    others = [other.position_m[:2] for name, other in state.blocks.items() if name != block]

    def clearance_m(yaw_rad: float) -> float:
        across = np.array([-math.sin(yaw_rad), math.cos(yaw_rad)]) * _FINGER_ASIDE_M
        fingers = [pose.position_m[:2] + side * across for side in (-1, 1)]
        gap_m = min(float(np.linalg.norm(finger - other)) for finger in fingers for other in others)
        return min(gap_m, _FINGER_CLEARANCE_M)

    return max(candidates, key=lambda yaw: (clearance_m(yaw), -abs(yaw - current_rad)))


def pick_up(block: str, state: TabletopState, pose: Pose) -> Aim:
    """Return the aim of a tool that takes hold of a block which it does not hold yet."""
    if state.held is not None:
        return put_back(state, pose)
    position_m = state.blocks[block].position_m
    grasp = pointing_down(position_m, grasp_yaw(state, block, yaw_of(pose)))
    is_at_it = (
        np.linalg.norm(pose.position_m[:2] - position_m[:2]) < _GRASP_NEAR_M
        and abs(pose.position_m[2] - position_m[2]) < _GRASP_NEAR_M
        and angle_rad(pose, grasp) < _GRASP_NEAR_RAD
    )
    if is_at_it:
        return Aim(grasp, CLOSED)
    return over_and_down(grasp, pose, OPEN, Descent(height_m=0.09, near_m=0.005))
