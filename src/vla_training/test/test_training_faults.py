# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around a run ends in a sentence, and costs no more than the steps since it was saved."""

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from calvin_factory import write_dataset

from vla_training.train import main
from vla_training.training.metrics_log import read_metrics
from vla_training.training.objective import Objective
from vla_training.training.run_state import RunState

torch.set_num_threads(1)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_dataset(tmp_path / "demonstrations")


@pytest.fixture
def config(dataset: Path) -> Path:
    settings = {
        "model": {
            "window_size": 3,
            "chunk_size": 2,
            "head": {"hidden_size": 16, "num_layers": 1, "mlp_sizes": [16]},
        },
        "data": {"sources": [{"path": str(dataset)}], "workers": 0},
        "optimization": {"batch_size": 4, "max_steps": 4, "warmup_epochs": 0.0},
        "run": {"validate_every": 100, "save_every": 2, "log_every": 1, "validation_batches": 1},
    }
    path = dataset.parent / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def train(config: Path, out: Path, *more: str) -> int:
    settings = [part for each in more if "=" in each for part in ("--set", each)]
    return main([str(config), "--out", str(out), *settings, *(each for each in more if "=" not in each)])


def change_frame(dataset: Path, **arrays: Any) -> Path:
    """Change arrays of a training frame; return its file."""
    path = sorted((dataset / "training").glob("episode_*.npz"))[4]
    with np.load(path) as frame:
        np.savez(path, **{**frame, **arrays})
    return path


@pytest.mark.parametrize(
    "arrays", [{"rel_actions": np.full(7, np.nan)}, {"robot_obs": np.zeros(14)}], ids=["nan", "other shape"]
)
def test_numbers_that_cannot_be_used_name_their_file(
    arrays: dict[str, Any], config: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = change_frame(dataset, **arrays)
    assert train(config, tmp_path / "run") == 1
    said = capsys.readouterr().err
    assert path.name in said and "finite numbers" in said


def test_a_source_without_sentences_is_refused(
    config: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = {"language": {"ann": [], "task": [], "emb": []}, "info": {"episodes": [], "indx": []}}
    path = dataset / "training" / "lang_annotations" / "auto_lang_ann.npy"
    np.save(path, nothing, allow_pickle=True)  # type: ignore[arg-type]
    assert train(config, tmp_path / "run") == 1
    assert "holds no sentence" in capsys.readouterr().err


def test_a_damaged_picture_is_one_sentence_from_a_worker_too(config: Path, dataset: Path, tmp_path: Path) -> None:
    change_frame(dataset, rgb_static=np.zeros((3, 3, 3), np.uint8))
    command = [sys.executable, "-m", "vla_training.train", str(config), "--out", str(tmp_path / "run")]
    longer = ["--set", "data.workers=1", "optimization.max_steps=50"]
    ended = subprocess.run([*command, *longer], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].endswith("all pictures of a camera must be alike")


def test_a_full_disk_costs_the_steps_since_the_last_state(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, saves = RunState.save, []

    def save(state: RunState) -> None:
        saves.append(state)
        if len(saves) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(state)

    monkeypatch.setattr(RunState, "save", save)
    assert train(config, tmp_path / "run") == 1
    said = capsys.readouterr().err
    assert "step 4 cannot be saved" in said and "No space left" in said and "--resume" in said
    assert train(config, tmp_path / "run", "--resume") == 0
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows if row["kind"] == "training"] == [1, 2, 3, 4]


def test_a_gradient_that_is_not_finite_changes_nothing(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Objective.forward

    def spoilt(objective: Objective, *arguments: Any) -> Any:
        parts = forward(objective, *arguments)
        parts["loss"].register_hook(lambda gradient: gradient * float("nan"))
        return parts

    monkeypatch.setattr(Objective, "forward", spoilt)
    assert train(config, tmp_path / "run") == 1
    assert "the gradient is not finite" in capsys.readouterr().err
    assert not (tmp_path / "run" / "state.ckpt").exists()


def test_an_interrupt_before_the_first_step_is_a_sentence(config: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "vla_training.train",
        str(config),
        "--out",
        str(tmp_path / "run"),
        "--overfit",
    ]
    process = subprocess.Popen([*command, "--overfit"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    first = process.stderr.read(1)  # the bar: everything is imported
    process.send_signal(signal.SIGINT)
    said = first + process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert "Traceback" not in said and "stopped" in said


def sweep_command(config: Path, out: Path, num_steps: int) -> list[str]:
    axes = ["--grid", "optimization.learning_rate=1e-3,1e-4"]
    command = [sys.executable, "-m", "vla_training.sweep", str(config), *axes, "--out", str(out)]
    return [*command, "--set", f"optimization.max_steps={num_steps}"]


def test_an_interrupted_sweep_saves_the_run_that_it_was_at(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    process = subprocess.Popen(sweep_command(config, out, 10_000), text=True, stdout=subprocess.PIPE)
    metrics = out / "learning_rate=1e-3" / "metrics.jsonl"
    deadline = time.monotonic() + 120.0
    while len(read_metrics(metrics)) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on" in said
    last = read_metrics(metrics)[-1]["step"]
    state = torch.load(metrics.parent / "state.ckpt", weights_only=True)
    assert state["step"] >= last
    assert not (out / "learning_rate=1e-4").exists()


def test_a_sweep_of_other_settings_is_not_answered_with_old_runs(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    for num_steps in (1, 2):
        ended = subprocess.run(sweep_command(config, out, num_steps), check=False, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        assert [read_metrics(path)[-1]["step"] for path in out.glob("*/metrics.jsonl")] == [num_steps] * 2
