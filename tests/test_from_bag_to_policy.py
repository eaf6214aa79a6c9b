# SPDX-License-Identifier: Apache-2.0
"""The way of a newcomer: an expert's bag becomes a dataset, a checkpoint and a number, command by command."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from vla_core.checkpoint import load_checkpoint
from vla_core.robot_spec import RobotSpec
from vla_sim.demonstration_bags import main as demonstration_bags
from vla_training.bag_to_dataset import main as bag_to_dataset
from vla_training.evaluate import main as evaluate
from vla_training.train import main as train

SPEC = Path(__file__).parents[1] / "config" / "robots" / "sim_arm.yaml"
# An untrained policy and the zero action are both off by about 0.6 of the largest action.
LARGEST_ERROR = 0.3
SETTINGS = {
    "model": {
        "window_size": 2,
        "chunk_size": 3,
        "head": {"hidden_size": 128, "num_layers": 1, "mlp_sizes": [128]},
        "loss": {"gripper_weight": 0.1},
        "use_state": True,
    },
    "optimization": {
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
        "batch_size": 16,
        "max_steps": 200,
    },
}


@pytest.mark.slow
def test_a_bag_of_the_expert_trains_a_policy_that_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bags, dataset, run = tmp_path / "bags", tmp_path / "dataset", tmp_path / "run"
    assert demonstration_bags(["--tasks", "open_drawer", "--out", str(bags), "--quiet"]) == 0
    options = ["--robot", str(SPEC), "--out", str(dataset), "--validation-share", "0", "--quiet"]
    assert bag_to_dataset([str(bags), *options]) in (0, 2)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**SETTINGS, "data": {"sources": [{"path": str(dataset)}], "workers": 0}}))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a tiny model is quicker so
    try:
        assert train([str(config), "--out", str(run)]) == 0
        checkpoint = run / "checkpoints" / "last"
        asked = ["--robot", str(SPEC), "--out", str(tmp_path / "report"), "--max-error", str(LARGEST_ERROR)]
        assert evaluate(["open_loop", str(checkpoint), str(bags), *asked]) == 0
    finally:
        torch.set_num_threads(threads)
    load_checkpoint(checkpoint).card.contract.check_fits(RobotSpec.load(SPEC))
    assert json.loads((tmp_path / "report" / "results.json").read_text())
