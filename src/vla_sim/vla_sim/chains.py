# SPDX-License-Identifier: Apache-2.0
"""Several tasks one after the other in the same world: which are possible in a state, and which comes next.

CALVIN draws its chains beforehand from a symbolic state. Here the next task is chosen when it is due, from where
the things really are: a block that was knocked away makes no chain unfair. A seed gives the order in which tasks
are preferred, and the next one is the first of those left that is possible; so equal seeds and states give equal
chains, and policies that leave the same behind are asked the same.

As in CALVIN, a block that was lifted is still in the hand when the next sentence comes, which puts it somewhere.
"""

from collections.abc import Iterable

import numpy as np

from vla_core.geometry import FloatArray
from vla_sim.scene.layout import scene_layout
from vla_sim.scene.model import BLOCK_SIZE_M
from vla_sim.start_state import (
    BLOCK_AREA_MAX_M,
    BLOCK_AREA_MIN_M,
    BLOCK_DISTANCE_M,
    LANE_AHEAD_M,
    LANE_BEHIND_M,
    LANE_HALF_WIDTH_M,
)
from vla_sim.task_state import TabletopState
from vla_sim.tasks import (
    DRAWER_OPEN_M,
    SIDE_SIGN,
    TASKS,
    DrawerMoved,
    InDrawer,
    Lifted,
    LightTurned,
    Pushed,
    SliderMoved,
    Stacked,
    Task,
)

AREA_MARGIN_M = 0.03  # blocks may lie this far outside of where they lie at a start
DRAWER_SHUT_M = 0.015
DRAWER_TRAVEL_M = 0.14
HANDLE_HALF_WIDTH_M = 0.10
BUTTON_UP_M = 0.003  # a button that is still down cannot be pressed
SLIDER_ROOM_M = 0.02  # the slider is on one side when it is this far from the middle


def next_task(seed: int, done: Iterable[str], state: TabletopState, num_left: int) -> str:
    """Return the task that a chain goes on with.

    Where nothing is possible (a full hand, and no place for what it holds), it is the first of those left that is
    possible with an empty hand, or the first of all: the arm must then let go.

    Args:
        seed: Seed of the chain.
        done: Tasks that it has asked for; none comes twice.
        state: Where the things are now.
        num_left: How many tasks are still to come, with this one.
    """
    names = np.array(list(TASKS))
    past = set(done)
    left = [str(name) for name in np.random.default_rng([seed, 5]).permutation(names) if name not in past]
    for name in left:
        if is_possible(TASKS[name], state) and (num_left == 1 or _leads_on(TASKS[name], state, left)):
            return name
    return next((name for name in left if _is_free_to_do(TASKS[name], state)), left[0])


def is_possible(task: Task, state: TabletopState) -> bool:
    """Return whether a task can be done from a state, and is not done already."""
    if task.is_success(state, state):
        return False
    match task.is_success:
        case Stacked(upper, lower):
            return _is_at_hand(upper, state) and _is_clear(lower, state, besides=upper)
        case InDrawer(block):
            return _is_at_hand(block, state) and state.drawer_m >= DRAWER_OPEN_M
        case _:
            return state.held is None and _is_free_to_do(task, state)


def stages_of(task: Task) -> frozenset[str]:
    """Return the tasks that are done on the way to a task: what is stacked or put away was lifted before."""
    match task.is_success:
        case Stacked(block, _) | InDrawer(block):
            return frozenset(name for name, other in TASKS.items() if other.is_success == Lifted(block))
        case _:
            return frozenset()


def _is_free_to_do(task: Task, state: TabletopState) -> bool:
    """Return whether a task can be done by an empty hand."""
    match task.is_success:
        case Lifted(block):
            return _is_clear(block, state)
        case Pushed(block, side):
            return _is_clear(block, state) and _has_free_lane(block, SIDE_SIGN[side], state)
        case DrawerMoved("open"):
            return state.drawer_m < DRAWER_SHUT_M and _is_way_free(state)
        case DrawerMoved("closed"):
            return state.drawer_m >= DRAWER_OPEN_M - 0.005
        case SliderMoved(side):
            return -SIDE_SIGN[side] * state.slider_m >= SLIDER_ROOM_M
        case LightTurned(is_on):
            return state.is_light_on != is_on and state.button_m < BUTTON_UP_M
        case _:
            return False


def _leads_on(task: Task, state: TabletopState, left: list[str]) -> bool:
    """Return whether another task can follow: what is lifted must have somewhere to go."""
    if not isinstance(task.is_success, Lifted):
        return True
    followers = [TASKS[name] for name in left if task.name in stages_of(TASKS[name])]
    return any(is_possible(follower, state) for follower in followers)


def _is_at_hand(block: str, state: TabletopState) -> bool:
    return state.held == block or (state.held is None and _is_clear(block, state))


def _is_clear(block: str, state: TabletopState, besides: str | None = None) -> bool:
    """Return whether a block lies flat where blocks lie at a start, with room around it and nothing on it."""
    position_m = state.blocks[block].position_m
    place_m = position_m[:2]
    is_in_area = bool(
        np.all(place_m > BLOCK_AREA_MIN_M - AREA_MARGIN_M) and np.all(place_m < BLOCK_AREA_MAX_M + AREA_MARGIN_M)
    )
    is_flat = abs(position_m[2] - BLOCK_SIZE_M / 2) < 0.005
    gaps_m = [
        float(np.linalg.norm(other.position_m[:2] - place_m))
        for name, other in state.blocks.items()
        if name not in (block, besides)
    ]
    return is_in_area and is_flat and min(gaps_m) > BLOCK_DISTANCE_M


def _has_free_lane(block: str, sign: float, state: TabletopState) -> bool:
    """Return whether a block can be pushed from outside of the way of the others, and stays on the table."""
    here = state.blocks[block].position_m
    is_inside = BLOCK_AREA_MIN_M[1] - 0.01 <= here[1] <= BLOCK_AREA_MAX_M[1] + 0.01
    apart = [_along(other.position_m - here, sign) for name, other in state.blocks.items() if name != block]
    blocked = [
        abs(across_m) < LANE_HALF_WIDTH_M and -LANE_BEHIND_M < ahead_m < LANE_AHEAD_M
        for across_m, ahead_m in apart
    ]
    return bool(is_inside) and not any(blocked)


def _along(apart_m: FloatArray, sign: float) -> tuple[float, float]:
    return float(apart_m[0]), float(sign * apart_m[1])


def _is_way_free(state: TabletopState) -> bool:
    """Return whether no block stands where the drawer comes to."""
    x, y, _ = scene_layout().handle_m
    reach_m = y - DRAWER_TRAVEL_M - BLOCK_SIZE_M
    places = [pose.position_m for pose in state.blocks.values()]
    return not any(abs(place[0] - x) < HANDLE_HALF_WIDTH_M and place[1] > reach_m for place in places)
