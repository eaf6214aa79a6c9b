# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from robovlms_samples import (
    folder_without_weights,
    observation,
    original_tensors,
    random_model,
    settings,
    write_pair,
)
from safetensors.torch import load_file, save_file
from tiny_models import SHARED_GOLDEN

from vla_core.actions.action_space import calvin_action
from vla_core.checkpoint import Checkpoint, load_checkpoint, load_tokenizer
from vla_core.checkpoint_card import CheckpointCard, PictureSize, RobotSnapshot
from vla_core.geometry import Pose
from vla_core.model.config import HeadConfig
from vla_core.model.heads import build_head
from vla_core.model.vla import VlaModel
from vla_core.policy import VlaPolicy
from vla_core.robot_spec import RobotSpec
from vla_core.types import Observation
from vla_training.import_checkpoint import main
from vla_training.robovlms.keys import place_robovlms_key

SPEC_PATH = Path(__file__).parents[3] / "config" / "robots" / "sim_arm.yaml"
SENTENCE = "open the drawer"
torch.set_num_threads(1)
needs_shared = pytest.mark.skipif(
    not SHARED_GOLDEN.is_dir(), reason=f"the whole reference cases are not at {SHARED_GOLDEN}"
)
POOLED = {"action_space": "down_sample", "down_sample": "pooling"}
CASES: dict[str, dict[str, Any]] = {
    "lstm": {},
    "lstm of two layers, latent 2": {"head": {"latent": 2, "num_layers": 2}},
    "gpt": {"head": {"type": "GPTDecoder"}},
    "fc over a window": {"head": {"type": "FCDecoder"}},
    "one step": {"head": {"type": "FCDecoder"}, "window_size": 1},
    "interleaved": {"head": {"type": "FCDecoder", "history_type": "pre"}},
    "interleaved, latent 2": {"head": {"type": "FCDecoder", "history_type": "pre", "latent": 2}},
    "pooled": {"head": POOLED},
    "pooled text, latent 2": {"head": POOLED | {"token_source": "text", "latent": 2}},
    "pooled pictures": {"head": POOLED | {"token_source": "vision"}},
    "static camera alone": {"use_hand_rgb": False},
    "resampler": {"use_vision_resampler": True},
    "discrete": {"head": {"type": "DiscreteDecoder", "action_space": "discrete"}, "fwd_pred_next_n": 1},
}


def run(pair: tuple[Path, Path], out: Path, model: str = "kosmos", *options: str) -> int:
    weights, config = (str(path) for path in pair)
    backbone = str(folder_without_weights(model))
    return main([weights, "--config", config, "--backbone", backbone, "--out", str(out), *options])


def chunks_of(policy: VlaPolicy, ticks: int = 4) -> np.ndarray:
    return np.stack([policy.infer(observation(t), SENTENCE).actions for t in range(ticks)])


def policy_of(model: VlaModel, card: CheckpointCard, kind: str) -> VlaPolicy:
    folder = folder_without_weights(kind)
    tokenizer = load_tokenizer(model, folder)
    return VlaPolicy(Checkpoint(model=model, card=card, tokenizer=tokenizer, backbone_dir=folder))


@pytest.mark.parametrize("kind", ["kosmos", "paligemma"])
@pytest.mark.parametrize("case", CASES)
def test_an_imported_model_acts_as_the_one_it_was_made_from(tmp_path: Path, kind: str, case: str) -> None:
    config = settings(kind, **CASES[case])
    model = random_model(config)
    pair = write_pair(tmp_path / "run", config, original_tensors(model, kind))
    assert run(pair, tmp_path / "out", kind, "--report", str(tmp_path / "report.json")) == 0
    loaded = load_checkpoint(tmp_path / "out")
    expected = chunks_of(policy_of(model, loaded.card, kind))
    np.testing.assert_allclose(chunks_of(VlaPolicy(loaded)), expected, atol=2e-5)
    assert case == "discrete" or np.abs(expected[0] - expected[-1]).max() > 1e-3
    report = json.loads((tmp_path / "report.json").read_text())
    held = set(torch.load(pair[0], weights_only=True)["state_dict"]) | {"epoch", "global_step"}
    assert set(report["mapped"]) | set(report["ignored"]) == held
    assert report["missing"] == []


def golden_observation(arrays: Any, t: int) -> Observation:
    state = arrays["robot_obs"][t]
    return Observation(
        stamp_ns=0,
        images={"static": arrays["rgb_static"][t], "wrist": arrays["rgb_gripper"][t]},
        pose_tcp_in_base=Pose.from_euler(state[:3], state[3:6]),
        joint_positions_rad=state[7:14],
        gripper_open=1.0,
        source_stamps_ns={},
    )


@needs_shared
def test_the_reference_checkpoint_streams_the_reference_actions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = SHARED_GOLDEN / "robovlms_post_lstm.ckpt", SHARED_GOLDEN / "robovlms_post_lstm.json"
    arguments = [str(pair[0]), "--config", str(pair[1]), "--backbone", str(SHARED_GOLDEN / "tiny_kosmos2")]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "mapped     126" in printed and "1  tied to the word embeddings" in printed
    policy = VlaPolicy.load(tmp_path / "out")
    arrays = np.load(SHARED_GOLDEN / "e_post_lstm.npz")
    for t in range(12):
        chunk = policy.infer(golden_observation(arrays, t), SENTENCE)
        np.testing.assert_allclose(chunk.actions[:, :6], arrays["arm"][t, 0, 0], atol=1e-4)
        np.testing.assert_array_equal(chunk.actions[:, 6] > 0.5, arrays["gripper"][t, 0, 0, :, 0] > 0)
        executed = calvin_action(policy.contract.action_space, chunk.actions[0], arrays["robot_obs"][t, 3:6])
        np.testing.assert_allclose(executed[:6], arrays["executed"][t, :6], atol=1e-4)
        assert executed[6] == arrays["executed"][t, 6]


@needs_shared
@pytest.mark.parametrize("head", ["FC", "GPT", "LSTM"])
def test_reference_heads_are_placed_and_their_buffers_left_out(head: str) -> None:
    sizes = {"hidden_size": 32 if head == "GPT" else 24, "num_layers": 8 if head == "GPT" else 4}
    config = HeadConfig(kind=head.lower(), **sizes)  # type: ignore[arg-type]
    ours = build_head(config, embed_dim=16, chunk_size=3, num_lrn_tokens=1, window_size=4).state_dict()
    ours = {f"head.{name}": tensor for name, tensor in ours.items()}
    found = load_file(SHARED_GOLDEN / f"c_{head}Decoder_none_lat1.weights.safetensors")
    places = {name: place_robovlms_key(f"model.act_head.{name}", "kosmos2", ours) for name in found}
    placed = {place.name: tuple(found[name].shape) for name, place in places.items() if place.name}
    assert placed == {name: tuple(tensor.shape) for name, tensor in ours.items()}
    ignored = {place.reason for place in places.values() if place.name is None}
    assert ignored == ({"computed, not learned"} if head == "GPT" else set())


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "module"])
@pytest.mark.parametrize("prefix", ["module.", "_forward_module.", "module._forward_module.module.", ""])
def test_wrappers_of_names_and_dictionaries_are_known(tmp_path: Path, key: str, prefix: str) -> None:
    config = settings()
    model = random_model(config)
    tensors = {prefix + name: tensor for name, tensor in original_tensors(model, "kosmos").items()}
    if not prefix:  # the original also reads names without 'model.'
        tensors = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    assert run(write_pair(tmp_path / "run", config, tensors, key=key), tmp_path / "out") == 0
    loaded = load_checkpoint(tmp_path / "out").model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())


def test_a_bare_safetensors_file_is_read(tmp_path: Path) -> None:
    config = settings()
    _, config_path = write_pair(tmp_path / "run", config, {"unused": torch.zeros(1)})
    path = tmp_path / "run" / "weights.safetensors"
    save_file(
        {name: tensor.clone() for name, tensor in original_tensors(random_model(config), "kosmos").items()}, path
    )
    assert run((path, config_path), tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("bf16", torch.bfloat16), ("fp16", torch.float16), ("16", torch.float32), ("bf16-mixed", torch.float32)],
)
def test_weights_in_bf16_are_kept_and_run_in_the_precision_of_the_evaluation(
    tmp_path: Path, precision: str, expected: torch.dtype
) -> None:
    config = settings(trainer={"precision": precision})
    tensors = {name: t.bfloat16() for name, t in original_tensors(random_model(config), "kosmos").items()}
    assert run(write_pair(tmp_path / "run", config, tensors), tmp_path / "out") == 0
    loaded = load_checkpoint(tmp_path / "out")
    assert loaded.model.dtype == expected
    assert torch.equal(
        loaded.model.state_dict()["lrn_token"].float(), tensors["model.action_token"].to(expected).float()
    )


def test_a_paligemma_token_is_scaled_unless_the_names_are_those_of_transformers_5(tmp_path: Path) -> None:
    config = settings("paligemma")
    model = random_model(config)
    old = original_tensors(model, "paligemma")
    new = {
        name.replace("backbone.model.", "model.backbone.").replace("head.", "model.act_head.", 1)
        if name.startswith(("backbone.", "head."))
        else "model.action_token": tensor
        for name, tensor in model.state_dict().items()
    }
    new = {name.replace("lm_model.act_head", "lm_head"): tensor for name, tensor in new.items()}
    for name, tensors in (("old", old), ("new", new)):
        pair = write_pair(tmp_path / name, config, tensors)
        assert run(pair, tmp_path / f"{name}_out", "paligemma") == 0
        found = load_checkpoint(tmp_path / f"{name}_out").model.state_dict()["lrn_token"]
        torch.testing.assert_close(found, model.state_dict()["lrn_token"], atol=1e-6, rtol=1e-6)


def test_facts_reach_the_checkpoint_and_no_path_of_the_training_machine_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = {"type": "DiscreteDecoder", "action_space": "discrete"}
    config = settings(head=head)
    pair = write_pair(tmp_path / "run", config, original_tensors(random_model(config), "kosmos"))
    assert run(pair, tmp_path / "out", "kosmos", "--rate-hz", "20") == 0
    assert "note: window_size 3 becomes 1" in capsys.readouterr().out
    loaded = load_checkpoint(tmp_path / "out")
    assert loaded.card.is_trained and loaded.card.period_s == 0.05
    assert loaded.card.robot == RobotSnapshot(
        name="calvin",
        cameras={
            "static": PictureSize(width_px=200, height_px=200),
            "wrist": PictureSize(width_px=84, height_px=84),
        },
    )
    assert loaded.training["settings"]["act_head"]["type"] == "DiscreteDecoder"
    text = "".join(path.read_text() for path in (tmp_path / "out").glob("*.*") if path.suffix != ".safetensors")
    assert "/home" not in text and str(tmp_path) not in text
    assert not list((tmp_path / "out" / "backbone").glob("*.safetensors"))


def test_a_robot_spec_gives_the_cameras_and_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(use_hand_rgb=False)
    pair = write_pair(tmp_path / "run", config, original_tensors(random_model(config), "kosmos"))
    spec = RobotSpec.load(SPEC_PATH)
    assert run(pair, tmp_path / "out", "kosmos", "--robot", str(SPEC_PATH), "--rate-hz", "10") == 0
    card = load_checkpoint(tmp_path / "out").card
    assert card.robot.name == spec.name and set(card.robot.cameras) == {"static"}
    card.contract.check_fits(spec)
    assert run(pair, tmp_path / "fast", "kosmos", "--robot", str(SPEC_PATH), "--rate-hz", "200") == 1
    assert "trained at 200 Hz" in capsys.readouterr().err
    assert not (tmp_path / "fast").exists()


def test_a_checkpoint_is_replaced_on_request_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = settings()
    pair = write_pair(tmp_path / "run", config, original_tensors(random_model(config), "kosmos"))
    assert [run(pair, tmp_path / "out") for _ in range(2)] == [0, 1]
    assert "exists already" in capsys.readouterr().err
    assert run(pair, tmp_path / "out", "kosmos", "--overwrite") == 0
