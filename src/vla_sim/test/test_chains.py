# SPDX-License-Identifier: Apache-2.0
"""Chains: what may come next in a state, and that experts can do what is asked for."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla_core.geometry import Pose
from vla_sim.chains import is_possible, next_task, stages_of
from vla_sim.scene.model import BLOCK_SIZE_M, BLOCKS
from vla_sim.start_state import draw_start
from vla_sim.task_state import TabletopState
from vla_sim.tasks import TASKS, StartScene

SEEDS = st.integers(0, 10_000)


def start_of(seed: int, task: str | None = None) -> TabletopState:
    return draw_start(seed, TASKS[task].start if task else StartScene()).tabletop


def lifted(state: TabletopState, block: str) -> TabletopState:
    pose = Pose(np.array([0.45, -0.05, 0.16]), Rotation.identity())
    return replace(state, held=block, blocks={**state.blocks, block: pose})


def possible(state: TabletopState) -> set[str]:
    return {name for name, task in TASKS.items() if is_possible(task, state)}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_possible_in_nearly_all_of_its_start_scenes(name: str) -> None:
    count = sum(is_possible(TASKS[name], start_of(seed, name)) for seed in range(50))
    assert count >= 45, "the chains' idea of what is possible is that of the start scenes"


@given(SEEDS, SEEDS, st.integers(1, 5), st.data())
def test_the_next_task_is_possible_new_and_known_by_its_seed(
    scene: int, seed: int, num_left: int, data: st.DataObject
) -> None:
    state = start_of(scene)
    done = data.draw(st.lists(st.sampled_from(sorted(TASKS)), max_size=4, unique=True))
    name = next_task(seed, done, state, num_left)
    assert name not in done
    assert name in possible(state) or not possible(state) - set(done)
    assert name == next_task(seed, done, state, num_left)


@given(SEEDS, SEEDS)
def test_a_block_in_the_hand_is_put_somewhere(scene: int, seed: int) -> None:
    state = start_of(scene)
    if next_task(seed, (), state, 5) == "lift_pink_block":
        follower = next_task(seed, ("lift_pink_block",), lifted(state, "pink_block"), 4)
        assert "lift_pink_block" in stages_of(TASKS[follower])
    assert next_task(seed, (), state, 5) != "lift_blue_block", "nothing can follow it: it comes last or not at all"


def test_what_is_in_the_way_forbids() -> None:
    state = replace(start_of(0, "push_red_block_left"), drawer_m=0.0, is_light_on=False, slider_m=0.05)
    assert {"push_red_block_left", "open_drawer", "turn_on_light", "move_slider_left"} <= possible(state)
    assert not {"close_drawer", "turn_off_light", "move_slider_right", "place_pink_in_drawer"} & possible(state)
    red = state.blocks["red_block"]
    beside = Pose(red.position_m + np.array([0.0, -0.12, 0.0]), red.rotation)
    assert "push_red_block_left" not in possible(replace(state, blocks={**state.blocks, "blue_block": beside}))
    on_top = Pose(red.position_m + np.array([0.0, 0.0, BLOCK_SIZE_M]), red.rotation)
    stacked = replace(state, blocks={**state.blocks, "pink_block": on_top})
    assert not {"lift_red_block", "stack_pink_on_red", "stack_red_on_blue"} & possible(stacked)
    before_drawer = Pose(np.array([0.5, 0.2, BLOCK_SIZE_M / 2]), Rotation.identity())
    assert "open_drawer" not in possible(replace(state, blocks={**state.blocks, "blue_block": before_drawer}))
    assert "turn_on_light" not in possible(replace(state, button_m=0.012))


def test_fixtures_can_always_go_on() -> None:
    nowhere = {name: Pose(np.array([0.9, 0.9, 0.0]), Rotation.identity()) for name in BLOCKS}
    state = replace(start_of(0), drawer_m=0.0, slider_m=0.0, is_light_on=False, blocks=nowhere)
    assert {next_task(seed, (), state, 5) for seed in range(40)} == {"open_drawer", "turn_on_light"}
