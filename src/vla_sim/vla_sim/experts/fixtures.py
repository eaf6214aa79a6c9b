# SPDX-License-Identifier: Apache-2.0
"""Skills on the furniture: drawer, slider, button."""

import numpy as np

from vla_core.geometry import Pose
from vla_sim.experts.aim import CLOSED, OPEN, Aim, Skill
from vla_sim.experts.approach import CLEAR_M, Descent, closed_unless_around_a_block, over_and_down, put_back, risen
from vla_sim.experts.grasps import across_y, along_y, pointing_down
from vla_sim.scene.layout import scene_layout
from vla_sim.task_state import TabletopState

_WIDE_OPEN_M = 0.125
_BEHIND_HANDLE_M = 0.0275  # the middle of the gap between handle and drawer front
_BEFORE_HANDLE_M = 0.055
_KNOB_HEIGHT_M = 0.06


def open_drawer() -> Skill:
    """Return the skill that hooks the closed fingers behind the handle and pulls."""
    layout = scene_layout()

    def aim(state: TabletopState, pose: Pose) -> Aim:
        x, y, z = layout.handle_at(state)
        hook = pointing_down([x, y + _BEHIND_HANDLE_M, z + 0.002], across_y(pose))
        aside_m = np.abs(pose.position_m[:2] - hook.position_m[:2])
        is_hooked = aside_m[0] < 0.026 and aside_m[1] < 0.022 and pose.position_m[2] < z + 0.012
        if is_hooked and state.drawer_m > _WIDE_OPEN_M:
            wanted = Aim(risen(pose, CLEAR_M), CLOSED)
        elif is_hooked:
            pulled = pointing_down([x, pose.position_m[1] - 0.05, z + 0.002], across_y(pose))
            wanted = Aim(pulled, CLOSED, 0.8)
        else:
            wanted = over_and_down(hook, pose, CLOSED, Descent(height_m=0.06, near_m=0.005, speed=0.7))
        return closed_unless_around_a_block(wanted, state, pose)

    return aim


def close_drawer() -> Skill:
    """Return the skill that pushes the drawer shut by its handle."""
    layout = scene_layout()

    def aim(state: TabletopState, pose: Pose) -> Aim:
        x, y, z = layout.handle_at(state)
        before = pointing_down([x, y - _BEFORE_HANDLE_M, z + 0.004], along_y(pose))
        gap_m = y - pose.position_m[1]
        is_before = 0.008 < gap_m < 0.08 and abs(pose.position_m[0] - x) < 0.035
        if is_before and pose.position_m[2] < z + 0.02:
            wanted = Aim(pointing_down([x, pose.position_m[1] + 0.05, z + 0.004], along_y(pose)), CLOSED, 0.8)
        else:
            descent = Descent(height_m=0.07, near_m=0.01, near_rad=0.2)
            wanted = over_and_down(before, pose, CLOSED, descent)
        return closed_unless_around_a_block(wanted, state, pose)

    return aim


def move_slider(sign: float) -> Skill:
    """Return the skill that takes the knob along y of the base between the open fingers."""
    layout = scene_layout()

    def aim(state: TabletopState, pose: Pose) -> Aim:
        if state.held is not None:
            return put_back(state, pose)
        x, y, _ = layout.knob_at(state)
        along = along_y(pose)
        astride = pointing_down([x, y, _KNOB_HEIGHT_M], along)
        # The open fingers leave some play around the knob before they take it along.
        is_astride = abs(pose.position_m[0] - x) < 0.02 and abs(pose.position_m[1] - y) < 0.034
        if is_astride and pose.position_m[2] < _KNOB_HEIGHT_M + 0.012:
            onwards = pointing_down([x, pose.position_m[1] + sign * 0.05, _KNOB_HEIGHT_M], along)
            return Aim(onwards, OPEN, 0.8)
        return over_and_down(astride, pose, OPEN, Descent(height_m=0.09, near_m=0.008))

    return aim


def press_button(is_on: bool) -> Skill:
    """Return the skill that presses the button if the light is not yet as wanted, and lets it come up first."""
    x, y, z = scene_layout().button_m

    def aim(state: TabletopState, pose: Pose) -> Aim:
        yaw = along_y(pose)
        pressed = pointing_down([x, y, z - 0.005], yaw)
        if state.is_light_on == is_on or state.is_button_down:
            wanted = Aim(pointing_down([x, y, z + CLEAR_M], yaw), CLOSED)
        else:
            wanted = over_and_down(pressed, pose, CLOSED, Descent(near_m=0.008, near_rad=0.2, speed=0.6))
        return closed_unless_around_a_block(wanted, state, pose)

    return aim
