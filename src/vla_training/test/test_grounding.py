# SPDX-License-Identifier: Apache-2.0
"""Named points travel with the pictures, and a model learns to point at them."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from calvin_factory import write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from vla_core.images import ImageSpec
from vla_training.datasets.augmentation import Augmentation, AugmentationConfig
from vla_training.datasets.batches import collate, pictures_to_device, points_in_pictures
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.named_points import POINTS_FILE, NamedPoints
from vla_training.datasets.splits import has_frames, open_split
from vla_training.datasets.window_dataset import WindowDataset, WindowSample
from vla_training.pack_dataset import pack_dataset
from vla_training.train import main
from vla_training.training.grounding import GroundingLoss
from vla_training.training.metrics_log import read_metrics

torch.set_num_threads(1)
CAMERAS = ("static", "wrist")
NAN = float("nan")


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def some_points(ids: range, seed: int = 0) -> NamedPoints:
    points = np.random.default_rng(seed).uniform(-0.1, 1.1, (len(ids), 2, 2, 2)).astype(np.float32)
    points[::3, 1, 1] = NAN
    return NamedPoints(np.array(ids, np.int64), CAMERAS, points)


def label(dataset: Path) -> Path:
    """Give the training and validation frames of a small dataset the same place for every frame of a sentence."""
    for split in ("training", "validation"):
        store = open_split(dataset, split)
        ids = store.numbers.ids
        points = np.full((len(ids), 2, 1, 2), NAN, np.float32)
        for number, annotation in enumerate(store.annotations):
            rows = (ids >= annotation.start) & (ids <= annotation.end)
            points[rows, 0, 0] = (0.2, 0.3) if number == 0 else (0.8, 0.6)
        points[::4, 0] = NAN
        NamedPoints(ids, CAMERAS, points).save(store.folder)
    return dataset


def test_the_file_gives_back_what_was_written_and_nan_elsewhere(tmp_path: Path) -> None:
    assert NamedPoints.load(tmp_path) is None
    written = some_points(range(10, 20))
    written.save(tmp_path)
    read = NamedPoints.load(tmp_path)
    assert read is not None and read.cameras == CAMERAS and read.num_slots == 2
    np.testing.assert_array_equal(read.points, written.points)
    found = read.at(np.array([19, 12, 9, 20]), ("wrist", "behind", "static"))
    np.testing.assert_array_equal(found[:2, 0], written.points[[9, 2], 1])
    np.testing.assert_array_equal(found[:2, 2], written.points[[9, 2], 0])
    assert np.isnan(found[2:]).all() and np.isnan(found[:, 1]).all()
    assert np.isnan(NamedPoints.nothing(3).at(np.array([1, 2]), CAMERAS)).all()
    assert [path.name for path in tmp_path.iterdir()] == [POINTS_FILE]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda arrays: arrays.pop("ids"), "'ids' is missing"),
        (lambda arrays: arrays.update(ids=arrays["ids"][::-1]), "ids must ascend"),
        (lambda arrays: arrays.update(ids=arrays["ids"][:-1]), "points has shape"),
        (lambda arrays: arrays.update(points=arrays["points"][..., :1]), "points has shape"),
        (lambda arrays: arrays.update(points=arrays["points"].astype(np.float64)), "points float32"),
        (lambda arrays: arrays.update(cameras=np.array(["static", "static"])), "each camera once"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[dict[str, np.ndarray]], None], sentence: str
) -> None:
    points = some_points(range(4))
    arrays = {"ids": points.ids, "cameras": np.array(CAMERAS), "points": points.points}
    change(arrays)
    np.savez(tmp_path / POINTS_FILE, **arrays)
    with pytest.raises(DatasetError, match=sentence) as refusal:
        NamedPoints.load(tmp_path)
    assert str(tmp_path / POINTS_FILE) in str(refusal.value)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = some_points(range(4)).save(tmp_path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DatasetError, match="Write the labels again"):
        NamedPoints.load(tmp_path)


def test_packing_carries_the_points_of_packed_frames_even_when_they_come_later(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "plain")
    some_points(range(200)).save(dataset / "training")
    pack_dataset(dataset, tmp_path / "packed", size_px=32)
    stores = [open_split(tmp_path / name, "training") for name in ("plain", "packed")]
    samples = [windows_of(store)[5] for store in stores]
    np.testing.assert_array_equal(samples[0].points, samples[1].points)
    assert NamedPoints.load(tmp_path / "packed" / "validation") is None
    some_points(range(200), seed=1).save(dataset / "validation")
    pack_dataset(dataset, tmp_path / "packed", size_px=32)
    assert NamedPoints.load(tmp_path / "packed" / "validation") is not None


def test_labels_alone_are_no_split(tmp_path: Path) -> None:
    (tmp_path / "validation").mkdir()
    some_points(range(4)).save(tmp_path / "validation")
    assert not has_frames(tmp_path, "validation")


def windows_of(store) -> WindowDataset:  # type: ignore[no-untyped-def]
    points = NamedPoints.load(store.folder)
    return WindowDataset(
        store, store.card.action_space, cameras=CAMERAS, window_size=4, chunk_size=3, points=points
    )


@given(st.integers(0, 1000), st.integers(4, 19), st.integers(4, 19), st.booleans())
@settings(max_examples=30, deadline=None)
def test_points_move_with_the_pictures(number: int, column: int, row: int, per_tick: bool) -> None:
    pictures = {camera: np.zeros((3, 3, 24, 24), np.uint8) for camera in CAMERAS}
    points = np.full((3, 2, 2, 2), NAN, np.float32)
    for place, camera in enumerate(CAMERAS):
        pictures[camera][:, :, row, column] = 255
        points[:, place, 0] = ((column + 0.5) / 24, (row + 0.5) / 24)
    batch = collate([sample_of(pictures, points, number)])
    augmentation = Augmentation(
        AugmentationConfig(shift_px={"static": 4, "wrist": 2}, per_tick=per_tick), seed=number
    )
    spec = ImageSpec(size_px=24, mean=(0, 0, 0), std=(1, 1, 1))
    order = ("wrist", "static")
    shown = pictures_to_device(batch, order, spec, augmentation, device=torch.device("cpu"))[0]
    moved = points_in_pictures(batch, order, spec, augmentation)
    assert moved is not None and moved[0, ..., 1, :].isnan().all()
    for tick in range(3):
        for camera in range(2):
            (place,) = (shown[tick, camera, 0] > 0.5).nonzero().tolist()
            u, v = (moved[0, tick, camera, 0] * 24).tolist()
            assert (math.floor(v), math.floor(u)) == tuple(place)


def sample_of(pictures: dict[str, np.ndarray], points: np.ndarray, number: int) -> WindowSample:
    return WindowSample(
        pictures=pictures,
        actions=np.zeros((4, 7), np.float32),
        is_valid=np.ones(4, np.bool_),
        state=np.zeros((3, 10), np.float32),
        instruction="lift the red block",
        number=number,
        points=points,
    )


def test_only_points_in_the_picture_count_and_cells_are_where_they_lie() -> None:
    module = GroundingLoss(in_size=1, num_cameras=1, num_slots=1, cells=4, weight=1.0)
    torch.nn.init.zeros_(module.projection.weight)
    torch.nn.init.zeros_(module.projection.bias)
    features = torch.ones(1, 1, 1)

    def of(u: float, v: float) -> tuple[float, float]:
        found = module(features, torch.tensor([u, v]).view(1, 1, 1, 1, 2))
        return float(found.loss.detach()), float(found.hits)

    assert of(0.5, 0.5)[0] == pytest.approx(math.log(16))
    for outside in ((NAN, NAN), (-0.01, 0.5), (0.5, 1.01), (float("inf"), 0.5)):
        assert of(*outside) == (0.0, 0.0)
    with torch.no_grad():
        module.projection.bias[4 * 2 + 1] = 50.0  # third row, second column
    assert of(0.3, 0.6)[0] < 1e-3 and of(0.3, 0.6)[1] == 1.0
    assert of(0.6, 0.9)[1] == 1.0 and of(0.9, 0.6)[1] == 0.0
    module(features, torch.full((1, 1, 1, 1, 2), NAN)).loss.backward()
    assert module.projection.weight.grad is not None and not module.projection.weight.grad.any()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label(write_dataset(tmp_path_factory.mktemp("data") / "labelled"))


@pytest.fixture(scope="module")
def config(dataset: Path) -> Path:
    described = {
        "model": {
            "window_size": 3,
            "chunk_size": 2,
            "head": {"hidden_size": 16, "num_layers": 1, "mlp_sizes": [16]},
        },
        "data": {
            "sources": [{"path": str(dataset)}],
            "augmentation": {"shift_px": {"static": 4, "wrist": 2}},
            "workers": 0,
        },
        "optimization": {"learning_rate": 1e-3, "warmup_epochs": 0.0, "batch_size": 4, "max_steps": 4},
        "run": {"validate_every": 100, "save_every": 100, "log_every": 1, "validation_batches": 2},
        "grounding": {"weight": 0.3, "cells": 6},
    }
    path = dataset.parent / "run.yaml"
    path.write_text(yaml.safe_dump(described))
    return path


def train(config: Path, out: Path, *more: str) -> int:
    chosen = [part for each in more if "=" in each for part in ("--set", each)]
    return main([str(config), "--out", str(out), *chosen, *(each for each in more if "=" not in each)])


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "last" / "model.safetensors")


def are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], *, within: float = 0.0) -> bool:
    return one.keys() == other.keys() and all(float((one[k] - other[k]).abs().max()) <= within for k in one)


@pytest.fixture(scope="module")
def four_steps(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "four"
    assert train(config, out) == 0
    return out


def test_a_tiny_model_learns_to_point(config: Path, tmp_path: Path) -> None:
    assert train(config, tmp_path / "run", "optimization.max_steps=40", "optimization.learning_rate=3e-3") == 0
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    found = [row["grounding"] for row in rows if row["kind"] == "training"]
    assert sum(found[-5:]) / 5 < 0.6 * found[0]
    hits = [row["grounding_hits"] for row in rows if row["kind"] == "training"]
    assert sum(hits[-5:]) / 5 > 0.8
    validation = [row for row in rows if row["kind"] == "validation"]
    assert {row["source"] for row in validation} == {"labelled", "mean"}
    assert all(0 <= row["grounding_hits"] <= 1 and row["grounding"] > 0 for row in validation)


def test_pointing_at_patches_is_learned_too_and_is_no_part_of_a_checkpoint(
    config: Path, four_steps: Path, tmp_path: Path
) -> None:
    wanted = ("grounding.pointing=true", "optimization.max_steps=40", "optimization.learning_rate=3e-3")
    assert train(config, tmp_path / "run", *wanted) == 0
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    found = [row["pointing"] for row in rows if row["kind"] == "training"]
    assert sum(found[-5:]) / 5 < 0.6 * found[0]
    assert weights(tmp_path / "run").keys() == weights(four_steps).keys()


def test_two_steps_and_two_more_are_four(config: Path, four_steps: Path, tmp_path: Path) -> None:
    assert train(config, tmp_path / "two", "optimization.max_steps=2") == 0
    assert train(config, tmp_path / "two", "--resume") == 0
    assert are_equal(weights(tmp_path / "two"), weights(four_steps))
    states = [
        torch.load(run / "state.ckpt", weights_only=True)["module"] for run in (tmp_path / "two", four_steps)
    ]
    assert any("grounding" in name for name in states[0])
    assert are_equal(*states)


def test_micro_batches_make_the_step_of_the_whole_batch(config: Path, four_steps: Path, tmp_path: Path) -> None:
    assert train(config, tmp_path / "micro", "optimization.micro_batch_size=1") == 0
    # A softmax does not see the bias of its keys: its gradient is rounding alone, of which Adam makes whole steps.
    one, other = (
        {name: weight for name, weight in weights(run).items() if not name.endswith("k_proj.bias")}
        for run in (tmp_path / "micro", four_steps)
    )
    assert are_equal(one, other, within=1e-4)
    found, expected = (
        [row["grounding"] for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "training"]
        for run in (tmp_path / "micro", four_steps)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_without_the_section_labels_change_nothing(config: Path, four_steps: Path, tmp_path: Path) -> None:
    off = "grounding=null"
    assert train(config, tmp_path / "labelled", off) == 0
    plain = f"data.sources=[{{path: {write_dataset(tmp_path / 'plain' / 'labelled')}}}]"
    assert train(config, tmp_path / "without", off, plain) == 0
    assert are_equal(weights(tmp_path / "labelled"), weights(tmp_path / "without"))
    assert not are_equal(weights(tmp_path / "labelled"), weights(four_steps))
    assert weights(four_steps).keys() == weights(tmp_path / "without").keys()  # no part of the checkpoint
    assert not [row for row in read_metrics(tmp_path / "without" / "metrics.jsonl") if "grounding" in row]
    pages = [(run / "data_check.html").read_text() for run in (four_steps, tmp_path / "labelled")]
    assert ["static; crosses: slot 0 magenta" in page for page in pages] == [True, False]


def test_sources_with_and_without_labels_are_mixed(config: Path, dataset: Path, tmp_path: Path) -> None:
    plain = write_dataset(tmp_path / "plain", seed=5)
    both = f"data.sources=[{{path: {plain}}}, {{path: {dataset}}}]"
    assert train(config, tmp_path / "run", both, "optimization.max_steps=2") == 0
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "validation"]
    has_metric = {row["source"]: "grounding" in row for row in rows}
    assert has_metric == {"plain": False, "labelled": True, "mean": True}


def test_what_cannot_be_grounded_is_refused_in_a_sentence(
    config: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = write_dataset(tmp_path / "plain")
    assert train(config, tmp_path / "run", f"data.sources=[{{path: {plain}}}]") == 1
    assert f"grounding needs a source with {POINTS_FILE}" in capsys.readouterr().err
    some_points(range(200)).save(plain / "training")
    assert train(config, tmp_path / "run", f"data.sources=[{{path: {plain}}}, {{path: {dataset}}}]") == 1
    assert "must have the same slots" in capsys.readouterr().err
    discrete = ("model.structure=one_step_discrete", "model.window_size=1", "model.action_tokens={}")
    assert train(config, tmp_path / "run", *discrete) == 1
    assert "one_step_discrete does not have" in capsys.readouterr().err
    assert train(config, tmp_path / "run", "grounding.cells=1") == 1
    assert "cells between 2 and 64" in capsys.readouterr().err
