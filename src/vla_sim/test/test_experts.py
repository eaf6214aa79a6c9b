# SPDX-License-Identifier: Apache-2.0
"""The experts solve their tasks through the path that a policy's actions take."""

import numpy as np
import pytest

from vla_core.errors import VlaError
from vla_core.robot_spec import RobotSpec
from vla_sim.episode import run_episode
from vla_sim.experts.catalogue import make_expert
from vla_sim.tabletop import Tabletop
from vla_sim.tasks import TASKS


@pytest.fixture(scope="module")
def world() -> Tabletop:
    return Tabletop()


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_solves_its_task(world: Tabletop, spec: RobotSpec, task: str) -> None:
    for seed in (0, 11, 202):
        result = run_episode(world, spec, task, seed)
        assert result.is_success, f"seed {seed}"
        assert result.duration_s < 15.0
        assert np.all(np.abs(result.actions[:, :6]) <= 1.0)
        assert set(np.unique(result.actions[:, 6])) <= {0.0, 1.0}


def test_an_episode_repeats_to_the_bit(world: Tabletop, spec: RobotSpec) -> None:
    first, again = (run_episode(world, spec, "stack_red_on_blue", 3).actions for _ in range(2))
    assert np.array_equal(first, again)


def test_the_expert_copes_with_a_state_that_is_50_ms_old(world: Tabletop) -> None:
    from vla_core.actions.action_space import ActionSpace, target_pose
    from vla_sim.arm_goals import PoseGoal

    expert, space = make_expert("lift_blue_block"), ActionSpace(frame="tcp")
    start = world.reset(8, "lift_blue_block")
    old_state, old_pose = start, world.arm_state().pose_tcp_in_base
    target = old_pose
    for _ in range(100):
        action = expert.act(old_state, old_pose)
        if expert.is_done:
            break
        target = target_pose(space, target, action)
        world.follow(PoseGoal(target))
        world.grip(0.04 * action[6])
        world.step(0.05)
        old_state, old_pose = world.state(), world.arm_state().pose_tcp_in_base
        world.step(0.05)
    assert TASKS["lift_blue_block"].is_success(start, world.state())


def test_an_unknown_task_has_no_expert() -> None:
    with pytest.raises(VlaError, match="no expert knows"):
        make_expert("juggle")
