# SPDX-License-Identifier: Apache-2.0
"""Skills on the blocks: lift, push, stack, place in the drawer."""

import numpy as np

from vla_core.geometry import FloatArray, Pose, angle_rad
from vla_sim.experts.aim import CLOSED, OPEN, Aim, Skill
from vla_sim.experts.approach import Descent, closed_unless_around_a_block, over_and_down
from vla_sim.experts.grasps import across_y, pick_up, pointing_down, yaw_of
from vla_sim.scene.layout import scene_layout
from vla_sim.scene.model import BLOCK_SIZE_M
from vla_sim.task_state import TabletopState

_LIFTED_M = 0.2
_PUSH_HEIGHT_M = 0.028
_BEHIND_M = (0.055, 0.075)  # of a block's middle, where the closed fingers stand before they push it
_STACKED_ASIDE_M, _STACKED_ABOVE_M = 0.014, 0.009
_IN_DRAWER_M = 0.1
_BEHIND_HANDLE_M = 0.115  # the middle of the drawer's floor
_OVER_DRAWER_ASIDE_M = 0.03


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
        behind_m = sign * (y - pose.position_m[1])
        beside = pointing_down([x, y - sign * np.clip(behind_m, *_BEHIND_M), _PUSH_HEIGHT_M], across_y(pose))
        readiness = _readiness_to_push(pose, beside, behind_m)
        if readiness > 0.0:
            wanted = Aim(_onwards(pose, beside, sign, readiness), CLOSED, 0.7)
        else:
            wanted = over_and_down(beside, pose, CLOSED, Descent(near_m=0.02, near_rad=0.15))
        return closed_unless_around_a_block(wanted, state, pose)

    return aim


def stack(upper: str, lower: str) -> Skill:
    """Return the skill that puts a block on another one, turned as it is."""

    def aim(state: TabletopState, pose: Pose) -> Aim:
        if state.held != upper:
            return pick_up(upper, state, pose)
        held, base = state.blocks[upper], state.blocks[lower]
        # The block may sit a little off the middle of the fingers: what counts is where it is, not the TCP.
        in_hand_m = held.position_m - pose.position_m
        on_top_m = base.position_m + np.array([0.0, 0.0, BLOCK_SIZE_M + 0.002])
        aside_m, above_m = _apart_m(held, base)
        if aside_m < _STACKED_ASIDE_M and above_m < BLOCK_SIZE_M + _STACKED_ABOVE_M:
            return Aim(pose, OPEN)
        place = pointing_down(on_top_m - in_hand_m, yaw_of(pose))
        return over_and_down(place, pose, CLOSED, Descent(height_m=0.07, near_m=0.008, speed=0.6))

    return aim


def place_in_drawer(block: str) -> Skill:
    """Return the skill that puts a block into the open drawer, turned as it is."""
    layout = scene_layout()

    def aim(state: TabletopState, pose: Pose) -> Aim:
        if state.held != block:
            return pick_up(block, state, pose)
        x, y, _ = layout.handle_at(state)
        inside = pointing_down([x, y + _BEHIND_HANDLE_M, _IN_DRAWER_M], yaw_of(pose))
        aside_m, above_m = _apart_m(pose, inside)
        if aside_m < _OVER_DRAWER_ASIDE_M and above_m < 0.02:
            return Aim(pose, OPEN)
        return over_and_down(inside, pose, CLOSED, Descent(height_m=0.11, near_m=0.02, width_m=0.04))

    return aim


def _readiness_to_push(pose: Pose, beside: Pose, behind_m: float) -> float:
    """Return 0 (aside, above, turned away, or not behind the block) to 1."""
    aside_m = abs(pose.position_m[0] - beside.position_m[0])
    above_m = abs(pose.position_m[2] - beside.position_m[2])
    nearness = [
        1.5 * (1.0 - aside_m / 0.025),
        1.5 * (1.0 - above_m / 0.018),
        1.5 * (1.0 - angle_rad(pose, beside) / 0.5),
        (behind_m - 0.015) / 0.01,
        (0.12 - behind_m) / 0.03,
    ]
    return float(np.clip(min(nearness), 0.0, 1.0))


def _onwards(pose: Pose, beside: Pose, sign: float, readiness: float) -> Pose:
    """Return where to go to push: the readier, the more it is forwards.

    Fingers that push stay about at their height: coming down while they touch a block, they press it into the
    table.
    """
    _, y, z = pose.position_m
    still = beside.position_m
    forwards = np.array([still[0], y + sign * 0.05, z + 0.3 * (still[2] - z)])
    return Pose((1.0 - readiness) * still + readiness * forwards, beside.rotation)


def _apart_m(upper: Pose, lower: Pose) -> tuple[float, float]:
    """Return how far one thing is aside of another, and how far above it."""
    apart: FloatArray = upper.position_m - lower.position_m
    return float(np.linalg.norm(apart[:2])), float(apart[2])
