# SPDX-License-Identifier: Apache-2.0
"""Ways that skills share: over a place and then down to it, up and away, a block put back."""

from dataclasses import dataclass

import numpy as np

from vla_core.geometry import FloatArray, Pose, angle_rad
from vla_sim.experts.aim import CLOSED, OPEN, Aim
from vla_sim.task_state import TabletopState

CLEAR_M = 0.08
_PUT_BACK_M = 0.05
_BETWEEN_M = np.array([0.014, 0.03, 0.04])  # along the tool's axes, of a block between the fingers
_LOW_M = 0.005
_TURN_WIDTH_RAD = 0.5


@dataclass(frozen=True, kw_only=True)
class Descent:
    """A funnel over a place: the further aside or turned away, the higher the tool must be.

    Its wall is continuous, so that states that look alike ask for like motions: a policy that learns from examples
    gives the mean of what it has seen nearby, and the mean of up and down is to stay.

    Attributes:
        height_m: How far above the place the funnel begins.
        near_m: How far aside the tool may be at the place itself.
        near_rad: How far it may still have to turn there.
        width_m: From ``near_m`` on, the distance aside over which the wall rises to its full height.
        speed: Of going down, as in ``Aim``.
    """

    height_m: float = CLEAR_M
    near_m: float = 0.006
    near_rad: float = 0.1
    width_m: float = 0.03
    speed: float = 0.8


def over_and_down(place: Pose, pose: Pose, gripper_open: float, descent: Descent) -> Aim:
    """Return the aim of a tool that comes to a place through a funnel above it.

    Args:
        place: Where the tool shall be.
        pose: Where it is.
        gripper_open: 0 or 1.
        descent: The funnel.
    """
    aside_m = float(np.linalg.norm(pose.position_m[:2] - place.position_m[:2]))
    above_m = float(pose.position_m[2] - place.position_m[2])
    turned = (angle_rad(pose, place) - descent.near_rad) / _TURN_WIDTH_RAD
    share = np.clip(max((aside_m - descent.near_m) / descent.width_m, turned), 0.0, 1.0)
    wall_m = float(share) * descent.height_m
    # Outside of the funnel the way leads up first, and sideways as far as the height allows.
    free = float(np.clip(above_m / wall_m, 0.0, 1.0)) ** 2 if wall_m > _LOW_M else 1.0
    sideways = pose.position_m[:2] + free * (place.position_m[:2] - pose.position_m[:2])
    aim = Pose(np.array([*sideways, place.position_m[2] + wall_m]), place.rotation)
    return Aim(aim, gripper_open, 1.0 if share > 0.5 else descent.speed)


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
