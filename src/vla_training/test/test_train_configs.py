# SPDX-License-Identifier: Apache-2.0
"""Each training config that is shipped makes a checkpoint that a policy runs, or a run that trains."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import yaml
from calvin_factory import write_dataset
from tiny_backbones import tiny_backbone_folder
from tiny_models import random_observation

from vla_core.checkpoint import load_checkpoint
from vla_core.model.config import Structure
from vla_core.policy import VlaPolicy
from vla_core.robot_spec import RobotSpec
from vla_training.init_checkpoint import main
from vla_training.training.finetuning import prepare_for_training
from vla_training.training.preparation import prepare
from vla_training.training.train_config import TrainConfig, complete_train_config, read_train_config

ROOT = Path(__file__).parents[3]
EVERY = sorted((ROOT / "config" / "train").glob("*.yaml"))
CONFIGS = [path for path in EVERY if "backbone" in yaml.safe_load(path.read_text()).get("model", {})]
RUNS = [path for path in EVERY if "data" in yaml.safe_load(path.read_text())]
SPEC_PATH = ROOT / "config" / "robots" / "sim_arm.yaml"
torch.set_num_threads(1)


def completed(path: Path) -> TrainConfig:
    data = read_train_config(path)
    folder = tiny_backbone_folder(data["model"]["backbone"])
    cameras = list(RobotSpec.load(SPEC_PATH).cameras)
    return complete_train_config(data, backbone_dir=folder, cameras=cameras, where=str(path))


def small_head(path: Path, copy: Path) -> Path:
    """Write a config with a head so small that a test is quick."""
    data: dict[str, Any] = yaml.safe_load(path.read_text())
    if "head" in data["model"]:
        data["model"]["head"] |= {"hidden_size": 16, "mlp_sizes": [16]}
    copy.write_text(yaml.safe_dump(data))
    return copy


def test_every_structure_has_an_example() -> None:
    assert {completed(path).model.structure for path in CONFIGS} == set(get_args(Structure))


def test_kosmos2_is_the_recipe_of_robovlms() -> None:
    config = completed(ROOT / "config" / "train" / "kosmos2.yaml")
    model = config.model
    assert (model.window_size, model.chunk_size, model.cameras) == (8, 10, ("wrist", "static"))
    assert (model.head.kind, model.head.hidden_size, model.head.num_layers) == ("lstm", 1024, 4)
    assert model.head.mlp_sizes == (1024, 512, 256)
    assert (model.loss.arm, model.loss.gripper_weight, config.finetuning.mode) == ("huber", 0.01, "full")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_makes_a_checkpoint_that_a_policy_runs_and_a_run_can_train(path: Path, tmp_path: Path) -> None:
    config, out = completed(path), tmp_path / "c"
    folder = tiny_backbone_folder(config.model.backbone)
    options = {"--robot": SPEC_PATH, "--backbone": folder, "--config": small_head(path, tmp_path / path.name)}
    assert main(["--out", str(out), *(str(part) for option in options.items() for part in option)]) == 0
    policy = VlaPolicy.load(out)
    chunks = np.stack([policy.infer(random_observation(seed), "open the drawer").actions for seed in range(2)])
    assert chunks.shape == (2, config.model.chunk_size, 7)
    assert np.isfinite(chunks).all() and np.abs(chunks[..., :6]).max() <= 1.0
    summary = prepare_for_training(load_checkpoint(out).model, config.finetuning)
    assert 0 < summary.trainable <= summary.total


def test_the_runs_that_the_documents_name_are_there() -> None:
    assert {path.stem for path in RUNS} >= {"debug_cpu", "calvin_kosmos2", "calvin_paligemma", "bag_lora"}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_run_can_be_prepared_with_ones_own_data(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dataset = write_dataset(tmp_path / "demonstrations", lengths=(40,))
    settings = read_train_config(path)
    settings.pop("grounding", None)  # own demonstrations hold no labels for it, and the error says to leave it out
    for source in settings["data"]["sources"]:
        source["path"] = str(dataset)
    start = settings["start"]
    if "checkpoint" in start:
        start["checkpoint"] = str(tmp_path / "start")
        assert main(["--robot", str(SPEC_PATH), "--out", str(tmp_path / "start")]) == 0
    elif start["backbone"] != "tiny":
        start["backbone"] = str(tiny_backbone_folder(settings["model"]["backbone"]))
        settings["model"]["head"] |= {"hidden_size": 16, "mlp_sizes": [16]}
    with prepare(settings, str(path)) as run:
        assert run.num_steps >= 1
        assert prepare_for_training(run.start.model, run.config.finetuning).trainable > 0
        assert len(run.training.sources) == len(settings["data"]["sources"])
