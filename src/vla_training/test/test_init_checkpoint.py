# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch

from vla_core.checkpoint import load_checkpoint
from vla_core.geometry import Pose
from vla_core.model.backbones.kosmos2 import Kosmos2Backbone
from vla_core.model.tiny_kosmos2 import write_tiny_kosmos2
from vla_core.policy import VlaPolicy
from vla_core.robot_spec import RobotSpec
from vla_core.types import Observation
from vla_training.init_checkpoint import main

SPEC_PATH = Path(__file__).parents[3] / "config" / "robots" / "sim_arm.yaml"
torch.set_num_threads(1)


def init(out: Path, *options: str) -> int:
    return main(["--robot", str(SPEC_PATH), "--out", str(out), *options])


def observation(seed: int) -> Observation:
    generator = np.random.default_rng(seed)
    return Observation(
        stamp_ns=0,
        images={name: generator.integers(0, 256, (200, 200, 3), dtype=np.uint8) for name in ("static", "wrist")},
        pose_tcp_in_base=Pose.identity(),
        joint_positions_rad=np.zeros(7),
        gripper_open=1.0,
        source_stamps_ns={},
    )


def test_makes_an_untrained_policy_that_fits_the_robot_and_moves_modestly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(tmp_path / "c") == 0
    assert "UNTRAINED" in capsys.readouterr().out
    policy = VlaPolicy.load(tmp_path / "c")
    policy.contract.check_fits(RobotSpec.load(SPEC_PATH))
    assert policy.contract.is_trained is False
    chunks = np.asarray([policy.infer(observation(seed), "open the drawer").actions for seed in range(10)])
    speeds_m_s = np.linalg.norm(chunks[:, 0, :3], axis=1) * 0.02 / policy.contract.period_s
    assert 0.001 < speeds_m_s.max() < 0.05


def test_options_reach_the_checkpoint(tmp_path: Path) -> None:
    options = ["--window-size", "3", "--chunk-size", "4", "--rate-hz", "5", "--action-frame", "base"]
    assert init(tmp_path / "c", *options) == 0
    card = load_checkpoint(tmp_path / "c").card
    assert (card.model.window_size, card.model.chunk_size, card.period_s) == (3, 4, 0.2)
    assert card.action_space.frame == "base"


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert init(tmp_path / name, "--seed", seed) == 0
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b and a != c


def test_a_backbone_folder_keeps_its_weights(tmp_path: Path) -> None:
    folder = write_tiny_kosmos2(tmp_path / "pretrained", seed=5)
    assert init(tmp_path / "c", "--backbone", str(folder)) == 0
    model = load_checkpoint(tmp_path / "c").model
    expected = Kosmos2Backbone.from_pretrained(folder).state_dict()["model.image_to_text_projection.dense.weight"]
    assert torch.equal(model.state_dict()["backbone.model.image_to_text_projection.dense.weight"], expected)
    assert model.head.hidden_size == 1024
    assert float(model.lrn_token.detach().abs().max()) > 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--backbone", "/nowhere"], "no config.json"),
        (["--rate-hz", "100"], "trained at 100 Hz"),
        (["--rate-hz", "0"], "rate_hz must be above 0"),
        (["--window-size", "0"], "window_size must be at least 1"),
        (["--robot", "/nowhere.yaml"], "no such file"),
    ],
)
def test_what_cannot_be_made_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert init(tmp_path / "c", *options) == 1
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
