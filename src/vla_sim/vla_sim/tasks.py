# SPDX-License-Identifier: Apache-2.0
"""The tasks as data: sentences, the scene each starts from, and when it has succeeded.

Left and right are those of the static camera's picture, as in CALVIN: left is towards -y of the base frame.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vla_core.errors import VlaError
from vla_sim.scene.model import BLOCK_SIZE_M
from vla_sim.task_state import TabletopState

Side = Literal["left", "right"]
SIDE_SIGN = {"left": -1.0, "right": 1.0}
DRAWER_OPEN_M = 0.10
Success = Callable[[TabletopState, TabletopState], bool]


@dataclass(frozen=True, kw_only=True)
class StartScene:
    """What must hold when a task begins; ``None`` leaves it to chance.

    Attributes:
        drawer_m: Range of the drawer's opening.
        slider_m: Range of the slider's place.
        is_light_on: Whether the light shines.
        free_lane: A block and the side on which no other block stands in its way.
    """

    drawer_m: tuple[float, float] | None = None
    slider_m: tuple[float, float] | None = None
    is_light_on: bool | None = None
    free_lane: tuple[str, Side] | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One thing to do.

    Attributes:
        name: Name in code, topics and tables.
        sentences: Ways of asking for it.
        held_out_sentences: Further ways, kept for tests: no demonstration shows them.
        start: What must hold when it begins.
        is_success: Whether a state fulfils the task, given the state at its start.
    """

    name: str
    sentences: tuple[str, ...]
    held_out_sentences: tuple[str, ...]
    start: StartScene
    is_success: Success


@dataclass(frozen=True)
class Lifted:
    """The block is in the gripper and 5 cm higher than at the start."""

    block: str

    def __call__(self, start: TabletopState, state: TabletopState) -> bool:  # noqa: D102
        rise_m = state.blocks[self.block].position_m[2] - start.blocks[self.block].position_m[2]
        return state.held == self.block and bool(rise_m > 0.05)


@dataclass(frozen=True)
class Pushed:
    """The block is 7 cm further to a side, still on the table and not in the gripper."""

    block: str
    side: Side

    def __call__(self, start: TabletopState, state: TabletopState) -> bool:  # noqa: D102
        motion = state.blocks[self.block].position_m - start.blocks[self.block].position_m
        is_far = SIDE_SIGN[self.side] * motion[1] > 0.07
        return bool(is_far and abs(motion[2]) < 0.01) and state.held != self.block


@dataclass(frozen=True)
class Stacked:
    """The upper block rests on the lower one and has been let go."""

    upper: str
    lower: str

    def __call__(self, start: TabletopState, state: TabletopState) -> bool:  # noqa: D102
        apart = state.blocks[self.upper].position_m - state.blocks[self.lower].position_m
        is_on_top = abs(apart[2] - BLOCK_SIZE_M) < 0.005 and np.linalg.norm(apart[:2]) < 0.6 * BLOCK_SIZE_M
        return bool(is_on_top) and state.held != self.upper


@dataclass(frozen=True)
class InDrawer:
    """The block lies in the open drawer and has been let go."""

    block: str

    def __call__(self, start: TabletopState, state: TabletopState) -> bool:  # noqa: D102
        x, y, z = state.blocks[self.block].position_m
        front_y = 0.368 - state.drawer_m
        is_inside = abs(x - 0.5) < 0.09 and front_y < y < front_y + 0.2 and 0.01 < z < 0.06
        return bool(is_inside) and state.drawer_m > 0.05 and state.held != self.block


@dataclass(frozen=True)
class DrawerMoved:
    """The drawer is 8 cm further open (or closed), and nearly shut if it was to be closed."""

    direction: Literal["open", "closed"]

    def __call__(self, start: TabletopState, state: TabletopState) -> bool:  # noqa: D102
        motion_m = state.drawer_m - start.drawer_m
        return motion_m > 0.08 if self.direction == "open" else motion_m < -0.08 and state.drawer_m < 0.015


@dataclass(frozen=True)
class SliderMoved:
    """The slider is 8 cm further to a side."""

    side: Side

    def __call__(self, start: TabletopState, state: TabletopState) -> bool:  # noqa: D102
        return SIDE_SIGN[self.side] * (state.slider_m - start.slider_m) > 0.08


@dataclass(frozen=True)
class LightTurned:
    """The light is on (or off), and was not at the start."""

    is_on: bool

    def __call__(self, start: TabletopState, state: TabletopState) -> bool:  # noqa: D102
        return state.is_light_on == self.is_on and start.is_light_on != self.is_on


def _lift(colour: str) -> Task:
    return Task(
        name=f"lift_{colour}_block",
        sentences=(
            f"lift the {colour} block",
            f"pick up the {colour} block",
            f"grasp the {colour} block and lift it",
            f"lift up the {colour} cube",
            f"take the {colour} block from the table",
            f"pick the {colour} cube up",
            f"raise the {colour} block",
            f"grab the {colour} cube and raise it",
        ),
        held_out_sentences=(
            f"pick up the {colour} cube",
            f"grab the {colour} block and lift it up",
            f"take the {colour} cube and raise it from the table",
        ),
        start=StartScene(),
        is_success=Lifted(f"{colour}_block"),
    )


def _push(colour: str, side: Side) -> Task:
    return Task(
        name=f"push_{colour}_block_{side}",
        sentences=(
            f"push the {colour} block to the {side}",
            f"slide the {colour} block {side}",
            f"move the {colour} block to the {side}",
            f"push the {colour} cube {side}",
            f"shove the {colour} block to the {side} side",
            f"slide the {colour} cube to the {side}",
            f"move the {colour} cube {side}",
            f"push the {colour} block towards the {side} side",
        ),
        held_out_sentences=(
            f"push the {colour} block {side}",
            f"move the {colour} cube towards the {side}",
            f"slide the {colour} block to the {side} side of the table",
        ),
        start=StartScene(free_lane=(f"{colour}_block", side)),
        is_success=Pushed(f"{colour}_block", side),
    )


def _stack(upper: str, lower: str) -> Task:
    return Task(
        name=f"stack_{upper}_on_{lower}",
        sentences=(
            f"stack the {upper} block on the {lower} block",
            f"put the {upper} block on top of the {lower} block",
            f"place the {upper} cube on the {lower} cube",
            f"stack the {upper} cube on top of the {lower} one",
            f"set the {upper} block on the {lower} block",
            f"put the {upper} cube on the {lower} cube",
        ),
        held_out_sentences=(
            f"place the {upper} block on top of the {lower} block",
            f"set the {upper} cube on top of the {lower} cube",
            f"stack the {upper} cube on the {lower} block",
        ),
        start=StartScene(),
        is_success=Stacked(f"{upper}_block", f"{lower}_block"),
    )


def _move_slider(side: Side) -> Task:
    return Task(
        name=f"move_slider_{side}",
        sentences=(
            f"move the slider to the {side}",
            f"push the slider {side}",
            f"slide the knob to the {side}",
            f"move the knob {side}",
            f"push the slider to the {side} side",
            f"shove the slider towards the {side}",
        ),
        held_out_sentences=(
            f"push the knob to the {side}",
            f"move the slider {side}",
            f"slide the knob towards the {side} side",
        ),
        start=StartScene(slider_m=(0.02, 0.10) if side == "left" else (-0.10, -0.02)),
        is_success=SliderMoved(side),
    )


def _turn_light(word: str, *, is_on: bool) -> Task:
    return Task(
        name=f"turn_{word}_light",
        sentences=(
            f"press the button to turn {word} the light",
            f"turn {word} the light",
            f"switch the light {word}",
            f"turn the lamp {word}",
            f"switch {word} the lamp",
            f"push the button to switch the light {word}",
        ),
        held_out_sentences=(
            f"turn the light {word}",
            f"press the button to switch {word} the lamp",
            f"switch {word} the light with the button",
        ),
        start=StartScene(is_light_on=not is_on),
        is_success=LightTurned(is_on),
    )


_ALL = (
    *(_lift(colour) for colour in ("red", "blue", "pink")),
    *(_push(colour, side) for colour in ("red", "blue", "pink") for side in SIDE_SIGN),  # type: ignore[arg-type]
    _stack("red", "blue"),
    _stack("pink", "red"),
    Task(
        name="open_drawer",
        sentences=(
            "open the drawer",
            "pull the drawer open",
            "pull the handle of the drawer",
            "open up the drawer",
            "pull out the drawer",
            "take the handle and open the drawer",
        ),
        held_out_sentences=("pull the drawer out", "pull the handle to open the drawer", "open the drawer up"),
        start=StartScene(drawer_m=(0.0, 0.0)),
        is_success=DrawerMoved("open"),
    ),
    Task(
        name="close_drawer",
        sentences=(
            "close the drawer",
            "push the drawer shut",
            "shut the drawer",
            "push the drawer closed",
            "close up the drawer",
            "push the handle of the drawer to shut it",
        ),
        held_out_sentences=(
            "push the drawer in to close it",
            "push the handle and close the drawer",
            "push shut the drawer",
        ),
        start=StartScene(drawer_m=(DRAWER_OPEN_M, 0.14)),
        is_success=DrawerMoved("closed"),
    ),
    _turn_light("on", is_on=True),
    _turn_light("off", is_on=False),
    _move_slider("left"),
    _move_slider("right"),
    Task(
        name="place_pink_in_drawer",
        sentences=(
            "put the pink block in the drawer",
            "place the pink block into the open drawer",
            "drop the pink cube into the drawer",
            "put the pink cube in the open drawer",
            "take the pink block and put it into the drawer",
            "place the pink cube in the drawer",
        ),
        held_out_sentences=(
            "put the pink cube into the drawer",
            "drop the pink block into the open drawer",
            "take the pink cube and place it in the drawer",
        ),
        start=StartScene(drawer_m=(DRAWER_OPEN_M, 0.14)),
        is_success=InDrawer("pink_block"),
    ),
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def task_named(name: str) -> Task:
    """Return a task by its name.

    Raises:
        VlaError: There is no such task; the message holds a near name and all names.
    """
    if name in TASKS:
        return TASKS[name]
    near = difflib.get_close_matches(name, TASKS, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    raise VlaError(f"there is no task '{name}'{hint} Tasks: {', '.join(TASKS)}")
