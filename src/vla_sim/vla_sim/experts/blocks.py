# SPDX-License-Identifier: Apache-2.0
"""Skills on the blocks: lift, push, stack, place in the drawer."""

import math

import numpy as np

from vla_core.geometry import FloatArray, Pose, angle_rad
from vla_sim.experts.aim import CLOSED, OPEN, Aim, Skill
from vla_sim.experts.approach import Descent, closed_unless_around_a_block, over_and_down, risen
from vla_sim.experts.grasps import across_y, nearest_yaw, pick_up, pointing_down, yaw_of
from vla_sim.scene.layout import scene_layout
from vla_sim.scene.model import BLOCK_SIZE_M
from vla_sim.task_state import TabletopState

_LIFTED_M = 0.2
_BESIDE_M = 0.065  # of a block's middle, where the closed fingers stand before they push it
_PUSH_HEIGHT_M = 0.028
_STACKED_NEAR_M = 0.008
_OVER_DRAWER_M, _IN_DRAWER_M = 0.2, 0.1
_BEHIND_HANDLE_M = 0.115  # the middle of the drawer's floor
_DRAWER_NEAR_M = 0.025


def lift(block: str) -> Skill:
    """Return the skill that takes a block and lifts it."""

    def aim(state: TabletopState, pose: Pose) -> Aim:
        if state.held == block:
            return Aim(Pose(np.array([*pose.position_m[:2], _LIFTED_M]), pose.rotation), CLOSED)
        return pick_up(block, state, pose)

    return aim


def push(block: str, sign: float) -> Skill:
    """Return the skill that pushes a block along y of the base, to the side of ``sign``."""

    def aim(state: TabletopState, pose: Pose) -> Aim:
        x, y, _ = state.blocks[block].position_m
        across = across_y(pose)
        behind_m = sign * (y - pose.position_m[1])
        beside = pointing_down([x, y - sign * _BESIDE_M, _PUSH_HEIGHT_M], across)
        is_behind = 0.015 < behind_m < 0.085 and abs(pose.position_m[0] - x) < 0.02
        if is_behind and pose.position_m[2] < _PUSH_HEIGHT_M + 0.005 and angle_rad(pose, beside) < 0.35:
            # At the height where it is: fingers that come down while they touch a block press it into the table.
            onwards = pointing_down([x, pose.position_m[1] + sign * 0.05, pose.position_m[2]], across)
            wanted = Aim(onwards, CLOSED, 0.7)
        else:
            wanted = over_and_down(beside, pose, CLOSED, Descent(near_m=0.01, near_rad=0.15))
        return closed_unless_around_a_block(wanted, state, pose)

    return aim


def stack(upper: str, lower: str) -> Skill:
    """Return the skill that puts a block on another one."""

    def aim(state: TabletopState, pose: Pose) -> Aim:
        if state.held != upper:
            return pick_up(upper, state, pose)
        held, base = state.blocks[upper], state.blocks[lower]
        # The block may sit a little off the middle of the fingers: what counts is where it is, not the TCP.
        in_hand_m = held.position_m - pose.position_m
        place = pointing_down(
            base.position_m + np.array([0.0, 0.0, BLOCK_SIZE_M + 0.002]) - in_hand_m,
            _aligned(state, upper, lower, pose),
        )
        above_m = held.position_m[2] - base.position_m[2] - BLOCK_SIZE_M
        is_stacked = above_m < 0.007 and _aside_m(held, base) < 1.5 * _STACKED_NEAR_M
        if is_stacked:
            return Aim(pose, OPEN)
        near = Descent(height_m=0.07, near_m=0.004, speed=0.6)
        return over_and_down(place, pose, CLOSED, near)

    return aim


def place_in_drawer(block: str) -> Skill:
    """Return the skill that puts a block into the open drawer."""
    layout = scene_layout()

    def aim(state: TabletopState, pose: Pose) -> Aim:
        if state.held != block:
            return pick_up(block, state, pose)
        x, y, _ = layout.handle_at(state)
        inside = pointing_down([x, y + _BEHIND_HANDLE_M, _IN_DRAWER_M], nearest_yaw(0.0, math.pi, yaw_of(pose)))
        is_over = np.linalg.norm(pose.position_m[:2] - inside.position_m[:2]) < _DRAWER_NEAR_M
        if is_over and pose.position_m[2] < _IN_DRAWER_M + 0.02:
            return Aim(pose, OPEN)
        if is_over:
            return Aim(inside, CLOSED)
        if pose.position_m[2] < _OVER_DRAWER_M - 0.04:
            return Aim(_towards_at_height(pose, inside), CLOSED)
        return Aim(risen(inside, _OVER_DRAWER_M - _IN_DRAWER_M), CLOSED)

    return aim


def _towards_at_height(pose: Pose, place: Pose) -> Pose:
    """Return a pose high above the table, only a little nearer to a place."""
    share = 0.3 * np.clip((pose.position_m[2] - 0.1) / 0.1, 0.0, 1.0)
    sideways = pose.position_m[:2] + share * (place.position_m[:2] - pose.position_m[:2])
    return Pose(np.array([*sideways, _OVER_DRAWER_M + 0.02]), pose.rotation)


def _aside_m(upper: Pose, lower: Pose) -> float:
    apart: FloatArray = upper.position_m[:2] - lower.position_m[:2]
    return float(np.linalg.norm(apart))


def _aligned(state: TabletopState, held: str, reference: str, pose: Pose) -> float:
    turns = [yaw_of(state.blocks[name]) for name in (held, reference)]
    current = yaw_of(pose)
    return nearest_yaw(current + turns[1] - turns[0], math.pi / 2, current)
