# SPDX-License-Identifier: Apache-2.0
"""A run gives the same weights wherever it was interrupted and however it was cut into processes."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from calvin_factory import write_dataset
from safetensors.torch import load_file
from tiny_models import random_observation

from vla_core.checkpoint import load_checkpoint
from vla_core.policy import VlaPolicy
from vla_training.sweep import DEFAULT_GRID, combinations
from vla_training.sweep import main as sweep
from vla_training.train import main
from vla_training.training.metrics_log import read_metrics
from vla_training.training.optimizer import build_optimizer, learning_rate_factor
from vla_training.training.settings import OptimizationConfig

torch.set_num_threads(1)
# Sums in another order differ in their last bits: processes that are compared use as many threads as this one.
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    return write_dataset(tmp_path_factory.mktemp("data") / "demonstrations")


@pytest.fixture(scope="module")
def config(dataset: Path) -> Path:
    settings = {
        "model": {
            "window_size": 3,
            "chunk_size": 2,
            "head": {"hidden_size": 16, "num_layers": 1, "mlp_sizes": [16]},
        },
        "data": {
            "sources": [{"path": str(dataset)}],
            "augmentation": {"shift_px": {"static": 4, "wrist": 2}, "hue": 0.05},
            "workers": 0,
        },
        "optimization": {"learning_rate": 1e-3, "warmup_epochs": 0.2, "batch_size": 4, "max_steps": 4},
        "run": {"validate_every": 3, "save_every": 2, "log_every": 1, "validation_batches": 1},
    }
    path = dataset.parent / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def train(config: Path, out: Path, *more: str) -> int:
    settings = [part for each in more if "=" in each for part in ("--set", each)]
    return main([str(config), "--out", str(out), *settings, *(each for each in more if "=" not in each)])


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / name / "model.safetensors")


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.fixture(scope="module")
def four_steps(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "four"
    assert train(config, out) == 0
    return out


def test_a_run_leaves_what_reproduces_it_and_checkpoints_that_a_policy_loads(four_steps: Path) -> None:
    for name in (
        "config.yaml",
        "versions.yaml",
        "metrics.jsonl",
        "plots/curves.png",
        "data_check.html",
        "state.ckpt",
    ):
        assert (four_steps / name).stat().st_size > 0
    assert list((four_steps / "tensorboard").iterdir())
    for name in ("best", "last"):
        checkpoint = load_checkpoint(four_steps / "checkpoints" / name)
        assert checkpoint.card.is_trained
        assert checkpoint.card.action_space.normalization is not None
        source = checkpoint.statistics["sources"]["demonstrations"]
        assert len(source["q01"]) == len(source["q99"]) == 6
        chunk = VlaPolicy(checkpoint).infer(random_observation(0), "open the drawer")
        assert np.isfinite(chunk.actions).all()
    rows = read_metrics(four_steps / "metrics.jsonl")
    assert [row["step"] for row in rows if row["kind"] == "training"] == [1, 2, 3, 4]
    assert {row["source"] for row in rows if row["kind"] == "validation"} == {"demonstrations", "mean"}


def test_two_steps_and_two_more_are_four(config: Path, four_steps: Path, tmp_path: Path) -> None:
    assert train(config, tmp_path / "two", "optimization.max_steps=2") == 0
    assert train(config, tmp_path / "two", "--resume") == 0
    assert largest_difference(weights(tmp_path / "two"), weights(four_steps)) == 0
    rows = [row for row in read_metrics(tmp_path / "two" / "metrics.jsonl") if row["kind"] == "training"]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(config: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vla_training.train", str(config), "--out", str(tmp_path / "killed")]
    longer = ["--set", "optimization.max_steps=12", "--set", "run.save_every=3"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*command, *longer], env=ONE_THREAD, **silent)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while len([row for row in read_metrics(metrics) if row["kind"] == "training"]) < 5:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert train(config, tmp_path / "killed", "--resume", *longer[1::2]) == 0
    assert train(config, tmp_path / "whole", *longer[1::2]) == 0
    assert largest_difference(weights(tmp_path / "killed"), weights(tmp_path / "whole")) == 0
    killed, whole = (
        [
            {k: v for k, v in row.items() if k != "samples_per_s"}
            for row in read_metrics(tmp_path / name / "metrics.jsonl")
        ]
        for name in ("killed", "whole")
    )
    assert killed == whole


@pytest.mark.slow
def test_a_run_that_is_asked_to_stop_saves_and_goes_on(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    command = [sys.executable, "-m", "vla_training.train", str(config), "--out", str(out)]
    more = ["--set", "optimization.max_steps=1000", "--set", "run.save_every=1000"]
    process = subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 120
    while not [row for row in read_metrics(out / "metrics.jsonl") if row["kind"] == "training"]:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "go on with" in said
    done = torch.load(out / "state.ckpt", weights_only=True)["step"]
    assert 0 < done < 1000
    assert train(config, out, "--resume", f"optimization.max_steps={done + 1}", "run.save_every=1000") == 0


@pytest.mark.slow
def test_two_processes_and_micro_batches_make_the_step_of_one(
    config: Path, four_steps: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "vla_training.train", str(config), "--out", str(tmp_path / "two")]
    subprocess.run([*command, "--set", "run.processes=2"], check=True, capture_output=True)
    assert largest_difference(weights(tmp_path / "two"), weights(four_steps)) < 1e-4
    assert train(config, tmp_path / "micro", "optimization.micro_batch_size=1") == 0
    assert largest_difference(weights(tmp_path / "micro"), weights(four_steps)) < 1e-4
    numbers = {
        name: [row["loss"] for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "validation"]
        for name, run in (("two", tmp_path / "two"), ("one", four_steps))
    }
    np.testing.assert_allclose(numbers["two"], numbers["one"], rtol=1e-3)


def test_adapters_are_trained_kept_apart_and_resumed(config: Path, tmp_path: Path) -> None:
    lora = ("finetuning.mode=lora", "finetuning.lora.rank=2")
    assert train(config, tmp_path / "a", *lora) == 0
    assert (tmp_path / "a" / "checkpoints" / "last" / "adapter" / "adapter_model.safetensors").exists()
    state = torch.load(tmp_path / "a" / "state.ckpt", weights_only=True)["module"]
    assert not [name for name in state if ".base_layer." in name]  # what is not trained is not kept
    assert train(config, tmp_path / "b", *lora, "optimization.max_steps=2") == 0
    assert train(config, tmp_path / "b", *lora, "--resume") == 0
    adapters = [load_file(tmp_path / n / "checkpoints/last/adapter/adapter_model.safetensors") for n in "ab"]
    assert largest_difference(*adapters) == 0
    VlaPolicy(load_checkpoint(tmp_path / "a" / "checkpoints" / "last"))


def test_a_checkpoint_is_trained_further_with_its_own_meaning_of_actions(
    config: Path, four_steps: Path, tmp_path: Path
) -> None:
    settings = yaml.safe_load(config.read_text())
    del settings["model"]
    further = tmp_path / "further.yaml"
    further.write_text(yaml.safe_dump(settings))
    start = four_steps / "checkpoints" / "last"
    assert train(further, tmp_path / "run", f"start.checkpoint={start}", "optimization.max_steps=1") == 0
    before, after = (load_checkpoint(path).card for path in (start, tmp_path / "run" / "checkpoints" / "last"))
    assert before == after


def test_the_average_of_the_weights_is_saved_and_resumed(config: Path, four_steps: Path, tmp_path: Path) -> None:
    average = "optimization.ema_decay=0.9"
    assert train(config, tmp_path / "a", average) == 0
    assert largest_difference(weights(tmp_path / "a"), weights(four_steps)) > 0
    assert train(config, tmp_path / "b", average, "optimization.max_steps=2") == 0
    assert train(config, tmp_path / "b", average, "--resume") == 0
    assert largest_difference(weights(tmp_path / "a"), weights(tmp_path / "b")) == 0


def test_questions_about_pictures_are_learned_beside(config: Path, four_steps: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.full((20, 20, 3), 200, np.uint8)).save(tmp_path / "grey.png")
    examples = tmp_path / "examples.jsonl"
    examples.write_text(json.dumps({"image": "grey.png", "question": "What is it?", "answer": "nothing"}) + "\n")
    both = (f"cotraining.examples={examples}", "cotraining.weight=1.0", "optimization.max_steps=12")
    assert train(config, tmp_path / "run", *both, "optimization.warmup_epochs=0") == 0
    losses = [row["answers"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "answers" in row]
    assert losses[-1] < 0.8 * losses[0]
    assert train(config, tmp_path / "own", "cotraining.weight=0.05", "optimization.max_steps=1") == 0
    examples.write_text('{"image": "grey.png"}\n')
    assert train(config, tmp_path / "bad", f"cotraining.examples={examples}") == 1


def test_a_run_without_validation_keeps_its_last_checkpoint(config: Path, dataset: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    write_dataset(own)
    for path in (own / "validation").glob("*.npz"):  # few episodes: none was for validation
        path.unlink()
    one = "optimization.max_steps=1"
    assert train(config, tmp_path / "run", one, f"data.sources=[{{path: {own}}}]") == 0
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["last"]


def test_a_few_windows_can_be_learned_by_heart(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(config), "--overfit", "2", "--set", "optimization.learning_rate=3e-3"]) == 0
    assert "overfit check passed: 2 windows" in capsys.readouterr().out
    assert main([str(config), "--overfit", "2", "--set", "optimization.learning_rate=1e-9"]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert main([str(config), "--overfit", "0"]) == 1
    assert "needs at least one window" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("data.sources=[{path: nowhere}]", "nowhere: no folder 'training'"),
        ("data.source=[]", "Did you mean 'sources'"),
        ("optimization.batch_size=5", "not a multiple"),
        ("optimization.learning_rate=-1", "learning_rate must be above 0"),
        ("model.window_size=90", "no annotation is longer than the window of 90 ticks"),
        ("model.loss.language_weight=0.05", "start.text_encoder"),
        ("run.strategy=fsdp", "needs GPUs"),
        ("data", "expected section.key=value"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, sentence: str
) -> None:
    more = ["optimization.micro_batch_size=2"] if "batch_size" in change else []
    settings = [part for each in (change, *more) for part in ("--set", each)]
    assert main([str(config), "--out", str(tmp_path / "run"), *settings]) == 1
    assert sentence in capsys.readouterr().err


def test_another_run_is_neither_written_over_nor_gone_on_with(
    config: Path, four_steps: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(config, four_steps) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert train(config, four_steps, "--resume", "optimization.learning_rate=5e-4") == 1
    assert "was begun with optimization.learning_rate: 0.001, now it is 0.0005" in capsys.readouterr().err


def test_a_sweep_compares_combinations_and_does_none_twice(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(config), "--out", str(tmp_path), "--set", "optimization.max_steps=1"]
    axes = ["--grid", "optimization.learning_rate=1e-3,1e-9", "--grid", "optimization.weight_decay=0"]
    assert sweep([*command, *axes]) == 0
    assert "best: learning_rate=" in capsys.readouterr().out
    facts = yaml.safe_load((tmp_path / "sweep.yaml").read_text())
    assert len(facts) == 2 and all(fact["status"] == "done" for fact in facts)
    states = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/state.ckpt")}
    assert sweep([*command, *axes]) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/state.ckpt")} == states
    assert "Sweep" in (tmp_path / "sweep.html").read_text()


def test_the_default_sweep_is_the_grid_of_the_seed_documents() -> None:
    chosen = combinations(DEFAULT_GRID)
    assert len(chosen) == 3 * 2 * 3 * 2 == len({each.name for each in chosen})


def test_vectors_are_not_decayed() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    groups = build_optimizer(module, OptimizationConfig(weight_decay=0.1)).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 0.1), (3, 0.0)]


def test_the_learning_rate_warms_up_from_zero_and_then_stays_or_falls() -> None:
    def factors(**options: object) -> list[float]:
        config = OptimizationConfig(**options)  # type: ignore[arg-type]
        return [learning_rate_factor(step, num_steps=20, warmup_steps=4, config=config) for step in range(21)]

    assert factors()[:6] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    cosine = factors(schedule="cosine", min_learning_rate=0.1)
    assert cosine[4] == 1.0 and cosine[20] == pytest.approx(0.1)
    assert all(a > b for a, b in itertools.pairwise(cosine[4:]))
