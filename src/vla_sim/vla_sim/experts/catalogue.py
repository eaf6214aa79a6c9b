# SPDX-License-Identifier: Apache-2.0
"""The skill that each task needs."""

from vla_core.actions.action_space import ActionSpace
from vla_core.errors import VlaError
from vla_sim.experts.aim import Skill
from vla_sim.experts.blocks import lift, place_in_drawer, push, stack
from vla_sim.experts.feedback import FeedbackExpert
from vla_sim.experts.fixtures import close_drawer, move_slider, open_drawer, press_button
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

EXPERT_SPACE = ActionSpace(frame="tcp", translation_m=0.03, rotation_rad=0.08)
"""Ten times a second this is what the simulated arm may do at most: see its robot spec."""


def make_expert(task_name: str, space: ActionSpace | None = None) -> FeedbackExpert:
    """Return the expert for a task.

    Args:
        task_name: Name in ``tasks.TASKS``.
        space: Meaning of the actions to produce; ``EXPERT_SPACE`` by default.

    Raises:
        VlaError: No expert knows this task.
    """
    if task_name not in TASKS:
        raise VlaError(f"no expert knows the task '{task_name}'. Tasks: {', '.join(TASKS)}")
    return FeedbackExpert(_skill(task_name), TASKS[task_name].is_success, space or EXPERT_SPACE)


def _skill(task_name: str) -> Skill:
    match TASKS[task_name].is_success:
        case Lifted(block):
            return lift(block)
        case Pushed(block, side):
            return push(block, SIDE_SIGN[side])
        case Stacked(upper, lower):
            return stack(upper, lower)
        case InDrawer(block):
            return place_in_drawer(block)
        case DrawerMoved("open"):
            return open_drawer()
        case DrawerMoved():
            return close_drawer()
        case SliderMoved(side):
            return move_slider(SIDE_SIGN[side])
        case LightTurned(is_on):
            return press_button(is_on)
        case other:
            raise VlaError(f"no expert knows how to reach {other} of task '{task_name}'")
