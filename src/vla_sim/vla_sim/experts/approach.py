# SPDX-License-Identifier: Apache-2.0
"""Ways that skills share: over a place and then down to it, up and away, a block put back."""

from dataclasses import dataclass

import numpy as np

from vla_core.geometry import FloatArray, Pose, angle_rad
from vla_sim.experts.aim import CLOSED, OPEN, Aim
from vla_sim.task_state import TabletopState

CLEAR_M = 0.08
_PUT_BACK_M = 0.05
_BETWEEN_M = np.array(
    [0.022, 0.03, 0.045]
)  # of the TCP, along the tool's axes: a block this near is between the fingers


@dataclass(frozen=True, kw_only=True)
class Descent:
    """How to come down to a place.

    Attributes:
        height_m: How far above the place to be before going down.
        near_m: How far to the side the tool may be at the place; higher up it may be further.
        near_rad: How far it may still have to turn.
        lost_m: Low and further to the side than this, the tool rises before it travels.
        speed: Of going down, as in ``Aim``.
    """

    height_m: float = CLEAR_M
    near_m: float = 0.012
    near_rad: float = 0.2
    lost_m: float = 0.03
    speed: float = 0.8


def over_and_down(place: Pose, pose: Pose, gripper_open: float, descent: Descent) -> Aim:
    """Return the aim of a tool that comes to a place from above.

    Args:
        place: Where the tool shall be.
        pose: Where it is.
        gripper_open: 0 or 1.
        descent: How to come down.
    """
    aside_m = float(np.linalg.norm(pose.position_m[:2] - place.position_m[:2]))
    above_m = float(pose.position_m[2] - place.position_m[2])
    may_turn_rad = descent.near_rad + 4.0 * max(0.0, above_m - 0.04)
    is_over = aside_m < descent.near_m + 0.15 * max(0.0, above_m) and angle_rad(pose, place) < may_turn_rad
    if is_over:
        return Aim(place, gripper_open, descent.speed)
    over = _at(place, place.position_m[2] + descent.height_m)
    if above_m < 0.6 * descent.height_m and aside_m > descent.lost_m:
        share = np.clip(above_m / descent.height_m, 0.0, 1.0) ** 2
        sideways = pose.position_m[:2] + share * (place.position_m[:2] - pose.position_m[:2])
        return Aim(Pose(np.array([*sideways, over.position_m[2]]), pose.rotation), gripper_open)
    return Aim(over, gripper_open)


def risen(pose: Pose, rise_m: float) -> Pose:
    """Return a pose straight above another one."""
    return _at(pose, pose.position_m[2] + rise_m)


def _at(pose: Pose, height_m: float) -> Pose:
    return Pose(np.array([*pose.position_m[:2], height_m]), pose.rotation)


def put_back(state: TabletopState, pose: Pose) -> Aim:
    """Return the aim of a tool that holds what it should not: low enough, then let go."""
    gripper_open = OPEN if pose.position_m[2] < _PUT_BACK_M else CLOSED
    return Aim(_at(pose, min(pose.position_m[2], _PUT_BACK_M - 0.01)), gripper_open)


def is_around_a_block(state: TabletopState, pose: Pose) -> bool:
    """Whether closing the fingers would take a block."""
    return any(_is_between_fingers(block.position_m, pose) for block in state.blocks.values())


def closed_unless_around_a_block(aim: Aim, state: TabletopState, pose: Pose) -> Aim:
    """Return an aim with closed fingers that leave behind what stands between them."""
    if state.held is not None:
        return put_back(state, pose)
    if is_around_a_block(state, pose):
        return Aim(risen(pose, CLEAR_M), OPEN)
    return Aim(aim.pose, CLOSED, aim.speed)


def _is_between_fingers(position_m: FloatArray, pose: Pose) -> bool:
    in_tool = pose.rotation.inv().apply(position_m - pose.position_m)
    return bool(np.all(np.abs(in_tool) < _BETWEEN_M))
