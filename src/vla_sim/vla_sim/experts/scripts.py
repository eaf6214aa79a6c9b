# SPDX-License-Identifier: Apache-2.0
"""The phases of each task, and the expert that goes through them."""

import math

import numpy as np

from vla_core.actions.action_space import ActionSpace
from vla_core.errors import VlaError
from vla_core.geometry import FloatArray, Pose
from vla_sim.experts.grasps import grasp_yaw, nearest_yaw, pointing_down, yaw_of
from vla_sim.experts.phases import Condition, Goal, Phase, PhasedExpert
from vla_sim.scene.layout import scene_layout
from vla_sim.scene.model import BLOCK_SIZE_M
from vla_sim.task_state import TabletopState
from vla_sim.tasks import (
    SIDE_SIGN,
    TASKS,
    DrawerMoved,
    InDrawer,
    Lifted,
    LightTurned,
    Pushed,
    SliderMoved,
    Stacked,
)

OPEN, CLOSED = 1.0, 0.0
ABOVE_M = 0.12
CARRY_M = 0.16
DRAWER_WIDE_OPEN_M = 0.125


def make_expert(task_name: str, space: ActionSpace | None = None) -> PhasedExpert:
    """Return the expert for a task.

    Args:
        task_name: Name in ``tasks.TASKS``.
        space: Meaning of the actions to produce; the physical tool frame at CALVIN's scale by default.

    Raises:
        VlaError: No expert knows this task.
    """
    if task_name not in TASKS:
        raise VlaError(f"no expert knows the task '{task_name}'. Tasks: {', '.join(TASKS)}")
    is_success = TASKS[task_name].is_success
    match is_success:
        case Lifted(block):
            phases = _lift(block, CARRY_M)
        case Pushed(block, side):
            phases = _push(block, SIDE_SIGN[side])
        case Stacked(upper, lower):
            phases = _stack(upper, lower)
        case InDrawer(block):
            phases = _place_in_drawer(block)
        case DrawerMoved("open"):
            phases = _open_drawer()
        case DrawerMoved("closed"):
            phases = _close_drawer()
        case SliderMoved(side):
            phases = _move_slider(SIDE_SIGN[side])
        case LightTurned():
            phases = _press_button()
        case _:
            raise VlaError(f"no expert knows how to reach {is_success} of task '{task_name}'")
    return PhasedExpert(phases, is_success, space or ActionSpace(frame="tcp"))


def _grasp(block: str) -> list[Phase]:
    def over(height_m: float | None) -> Goal:
        def goal(state: TabletopState, pose: Pose) -> Pose:
            x, y, z = state.blocks[block].position_m
            return pointing_down([x, y, height_m or z], grasp_yaw(state, block, yaw_of(pose)))

        return goal

    return [
        Phase(goal=over(ABOVE_M), gripper_open=OPEN, near_m=0.012, near_rad=0.08),
        Phase(goal=over(None), gripper_open=OPEN, speed=0.8),
        _grip(lambda state: state.held == block),
    ]


def _grip(is_held: Condition) -> Phase:
    return Phase(goal=_stay, gripper_open=CLOSED, min_ticks=3, max_ticks=10, until=is_held, require=is_held)


def _lift(block: str, height_m: float) -> list[Phase]:
    return [*_grasp(block), Phase(goal=_at_height(height_m), gripper_open=CLOSED, near_m=0.015)]


def _push(block: str, sign: float) -> list[Phase]:
    def beside(ahead_m: float, height_m: float) -> Goal:
        def goal(state: TabletopState, pose: Pose) -> Pose:
            x, y, _ = state.blocks[block].position_m
            return pointing_down([x, y + sign * ahead_m, height_m], _across(pose))

        return goal

    return [
        Phase(goal=beside(-0.065, ABOVE_M), gripper_open=CLOSED, near_m=0.015, near_rad=0.1),
        Phase(goal=beside(-0.065, 0.028), gripper_open=CLOSED),
        Phase(goal=beside(0.07, 0.028), gripper_open=CLOSED, speed=0.6, max_ticks=40),
        _leave(_at_height(ABOVE_M), CLOSED),
    ]


def _stack(upper: str, lower: str) -> list[Phase]:
    def over(gap_m: float) -> Goal:
        def goal(state: TabletopState, pose: Pose) -> Pose:
            held, base = state.blocks[upper], state.blocks[lower]
            # The block may sit a little off the middle of the fingers: what counts is where it is, not the TCP.
            in_hand_m = held.position_m - pose.position_m
            target_m = base.position_m + _up(BLOCK_SIZE_M + gap_m) - in_hand_m
            return pointing_down(target_m, _aligned(state, upper, lower, pose))

        return goal

    return [
        *_lift(upper, CARRY_M),
        Phase(goal=over(0.09), gripper_open=CLOSED, near_m=0.01, require=lambda state: state.held == upper),
        Phase(goal=over(0.03), gripper_open=CLOSED, near_m=0.003, speed=0.5, max_ticks=30),
        Phase(goal=over(0.002), gripper_open=CLOSED, near_m=0.003, speed=0.3, max_ticks=30),
        _release(),
        _leave(_risen(0.1), OPEN),
    ]


def _place_in_drawer(block: str) -> list[Phase]:
    layout = scene_layout()

    def over_drawer(height_m: float) -> Goal:
        def goal(state: TabletopState, pose: Pose) -> Pose:
            x, y, _ = layout.handle_at(state)
            return pointing_down([x, y + 0.115, height_m], nearest_yaw(0.0, math.pi, yaw_of(pose)))

        return goal

    return [
        *_lift(block, 0.2),
        Phase(goal=over_drawer(0.2), gripper_open=CLOSED, near_m=0.012, require=lambda state: state.held == block),
        Phase(goal=over_drawer(0.1), gripper_open=CLOSED, near_m=0.01, max_ticks=30),
        _release(),
        _leave(_at_height(0.2), OPEN),
    ]


def _open_drawer() -> list[Phase]:
    layout = scene_layout()
    behind_m = 0.0275  # the middle of the gap between handle and drawer front

    def hooked(pull_m: float, height_m: float) -> Goal:
        def goal(state: TabletopState, pose: Pose) -> Pose:
            x, y, z = layout.handle_at(state)
            return pointing_down([x, y + behind_m - pull_m, z + height_m], _across(pose))

        return goal

    return [
        Phase(goal=hooked(0.0, 0.06), gripper_open=CLOSED, near_m=0.005),
        Phase(goal=hooked(0.0, 0.002), gripper_open=CLOSED, speed=0.6),
        Phase(
            goal=hooked(0.15, 0.002),
            gripper_open=CLOSED,
            speed=0.6,
            max_ticks=30,
            until=lambda state: state.drawer_m > DRAWER_WIDE_OPEN_M,
        ),
        _leave(_risen(0.08), CLOSED),
    ]


def _close_drawer() -> list[Phase]:
    layout = scene_layout()

    def before_handle(gap_m: float, height_m: float) -> Goal:
        def goal(state: TabletopState, pose: Pose) -> Pose:
            x, y, z = layout.handle_at(state)
            return pointing_down([x, y - gap_m, z + height_m], _across(pose))

        return goal

    def shut(state: TabletopState, pose: Pose) -> Pose:
        x, y, z = layout.handle_m
        return pointing_down([x, y + 0.01, z + 0.004], _across(pose))

    return [
        Phase(goal=before_handle(0.055, ABOVE_M), gripper_open=CLOSED, near_m=0.015, near_rad=0.1),
        Phase(goal=before_handle(0.055, 0.004), gripper_open=CLOSED, near_m=0.01),
        Phase(goal=shut, gripper_open=CLOSED, speed=0.7, max_ticks=40, until=lambda state: state.drawer_m < 0.004),
        _leave(_risen(0.08), CLOSED),
    ]


def _move_slider(sign: float) -> list[Phase]:
    layout = scene_layout()

    def astride(along_m: float, height_m: float) -> Goal:
        def goal(state: TabletopState, pose: Pose) -> Pose:
            x, y, _ = layout.knob_at(state)
            return pointing_down([x, y + sign * along_m, height_m], nearest_yaw(0.0, math.pi, yaw_of(pose)))

        return goal

    return [
        Phase(goal=astride(0.0, ABOVE_M + 0.04), gripper_open=OPEN, near_m=0.012, near_rad=0.08),
        Phase(goal=astride(0.0, 0.06), gripper_open=OPEN, speed=0.8),
        # The open fingers leave some play around the knob before they take it along.
        Phase(goal=astride(0.135, 0.06), gripper_open=OPEN, speed=0.7, max_ticks=40),
        _leave(_risen(0.08), OPEN),
    ]


def _press_button() -> list[Phase]:
    x, y, z = scene_layout().button_m
    is_pressed = 0.012

    def over(height_m: float) -> Goal:
        return lambda state, pose: pointing_down([x, y, z + height_m], nearest_yaw(0.0, math.pi, yaw_of(pose)))

    return [
        Phase(goal=over(0.08), gripper_open=CLOSED, near_m=0.012, near_rad=0.15),
        Phase(
            goal=over(-0.005),
            gripper_open=CLOSED,
            speed=0.5,
            max_ticks=30,
            until=lambda state: state.button_m > is_pressed,
        ),
        _leave(over(0.08), CLOSED),
    ]


def _release() -> Phase:
    return Phase(goal=_stay, gripper_open=OPEN, min_ticks=4, max_ticks=6)


def _leave(goal: Goal, gripper_open: float) -> Phase:
    return Phase(goal=goal, gripper_open=gripper_open, near_m=0.02, near_rad=0.15)


def _stay(state: TabletopState, pose: Pose) -> Pose:
    return pose


def _at_height(height_m: float) -> Goal:
    return lambda state, pose: Pose(np.array([*pose.position_m[:2], height_m]), pose.rotation)


def _risen(rise_m: float) -> Goal:
    return lambda state, pose: Pose(pose.position_m + _up(rise_m), pose.rotation)


def _up(height_m: float) -> FloatArray:
    return np.array([0.0, 0.0, height_m])


def _across(pose: Pose) -> float:
    """Return the yaw whose closed fingers show their broad side to y of the base."""
    return nearest_yaw(math.pi / 2, math.pi, yaw_of(pose))


def _aligned(state: TabletopState, held: str, reference: str, pose: Pose) -> float:
    turns = [yaw_of(state.blocks[name]) for name in (held, reference)]
    current = yaw_of(pose)
    return nearest_yaw(current + turns[1] - turns[0], math.pi / 2, current)
