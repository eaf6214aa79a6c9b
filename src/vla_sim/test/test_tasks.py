# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla_core.errors import VlaError
from vla_core.geometry import Pose
from vla_sim.scene.model import BLOCKS
from vla_sim.task_state import TabletopState
from vla_sim.tasks import TASKS

START = TabletopState(
    drawer_m=0.12,
    slider_m=0.0,
    button_m=0.0,
    is_button_down=False,
    is_light_on=False,
    blocks={
        name: Pose(np.array([0.4 + 0.05 * i, -0.1 * i, 0.022]), Rotation.identity())
        for i, name in enumerate(BLOCKS)
    },
    held=None,
)


def with_block(name: str, offset_m: list[float], *, held: str | None = None) -> TabletopState:
    place = Pose(START.blocks[name].position_m + np.array(offset_m), Rotation.identity())
    return replace(START, blocks={**START.blocks, name: place}, held=held)


RED_ON_BLUE = (
    START.blocks["blue_block"].position_m - START.blocks["red_block"].position_m + [0, 0, 0.044]
).tolist()
PINK_IN_DRAWER = ([0.5, 0.31, 0.03] - START.blocks["pink_block"].position_m).tolist()


@pytest.mark.parametrize(
    ("task", "state", "is_success"),
    [
        ("lift_red_block", with_block("red_block", [0, 0, 0.08], held="red_block"), True),
        ("lift_red_block", with_block("red_block", [0, 0, 0.08]), False),
        ("lift_blue_block", with_block("red_block", [0, 0, 0.08], held="red_block"), False),
        ("push_red_block_left", with_block("red_block", [0, -0.09, 0]), True),
        ("push_red_block_left", with_block("red_block", [0, 0.09, 0]), False),
        ("push_red_block_right", with_block("red_block", [0, 0.09, 0]), True),
        ("push_red_block_right", with_block("red_block", [0, 0.09, 0.06]), False),
        ("stack_red_on_blue", with_block("red_block", RED_ON_BLUE), True),
        ("stack_red_on_blue", with_block("red_block", RED_ON_BLUE, held="red_block"), False),
        ("close_drawer", replace(START, drawer_m=0.001), True),
        ("close_drawer", replace(START, drawer_m=0.05), False),
        ("turn_on_light", replace(START, is_light_on=True), True),
        ("move_slider_left", replace(START, slider_m=-0.09), True),
        ("move_slider_right", replace(START, slider_m=-0.09), False),
        ("place_pink_in_drawer", with_block("pink_block", PINK_IN_DRAWER), True),
        ("place_pink_in_drawer", with_block("pink_block", PINK_IN_DRAWER, held="pink_block"), False),
    ],
)
def test_success(task: str, state: TabletopState, is_success: bool) -> None:
    assert TASKS[task].is_success(START, state) is is_success


def test_sentences_are_unique_and_plain() -> None:
    sentences = [sentence for task in TASKS.values() for sentence in task.sentences]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence == sentence.strip().lower() for sentence in sentences)
    assert all(len(task.sentences) >= 2 for task in TASKS.values())


def test_the_state_survives_the_way_through_named_scalars() -> None:
    state = with_block("pink_block", [0.01, 0.02, 0.03], held="pink_block")
    back = TabletopState.from_scalars(*state.to_scalars())
    assert back.to_scalars() == state.to_scalars()
    assert back.held == "pink_block"


def test_a_missing_scalar_is_named() -> None:
    with pytest.raises(VlaError, match="'drawer'"):
        names, values = START.to_scalars()
        TabletopState.from_scalars(names[1:], values[1:])
