# SPDX-License-Identifier: Apache-2.0
"""SimplerEnv's conventions, and episodes in a small environment with its interface."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_checkpoint

from vla_core.actions.action_space import ActionSpace
from vla_core.checkpoint import Checkpoint
from vla_core.errors import CheckpointError, VlaError
from vla_core.journal import read_journal
from vla_training.evaluate import main
from vla_training.evaluation.simpler.actions import (
    ActionStatistics,
    LateGripper,
    StickyGripper,
    environment_action,
    raw_action,
)
from vla_training.evaluation.simpler.command import simpler_numbers, success_rate, write_simpler_page
from vla_training.evaluation.simpler.evaluation import JOURNAL, SimplerEpisode, evaluate_simpler
from vla_training.evaluation.simpler.model import BatchedSimplerModel, SimplerModel

BASE = ActionSpace(frame="base")


def one_camera(**changes: Any) -> Checkpoint:
    checkpoint = tiny_checkpoint(cameras=("static",))
    return replace(checkpoint, card=replace(checkpoint.card, action_space=BASE, **changes))


class ToyTable:
    """An episode lasts 3 + seed % 3 steps and is a success when the seed is even; pictures tell seed and step."""

    def __init__(self) -> None:
        self.actions: list[Any] = []

    def reset(self, *, seed: int, options: dict[str, Any]) -> tuple[Any, Any]:
        assert options == {"obj_init_options": {"episode_id": seed}}
        self.seed, self.steps = seed, 0
        return self._picture(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Any]:
        assert action.shape == (7,)
        self.actions.append(action)
        self.steps += 1
        is_over = self.steps == 3 + self.seed % 3
        return self._picture(), 0.0, is_over and self.seed % 2 == 0, is_over, {}

    def get_language_instruction(self) -> str:
        return "put it down" if self.seed == 4 and self.steps > 2 else "pick the can"

    def _picture(self) -> Any:
        random = np.random.default_rng([self.seed, self.steps])
        return {"image": random.integers(0, 256, (32, 40, 3), dtype=np.uint8)}


class ToyTables:
    robot = "widowx_bridge"

    def __init__(self) -> None:
        self.made: list[ToyTable] = []

    def make(self) -> ToyTable:
        self.made.append(ToyTable())
        return self.made[-1]

    def picture(self, environment: Any, observation: Any) -> Any:
        return observation["image"]


def run(out: Path, num_episodes: int, batch_size: int, world: ToyTables | None = None) -> list[SimplerEpisode]:
    return evaluate_simpler(
        one_camera(),
        {"checkpoint": "tiny"},
        world or ToyTables(),  # type: ignore[arg-type]
        out,
        num_episodes=num_episodes,
        batch_size=batch_size,
    )


EXPECTED = [(n, n % 2 == 0, 3 + n % 3) for n in range(7)]


@pytest.mark.parametrize("batch_size", [1, 3, 9])
def test_each_episode_is_run_once_whatever_the_batch(tmp_path: Path, batch_size: int) -> None:
    episodes = run(tmp_path, 7, batch_size)
    assert [(episode.number, episode.success, episode.steps) for episode in episodes] == EXPECTED
    assert success_rate(episodes).value == pytest.approx(4 / 7)
    assert episodes[4].instruction == "put it down"


def test_side_by_side_the_same_actions_are_sent_as_alone(tmp_path: Path) -> None:
    alone, together = ToyTables(), ToyTables()
    run(tmp_path / "alone", 4, 1, alone)
    run(tmp_path / "together", 4, 4, together)
    split = np.cumsum([steps for _, _, steps in EXPECTED[:4]])[:-1]
    for expected, table in zip(np.split(np.array(alone.made[0].actions), split), together.made, strict=True):
        np.testing.assert_allclose(np.array(table.actions), expected, atol=1e-5)


def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    run(tmp_path, 3, 2)
    episodes = run(tmp_path, 7, 2)
    assert [(episode.number, episode.success, episode.steps) for episode in episodes] == EXPECTED
    assert len(read_journal(tmp_path / JOURNAL)) == 1 + 7
    numbers = simpler_numbers(episodes, {"task": "toy"})
    assert json.loads(json.dumps(numbers)) == numbers
    page = write_simpler_page(tmp_path / "page.html", episodes, {"task": "toy"}, is_trained=False).read_text()
    assert "57.1 %" in page
    assert "UNTRAINED" in page


def original_sticky(openings: list[float], repeats: int) -> list[float]:
    """SimplerEnv's own rule, told by its two flags."""
    is_on, count, kept, previous, sent = False, 0, 0.0, None, []
    for opening in openings:
        now = 1.0 if opening > 0.5 else -1.0
        change = 0.0 if previous is None else previous - now
        previous = now
        if abs(change) > 0.5 and not is_on:
            is_on, kept = True, change
        if is_on:
            count += 1
            change = kept
        if count == repeats:
            is_on, count, kept = False, 0, 0.0
        sent.append(change)
    return sent


@given(st.lists(st.sampled_from([-1.0, 1.0]), max_size=30))
def test_the_google_robots_gripper_repeats_as_in_robovlms(openings: list[float]) -> None:
    gripper = StickyGripper()
    assert [gripper.command(opening) for opening in openings] == original_sticky(openings, 2)


def test_the_widowx_gripper_answers_late() -> None:
    gripper = LateGripper()
    assert [gripper.command(o) for o in (1, -1, 1, 1, 1, -1, 1, 1)] == [-1, -1, -1, 1, 1, -1, -1, 1]
    gripper.reset()
    assert gripper.command(1) == -1


def test_numbers_are_stretched_by_the_statistics_where_the_mask_says_so(tmp_path: Path) -> None:
    path = tmp_path / "statistics.json"
    low, high = [-0.1, -0.2, 0.0, -1.0, -1.0, -1.0, 0.0], [0.1, 0.4, 0.2, 1.0, 1.0, 3.0, 1.0]
    path.write_text(json.dumps({"action": {"q01": low, "q99": high, "mask": [True] * 6 + [False]}}))
    action = np.array([-1.0, 1.0, 0.0, 0.5, 0.0, 0.5, 0.9], np.float32)
    raw = raw_action(BASE, action, ActionStatistics.load(path))
    np.testing.assert_allclose(raw, [-0.1, 0.4, 0.1, 0.5, 0.0, 2.0, 1.0], atol=1e-7)
    np.testing.assert_allclose(raw_action(BASE, action, None), [-0.02, 0.02, 0, 0.025, 0, 0.025, 1.0], atol=1e-7)


@given(st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3))
def test_rotations_are_sent_as_axis_times_angle(rpy: list[float]) -> None:
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    matrix = (
        np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        @ np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        @ np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    )
    sent = environment_action(np.array([0, 0, 0, *rpy, 1.0]), LateGripper())["rot_axangle"]
    angle = np.linalg.norm(sent)
    cross = np.array([[0, -sent[2], sent[1]], [sent[2], 0, -sent[0]], [-sent[1], sent[0], 0]]) / max(angle, 1e-12)
    rodrigues = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    np.testing.assert_allclose(rodrigues, matrix, atol=1e-9)


def test_one_model_answers_as_simplerenvs_evaluator_expects() -> None:
    model = SimplerModel(one_camera(), "google_robot")
    picture = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    with pytest.raises(CheckpointError, match="call reset"):
        model.step(picture)
    model.reset("pick the can")
    first = model.step(picture, "pick the can")
    second = model.step(picture, "pick the can")
    raw, action = first
    assert {key: value.shape for key, value in action.items()} == {
        "world_vector": (3,),
        "rot_axangle": (3,),
        "gripper": (1,),
        "terminate_episode": (1,),
    }
    assert set(raw) == {"world_vector", "rotation_delta", "open_gripper"}
    assert not np.array_equal(first[1]["world_vector"], second[1]["world_vector"]), "it remembers"
    afresh = model.step(picture, "another sentence")[1]["world_vector"]
    np.testing.assert_allclose(model.step(picture, "pick the can")[1]["world_vector"], first[1]["world_vector"])
    assert not np.array_equal(afresh, first[1]["world_vector"])


def test_checkpoints_that_need_more_than_a_picture_are_refused() -> None:
    with pytest.raises(CheckpointError, match="hands over one picture"):
        BatchedSimplerModel(replace_space(tiny_checkpoint()), "google_robot")
    with pytest.raises(CheckpointError, match="frame 'tcp'"):
        BatchedSimplerModel(tiny_checkpoint(cameras=("static",)), "google_robot")


def replace_space(checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, card=replace(checkpoint.card, action_space=BASE))


@pytest.mark.parametrize("text", ["{", '{"action": {"q01": [1]}}', '{"action": {"q01": [1], "q99": [2]}}', "[]"])
def test_files_without_statistics_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "statistics.json"
    path.write_text(text)
    with pytest.raises(VlaError, match="q01"):
        ActionStatistics.load(path)


def test_the_command_says_how_to_get_the_simulator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simpler", str(tmp_path), "--task", "widowx_carrot_on_plate"]) == 1
    assert "git clone --recurse-submodules https://github.com/simpler-env/SimplerEnv" in capsys.readouterr().err
