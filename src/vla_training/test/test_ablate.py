# SPDX-License-Identifier: Apache-2.0
"""A table of variants: runs are shared, nothing is done twice, and what is wrong is said in a sentence."""

import json
from pathlib import Path

import pytest
import yaml

from vla_training.ablate import main
from vla_training.collect_tabletop import collect
from vla_training.tabletop.school import LessonPlan

pytest.importorskip("mujoco")

ROOT = Path(__file__).parents[3]
ROBOT = ROOT / "config" / "robots" / "sim_arm.yaml"
TINY = {"image_size_px": 28, "vision_width": 16, "vision_layers": 1, "picture_tokens": 2, "width": 16, "layers": 1}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lessons")
    plan = LessonPlan(robot=ROBOT, num_tasks=1, size_px=28, side_by_side=2)
    collect(plan, out, lessons=4, validation=0, seed=0, processes=1, show_progress=False)
    return out


def write_plan(folder: Path, dataset: Path, rows: list[dict[str, object]]) -> Path:
    train = {
        "start": {"backbone": "tiny", "tiny": {**TINY, "num_heads": 2}},
        "model": {"window_size": 2, "chunk_size": 2, "head": {"hidden_size": 8, "mlp_sizes": [8]}},
        "data": {"sources": [{"path": str(dataset)}], "workers": 0},
        "optimization": {"batch_size": 2, "max_steps": 2},
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(train))
    trials = ["--robot", str(ROBOT), "--tasks", "lift_red_block", "--episodes", "1", "--time-limit-s", "0.4"]
    plan = {"config": str(folder / "train.yaml"), "rows": rows, "evaluate": [*trials, "--videos", "0", "--quiet"]}
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    return folder / "plan.yaml"


def test_variants_share_runs_and_are_not_done_twice(dataset: Path, tmp_path: Path) -> None:
    rows = [
        {"name": "as it is"},
        {"name": "window 1", "train": ["model.window_size=1"]},
        {"name": "late chunks", "evaluate": ["--latency-ms", "100"]},
    ]
    out = tmp_path / "out"
    rows.append({"name": "there already", "checkpoint": str(out / "runs" / "window_1" / "checkpoints" / "last")})
    plan = write_plan(tmp_path, dataset, rows)
    assert main([str(plan), "--out", str(out)]) == 0
    assert [row["name"] for row in json.loads((out / "results.json").read_text())] == [row["name"] for row in rows]
    assert (out / "table.md").read_text().count("\n") == 2 + len(rows)
    runs = sorted(path.name for path in (out / "runs").iterdir())
    assert runs == ["as_it_is", "window_1"], "late chunks are the first row's policy, the last row is the second's"
    written = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    assert main([str(plan), "--out", str(out)]) == 0
    assert written == {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}


def test_a_row_that_cannot_be_trained_ends_the_table_with_a_sentence(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = write_plan(tmp_path, dataset, [{"name": "odd", "train": ["model.window_size=-1"]}])
    assert main([str(plan), "--out", str(tmp_path / "out")]) == 1
    assert "the training run has failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"name": "same"}, {"name": "same"}], "each with a name of its own"),
        (
            [{"name": "both", "checkpoint": "there", "train": ["model.window_size=1"]}],
            "a row has one of them, or none",
        ),
    ],
)
def test_rows_that_make_no_sense_are_refused(
    rows: list[dict[str, object]], sentence: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(write_plan(tmp_path, dataset, rows)), "--out", str(tmp_path / "out")]) == 1
    assert sentence in capsys.readouterr().err
