# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as the models that CALVIN's and SimplerEnv's evaluators ask."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import SHARED_GOLDEN, random_observation, tiny_checkpoint

from vla_core.actions.action_space import ActionSpace, calvin_action
from vla_core.actions.normalization import NormalizationSpec
from vla_core.checkpoint import Checkpoint
from vla_core.checkpoint_card import PictureSize, RobotSnapshot
from vla_core.errors import CheckpointError
from vla_core.policy import VlaPolicy
from vla_core.policy_contract import PolicyContract
from vla_core.types import ActionChunk, Observation
from vla_training.evaluation.calvin.model import CalvinModel, calvin_observation
from vla_training.evaluation.calvin.rollout import run_sequence


def calvin_checkpoint(**changes: Any) -> Checkpoint:
    checkpoint = tiny_checkpoint()
    return replace(checkpoint, card=replace(checkpoint.card, period_s=1 / 30, **changes))


def calvin_obs(seed: int) -> dict[str, Any]:
    seen = random_observation(seed)
    robot = np.array([0.1, 0.2, 0.3, 3.0, -0.1, 0.5, 0.04, *np.arange(7.0), 1.0])
    pictures = {"rgb_static": seen.images["static"], "rgb_gripper": seen.images["wrist"]}
    return {"rgb_obs": pictures, "robot_obs": robot}


class CountingPolicy:
    """Says at tick t for step k: 0.1 t + 0.01 k."""

    def __init__(self) -> None:
        self.ticks = 0
        self.contract = PolicyContract(
            cameras=("static", "wrist"),
            image_aspects=(1.0, 1.0),
            period_s=1 / 30,
            chunk_size=3,
            window_size=4,
            action_space=ActionSpace(frame="base"),
            is_trained=True,
        )

    def reset(self) -> None:
        self.ticks = 0

    def infer(self, observation: Observation, instruction: str) -> ActionChunk:
        actions = np.zeros((3, 7), np.float32)
        actions[:, 0] = 0.1 * self.ticks + 0.01 * np.arange(3)
        actions[:, 6] = 1.0
        self.ticks += 1
        return ActionChunk(observation.stamp_ns, 1 / 30, actions)


@pytest.mark.parametrize(
    ("num_executed", "expected"),
    [(1, [0.0, 0.1, 0.2, 0.3, 0.4]), (2, [0.0, 0.01, 0.2, 0.21, 0.4]), (3, [0.0, 0.01, 0.02, 0.3, 0.31])],
)
def test_so_many_actions_of_a_chunk_are_executed_and_the_policy_is_stepped_at_each(
    num_executed: int, expected: list[float]
) -> None:
    policy = CountingPolicy()
    model = CalvinModel(policy, num_executed)
    for _ in range(2):
        model.reset()
        actions = [model.step(calvin_obs(t), "open the drawer") for t in range(5)]
        np.testing.assert_allclose([action[0] for action in actions], expected, atol=1e-6)
        assert policy.ticks == 5
    assert {action.shape for action in actions} == {(7,)}
    assert {action[6] for action in actions} == {1.0}


def test_answers_are_those_of_the_policy_in_calvins_words() -> None:
    space = ActionSpace(frame="tcp", normalization=NormalizationSpec.symmetric(0.65))
    checkpoint = calvin_checkpoint(action_space=space)
    model, policy = CalvinModel(VlaPolicy(checkpoint)), VlaPolicy(checkpoint)
    for t in range(3):
        obs = calvin_obs(t)
        chunk = policy.infer(calvin_observation(obs, 0), "open the drawer")
        expected = calvin_action(space, chunk.actions[0], obs["robot_obs"][3:6])
        np.testing.assert_array_equal(model.step(obs, "open the drawer"), expected)


def test_the_observation_is_what_the_simulator_shows() -> None:
    obs = calvin_obs(3)
    seen = calvin_observation(obs, 7)
    np.testing.assert_array_equal(seen.images["static"], obs["rgb_obs"]["rgb_static"])
    np.testing.assert_array_equal(seen.images["wrist"], obs["rgb_obs"]["rgb_gripper"])
    np.testing.assert_allclose(seen.pose_tcp_in_base.position_m, [0.1, 0.2, 0.3])
    np.testing.assert_allclose(seen.pose_tcp_in_base.euler_xyz_rad, [3.0, -0.1, 0.5])
    np.testing.assert_allclose(seen.joint_positions_rad, np.arange(7.0))
    assert seen.gripper_open == pytest.approx(0.5)


def test_a_real_policy_goes_through_a_whole_sequence() -> None:
    from toy_calvin import ToyWorld, sequence

    model = CalvinModel(VlaPolicy(calvin_checkpoint()))
    result = run_sequence(ToyWorld()(), model, 0, sequence(5000, 1), max_steps=3)
    assert (result.steps, result.successes) == ((3,), 0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"period_s": 0.1}, "trained at 10 Hz, CALVIN runs at 30 Hz"),
        ({"cameras": ("left",), "image_aspects": (1.0,)}, r"trained with cameras \['left'\]"),
        ({"image_aspects": (1.333, 1.0)}, "pictures of aspect 1.333"),
    ],
)
def test_a_checkpoint_for_something_else_is_refused(change: dict[str, Any], match: str) -> None:
    policy = CountingPolicy()
    policy.contract = replace(policy.contract, **change)
    with pytest.raises(CheckpointError, match=match):
        CalvinModel(policy)


def test_more_actions_than_a_chunk_has_are_refused() -> None:
    with pytest.raises(CheckpointError, match="predicts 3 actions"):
        CalvinModel(CountingPolicy(), 4)


@pytest.mark.skipif(not SHARED_GOLDEN.is_dir(), reason="the whole reference cases are not there")
def test_robovlms_own_control_steps_are_repeated() -> None:
    from test_golden_robovlms import CONFIG, case, close, model_of

    from vla_core.checkpoint import load_tokenizer
    from vla_core.checkpoint_card import CheckpointCard

    model = model_of("e_post_lstm")
    size = PictureSize(width_px=200, height_px=200)
    card = CheckpointCard(
        model=CONFIG,
        action_space=ActionSpace(frame="base", normalization=NormalizationSpec.symmetric(0.65)),
        period_s=1 / 30,
        is_trained=False,
        robot=RobotSnapshot(name="calvin", cameras=dict.fromkeys(CONFIG.cameras, size)),
    )
    folder: Path = SHARED_GOLDEN / "tiny_kosmos2"
    checkpoint = Checkpoint(model=model, card=card, tokenizer=load_tokenizer(model, folder), backbone_dir=folder)
    stepped = CalvinModel(VlaPolicy(checkpoint))
    arrays = case("e_post_lstm")
    stepped.reset()
    for t in range(12):
        pictures = {key: arrays[key][t].numpy() for key in ("rgb_static", "rgb_gripper")}
        obs = {"rgb_obs": pictures, "robot_obs": np.zeros(15)}
        close(stepped.step(obs, "open the drawer"), arrays["executed"][t])
