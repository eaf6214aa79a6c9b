# SPDX-License-Identifier: Apache-2.0
"""Open-loop evaluation: exact errors, the node's own streaming, bags equal to their dataset, runs that go on."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from bag_factory import CURVE, SPEC, SPEC_FILE, Demo, mark, say, write_bag
from calvin_factory import write_dataset
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny_models import tiny_checkpoint

from vla_core.actions.action_space import ActionSpace, target_pose
from vla_core.actions.normalization import NormalizationSpec, StandardizationSpec
from vla_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vla_core.checkpoint_card import RobotSnapshot
from vla_core.errors import CheckpointError, ConfigError
from vla_core.geometry import Pose
from vla_core.policy import VlaPolicy
from vla_core.types import Observation
from vla_training.bag_to_dataset import bag_to_dataset
from vla_training.conversion.config import ConversionConfig
from vla_training.datasets.dataset_card import DatasetCard
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.splits import open_split
from vla_training.evaluate import main
from vla_training.evaluation.open_loop.baselines import baselines
from vla_training.evaluation.open_loop.episode import EpisodeOutcome
from vla_training.evaluation.open_loop.errors import errors_of, total
from vla_training.evaluation.open_loop.evaluation import BagChoices, OpenLoopResult, evaluate_open_loop
from vla_training.evaluation.open_loop.report import open_loop_numbers, open_loop_summary, write_open_loop_page
from vla_training.evaluation.open_loop.targets import offsets, targets_of
from vla_training.evaluation.run_journal import checkpoint_identity
from vla_training.train import main as train

TCP = ActionSpace(frame="tcp")
SPACES = [
    TCP,
    ActionSpace(frame="base", normalization=NormalizationSpec.symmetric(0.65), mu_law=255.0),
    ActionSpace(
        frame="robovlms_tcp",
        standardization=StandardizationSpec(mean=(0.1,) * 6, std=(0.5,) * 6),
        normalization=NormalizationSpec(low=(-0.4,) * 6, high=(0.6,) * 6),
    ),
]


def outcome_of(
    predicted: Any, recorded: Any, *, is_valid: Any = None, sentences: Any = None, poses: Any = None
) -> EpisodeOutcome:
    num = len(recorded)
    return EpisodeOutcome(
        key="episode",
        sentences=tuple(sentences or ["go"] * num),
        predicted=np.asarray(predicted, np.float32),
        recorded=np.asarray(recorded, np.float32),
        is_valid=np.ones(num, bool) if is_valid is None else np.array(is_valid),
        poses=np.zeros((num, 6)) if poses is None else poses,
        gripper_before=np.ones(num),
        inference_ms=np.ones(num),
    )


def test_errors_of_each_step_are_exact() -> None:
    recorded = np.zeros((3, 7))
    recorded[:, 0], recorded[:, 6] = [0.1, 0.2, 0.3], [1, 1, 0]
    predicted = np.zeros((3, 2, 7))
    predicted[:, :, 0], predicted[:, :, 6] = [[0.2, 0.2], [0.2, 0.1], [0.0, 9.0]], [[1, 1], [0, 1], [0, 9]]
    errors = errors_of(outcome_of(predicted, recorded), np.asarray(predicted, np.float32), TCP)
    assert errors.count.tolist() == [3, 2], "behind the end nothing is compared"
    np.testing.assert_allclose(errors.l1_per_step, [(0.1 + 0 + 0.3) / 3 / 6, (0.0 + 0.2) / 2 / 6], atol=1e-7)
    assert errors.first.mse == pytest.approx((0.01 + 0.09) / 3 / 6, abs=1e-7)
    np.testing.assert_allclose(errors.first.offset_per_axis, [0.4 / 3 * 20, 0, 0, 0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(errors.first.distance_mm_deg, [0.4 / 3 * 20, 0], atol=1e-5)
    assert errors.first.gripper_accuracy == pytest.approx(2 / 3)
    # closed: 1 right of 2 said and 1 done, 2/3; open: 1 right of 1 said and 2 done, 2/3.
    assert errors.first.gripper_f1 == pytest.approx(2 / 3)
    both = total([errors, errors])
    assert both.l1 == pytest.approx(errors.l1)
    assert both.count.tolist() == [6, 4]


def test_turns_are_told_in_degrees() -> None:
    recorded, predicted = np.zeros((1, 7)), np.zeros((1, 1, 7))
    predicted[0, 0, 5] = 0.5  # of 0.05 rad
    errors = errors_of(outcome_of(predicted, recorded), np.asarray(predicted, np.float32), TCP)
    np.testing.assert_allclose(errors.offset_per_axis, [0, 0, 0, 0, 0, np.degrees(0.025)], atol=1e-5)


def test_what_another_sentence_asked_for_is_not_compared() -> None:
    recorded, predicted = np.zeros((4, 7)), np.zeros((4, 3, 7))
    changing = outcome_of(predicted, recorded, sentences=["a", "a", "b", "a"])
    assert errors_of(changing, changing.predicted, TCP).count.tolist() == [4, 1, 0]
    missing = outcome_of(predicted, recorded, is_valid=[True, True, True, False])
    assert errors_of(missing, missing.predicted, TCP).count.tolist() == [3, 2, 1]


def test_a_perfect_policy_has_no_error_and_baselines_have_theirs() -> None:
    random = np.random.default_rng(0)
    recorded = np.append(random.uniform(-1, 1, (20, 6)), random.integers(0, 2, (20, 1)), axis=1)
    poses = np.append(random.uniform(-0.3, 0.3, (20, 3)), random.uniform(-0.5, 0.5, (20, 3)), axis=1)
    rows = np.minimum(np.arange(20)[:, None] + np.arange(3), 19)
    for space in SPACES:
        outcome = outcome_of(recorded[rows], recorded, poses=poses)
        errors = errors_of(outcome, outcome.predicted, space)
        assert errors.l1 == 0.0
        np.testing.assert_allclose(errors.distance_mm_deg, 0.0, atol=1e-6)
        assert errors.gripper_f1 == 1.0
        found = baselines([outcome], space)
        still = found["zero action"](outcome)
        for row, pose in zip(still[:, 0], poses, strict=True):
            here = Pose.from_euler(pose[:3], pose[3:])
            np.testing.assert_allclose(target_pose(space, here, row).matrix, here.matrix, atol=1e-5)
        np.testing.assert_array_equal(found["previous action"](outcome)[1:, 2], outcome.recorded[:-1])
        np.testing.assert_allclose(
            found["mean action"](outcome)[7, 1, :6], outcome.recorded[:, :6].mean(0), rtol=1e-5
        )


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.frame)
@given(
    pose=arrays(np.float64, 6, elements=st.floats(-1.0, 1.0)),
    arm=arrays(np.float64, 6, elements=st.floats(-0.9, 0.9)),
)
def test_many_targets_are_those_of_one(space: ActionSpace, pose: Any, arm: Any) -> None:
    found = targets_of(space, pose[None], arm[None])
    expected = target_pose(space, Pose.from_euler(pose[:3], pose[3:]), arm)
    np.testing.assert_allclose(found.position_m[0], expected.position_m, atol=1e-9)
    np.testing.assert_allclose(found.rotation[0].as_matrix(), expected.rotation.as_matrix(), atol=1e-9)
    np.testing.assert_allclose(offsets(found, found), 0.0, atol=1e-9)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models of this size are slower with several threads, most of all on a machine that has other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(fitting(), tmp_path_factory.mktemp("checkpoints") / "tiny")


def fitting(**changes: Any) -> Checkpoint:
    made = tiny_checkpoint()
    return replace(made, card=replace(made.card, robot=RobotSnapshot.of(SPEC), **changes))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    said = [
        *(mark(0.2, "start", "open the drawer"), mark(1.2, "stop")),
        *(mark(1.5, "start", "close the drawer"), say(2.05, "push the button"), mark(2.7, "stop")),
    ]
    messages = sorted([*Demo(seconds=3.0).messages(), *said], key=lambda entry: entry[0])
    return write_bag(tmp_path_factory.mktemp("bags") / "demo", messages)


@pytest.fixture(scope="module")
def dataset(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "dataset"
    bag_to_dataset([bag], out, SPEC, ConversionConfig(validation_share=0.0))
    return out


def same_predictions(a: OpenLoopResult, b: OpenLoopResult) -> None:
    left, right = ([each for own in result.outcomes for each in own.predicted] for result in (a, b))
    np.testing.assert_allclose(np.array(left), np.array(right), atol=1e-6)


def test_a_split_is_streamed_as_the_node_does_it(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    result = evaluate_open_loop(checkpoint, [dataset], tmp_path, split="training")
    assert [set(own.sentences) for own in result.outcomes] == [
        {"open the drawer"},
        {"close the drawer"},
        {"push the button"},
    ]
    store, policy = open_split(dataset, "training"), VlaPolicy(load_checkpoint(checkpoint))
    for annotation, outcome in zip(store.annotations, result.outcomes, strict=True):
        policy.reset()
        assert len(outcome) == annotation.end - annotation.start
        for frame, predicted in zip(range(annotation.start, annotation.end), outcome.predicted, strict=True):
            images = {camera: store.pictures(camera, [frame])[0] for camera in ("static", "wrist")}
            seen = Observation(0, images, Pose.identity(), np.zeros(7), 1.0, {})
            np.testing.assert_array_equal(policy.infer(seen, annotation.instruction).actions, predicted)


def test_bags_give_what_their_dataset_gives(checkpoint: Path, bag: Path, dataset: Path, tmp_path: Path) -> None:
    straight = evaluate_open_loop(checkpoint, [bag], tmp_path / "bags", bags=BagChoices(spec=SPEC))
    through = evaluate_open_loop(checkpoint, [dataset], tmp_path / "dataset", split="training")
    # In the dataset a stretch ends at the frame that its last action leads to; predictions are the same.
    same_predictions(straight, through)
    recorded = [np.concatenate([own.recorded for own in result.outcomes]) for result in (straight, through)]
    np.testing.assert_allclose(recorded[0], recorded[1], atol=1e-6)
    assert straight.all_errors.first.l1 == pytest.approx(through.all_errors.first.l1)


def test_a_bag_with_a_wrong_record_is_skipped_and_told(checkpoint: Path, bag: Path, tmp_path: Path) -> None:
    wrong = shutil.copytree(bag, tmp_path / "bags" / "wrong")
    shutil.copytree(bag, tmp_path / "bags" / "right")
    (wrong / "episode.yaml").write_text("outcome: perhaps")
    result = evaluate_open_loop(checkpoint, [tmp_path / "bags"], tmp_path / "out", bags=BagChoices(spec=SPEC))
    assert len(result.outcomes) == 2
    (said,) = result.skipped
    assert said.startswith("wrong: skipped: ") and "episode.yaml" in said


def test_bags_of_a_camera_slower_than_the_policy_are_refused(checkpoint: Path, bag: Path, tmp_path: Path) -> None:
    slow = replace(SPEC.cameras["wrist"], rate_hz=5.0, max_age_ms=500.0, frozen_after_ms=None)
    spec = replace(SPEC, cameras={**SPEC.cameras, "wrist": slow})
    with pytest.raises(CheckpointError, match="camera 'wrist' of robot 'tiny_robot' runs at 5 Hz"):
        evaluate_open_loop(checkpoint, [bag], tmp_path, bags=BagChoices(spec=spec))


@pytest.mark.parametrize("kind", ["bag", "dataset"])
def test_a_run_goes_on_where_it_ended(
    kind: str, checkpoint: Path, bag: Path, dataset: Path, tmp_path: Path
) -> None:
    def run() -> OpenLoopResult:
        source = bag if kind == "bag" else dataset
        return evaluate_open_loop(checkpoint, [source], tmp_path, split="training", bags=BagChoices(spec=SPEC))

    first = run()
    folders = sorted((tmp_path / ".work").glob("*/episodes/*"))
    assert len(folders) == {"bag": 2, "dataset": 3}[kind]
    shutil.rmtree(folders[-1])  # as if it had been killed in its midst
    (folders[0].parents[1] / "drafts" / "left_over").mkdir()
    second = run()
    same_predictions(first, second)
    np.testing.assert_array_equal(first.outcomes[0].inference_ms, second.outcomes[0].inference_ms)
    assert not np.array_equal(first.outcomes[-1].inference_ms, second.outcomes[-1].inference_ms)
    third = run()
    np.testing.assert_array_equal(second.outcomes[-1].inference_ms, third.outcomes[-1].inference_ms)


def test_numbers_text_and_page_agree(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    result = evaluate_open_loop(checkpoint, [dataset], tmp_path, split="training")
    numbers = open_loop_numbers(result)
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    l1 = numbers["first_action"]["policy"]["l1"]
    assert set(numbers["first_action"]) == {"policy", "zero action", "mean action", "previous action"}
    assert f"L1 {l1:.4f}" in open_loop_summary(result)
    page = write_open_loop_page(tmp_path / "report.html", result).read_text()
    assert f"{l1:.4f}" in page
    assert "UNTRAINED" in page
    assert page.count("data:image/png") >= 3


def test_the_command_judges_by_a_limit(
    checkpoint: Path, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["open_loop", str(checkpoint), str(bag), "--robot", str(SPEC_FILE), "--out", str(tmp_path)]
    assert main([*arguments, "--device", "cpu", "--quiet", "--max-error", "100"]) == 0
    assert "zero action" in capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text())["episodes"] == 2
    assert main([*arguments, "--device", "cpu", "--quiet", "--max-error", "0.000001"]) == 2
    assert "above --max-error" in capsys.readouterr().err


def test_what_does_not_fit_is_refused_with_both_values(
    checkpoint: Path, bag: Path, dataset: Path, tmp_path: Path
) -> None:
    slow = write_dataset(tmp_path / "slow", card=replace(DatasetCard.load(dataset), period_s=0.2))
    with pytest.raises(DatasetError, match=r"5 Hz, the checkpoint was trained at 10 Hz"):
        evaluate_open_loop(checkpoint, [slow], tmp_path / "a")
    with pytest.raises(DatasetError, match=r"no folder 'validation'|holds no"):
        evaluate_open_loop(checkpoint, [dataset], tmp_path / "b")
    with pytest.raises(ValueError, match="--robot"):
        evaluate_open_loop(checkpoint, [bag], tmp_path / "c")
    with pytest.raises(ConfigError, match="rate_hz is the checkpoint's"):
        evaluate_open_loop(checkpoint, [bag], tmp_path / "d", bags=BagChoices(spec=SPEC, options={"rate_hz": 5.0}))
    other = save_checkpoint(tiny_checkpoint(), tmp_path / "square")
    with pytest.raises(CheckpointError, match="aspect"):
        evaluate_open_loop(other, [bag], tmp_path / "e", bags=BagChoices(spec=SPEC))


def test_a_checkpoint_that_was_trained_further_is_another_one(checkpoint: Path, tmp_path: Path) -> None:
    def changed(name: str, change: Callable[[Path], object]) -> dict[str, str]:
        copy = Path(shutil.copytree(checkpoint, tmp_path / name / checkpoint.name))
        change(copy)
        return checkpoint_identity(copy)

    def flip_the_middle(copy: Path) -> None:
        weights = copy / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[len(data) // 2] ^= 1
        weights.write_bytes(data)

    def add_adapter(copy: Path) -> None:
        (copy / "adapter").mkdir()
        (copy / "adapter" / "adapter_model.safetensors").write_bytes(b"0123456789")

    assert changed("same", lambda copy: None) == checkpoint_identity(checkpoint)
    for name, change in (("middle", flip_the_middle), ("adapter", add_adapter)):
        assert changed(name, change) != checkpoint_identity(checkpoint)


def test_results_of_another_checkpoint_are_not_mixed_in(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    evaluate_open_loop(checkpoint, [dataset], tmp_path / "out", split="training")
    other = save_checkpoint(fitting(is_trained=True), tmp_path / "tiny")
    with pytest.raises(ValueError, match=r"fingerprint .*Choose another --out"):
        evaluate_open_loop(other, [dataset], tmp_path / "out", split="training")


def test_outcomes_are_kept_whole(tmp_path: Path) -> None:
    outcome = outcome_of(
        np.random.default_rng(0).normal(size=(3, 2, 7)), np.ones((3, 7)), sentences=["a", "b", "b"]
    )
    outcome.save(tmp_path / "outcome.npz")
    loaded = EpisodeOutcome.load(tmp_path / "outcome.npz")
    assert loaded.sentences == outcome.sentences
    np.testing.assert_array_equal(loaded.predicted, outcome.predicted)
    (tmp_path / "outcome.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DatasetError, match="damaged"):
        EpisodeOutcome.load(tmp_path / "outcome.npz")


def test_a_policy_that_has_learned_beats_all_that_see_nothing(tmp_path: Path) -> None:
    """Two sentences, opposite motions: what always does the same, or stands still, is wrong on both."""
    there_and_back = Demo(path=lambda t_s: CURVE(t_s if t_s < 1.5 else 3.0 - t_s), seconds=3.0)
    said = [
        *(mark(0.1, "start", "open the drawer"), mark(1.35, "stop")),
        *(mark(1.6, "start", "close the drawer"), mark(2.9, "stop")),
    ]
    messages = sorted([*there_and_back.messages(), *said], key=lambda entry: entry[0])
    bag = write_bag(tmp_path / "bag", messages)
    bag_to_dataset([bag], tmp_path / "dataset", SPEC, ConversionConfig(validation_share=0.0))
    settings = {
        "start": {"backbone": "tiny"},
        "model": {"window_size": 2, "chunk_size": 2, "head": {"hidden_size": 32, "num_layers": 1}},
        "data": {"sources": [{"path": str(tmp_path / "dataset")}], "workers": 0},
        "optimization": {"learning_rate": 1e-3, "warmup_epochs": 2, "batch_size": 8, "max_steps": 100},
    }
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(settings))
    assert train([str(config), "--out", str(tmp_path / "run")]) == 0
    result = evaluate_open_loop(
        tmp_path / "run" / "checkpoints" / "last", [bag], tmp_path / "out", bags=BagChoices(spec=SPEC)
    )
    own = result.all_errors.first.l1
    for name in ("zero action", "mean action"):
        assert own < 0.3 * result.baseline_errors[name].first.l1, name
    assert "nearer than" in write_open_loop_page(tmp_path / "report.html", result).read_text()
