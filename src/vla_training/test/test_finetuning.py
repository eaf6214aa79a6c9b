# SPDX-License-Identifier: Apache-2.0
"""Each way of fine-tuning changes what it says, and only that; adapters load in both forms with equal outputs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_backbones import TINY, tiny_backbone_folder
from torch import Tensor

from vla_core.checkpoint import Checkpoint, load_checkpoint, load_tokenizer, save_checkpoint
from vla_core.errors import CheckpointError, ConfigError
from vla_core.images import ImageSpec
from vla_core.model.backbone import load_pretrained_backbone
from vla_core.model.build import build_vla_model
from vla_core.model.config import HeadConfig, ModelConfig
from vla_core.model.lora import merge_adapter
from vla_core.model.loss import TargetChunks
from vla_core.model.vla import VlaModel
from vla_core.model.windows import Windows
from vla_core.robot_spec import RobotSpec
from vla_training.init_checkpoint import init_checkpoint
from vla_training.training.finetuning import FinetuningConfig, LoraSettings, prepare_for_training

SPEC = RobotSpec.load(Path(__file__).parents[3] / "config" / "robots" / "sim_arm.yaml")
LORA = LoraSettings(rank=4, dropout=0.0)
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return init_checkpoint(SPEC, tmp_path_factory.mktemp("start") / "c", window_size=2, chunk_size=2)


@pytest.fixture
def checkpoint(start: Path) -> Checkpoint:
    return load_checkpoint(start)


def train(checkpoint: Checkpoint, steps: int = 2) -> None:
    model = checkpoint.model.train()
    images, tokens = torch.randn(2, 2, 2, 3, 84, 84), checkpoint.tokenizer(["open the drawer", "lift it"])
    target = TargetChunks(torch.rand(2, 2, 2, 6), torch.ones(2, 2, 2), torch.ones(2, 2, 2))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(Windows(images, tokens), target).total.backward()
        optimizer.step()
    model.eval()


def changed_names(checkpoint: Checkpoint, start: Path) -> set[str]:
    before = load_checkpoint(start).model.state_dict()
    after = checkpoint.model.state_dict()
    return {name for name in before if name in after and not torch.equal(before[name], after[name])}


TEXT, VISION = "backbone.model.text_model.model.", "backbone.model.vision_model."


@pytest.mark.parametrize(
    ("settings", "changed", "still"),
    [
        ({"mode": "full"}, [f"{TEXT}embed_tokens", f"{TEXT}layers.0.", VISION], []),
        ({"mode": "full", "train_vision": False}, [f"{TEXT}layers.0."], [VISION]),
        ({"mode": "full", "train_embeddings": False}, [VISION], [f"{TEXT}embed_tokens"]),
        ({"mode": "frozen"}, [], ["backbone."]),
        ({"mode": "frozen", "train_vision": True}, [VISION], [TEXT]),
        (
            {"mode": "last_layers", "num_last_layers": 1},
            [f"{TEXT}layers.2."],
            [f"{TEXT}layers.0.", f"{TEXT}layers.1.", VISION],
        ),
        ({"mode": "lora", "lora": LORA}, [], ["backbone."]),
    ],
)
def test_a_mode_trains_what_it_says(
    checkpoint: Checkpoint, start: Path, settings: Any, changed: list[str], still: list[str]
) -> None:
    summary = prepare_for_training(checkpoint.model, FinetuningConfig(**settings))
    assert 0 < summary.trainable <= summary.total
    train(checkpoint)
    names = changed_names(checkpoint, start)
    assert "lrn_token" in names and any(name.startswith("head.") for name in names)
    for beginning in changed:
        assert any(name.startswith(beginning) for name in names), beginning
    for beginning in still:
        assert not any(name.startswith(beginning) for name in names), beginning


def outputs(checkpoint: Checkpoint) -> Tensor:
    images = torch.randn(1, 2, 2, 3, 84, 84, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        text = checkpoint.model.embed_tokens(checkpoint.tokenizer(["open the drawer"]))
        history = checkpoint.model.new_history()
        for t in range(2):
            chunks, history = checkpoint.model.step(images[:, t], text, history)
    return torch.cat([chunks.arm, chunks.gripper_logit[..., None]], dim=-1)


def test_adapters_load_apart_and_merged_with_equal_outputs(
    checkpoint: Checkpoint, start: Path, tmp_path: Path
) -> None:
    prepare_for_training(checkpoint.model, FinetuningConfig(mode="lora", lora=LORA))
    train(checkpoint, steps=4)
    expected = outputs(checkpoint)
    assert float((outputs(load_checkpoint(start)) - expected).abs().max()) > 1e-3
    apart = save_checkpoint(checkpoint, tmp_path / "apart")
    merged = save_checkpoint(checkpoint, tmp_path / "merged", merge_adapter=True)
    assert sorted(path.name for path in (apart / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert not (merged / "adapter").exists()
    for directory in (apart, merged):
        torch.testing.assert_close(outputs(load_checkpoint(directory)), expected, atol=1e-5, rtol=0.0)


def test_an_adapter_that_was_kept_apart_is_trained_further(checkpoint: Checkpoint, tmp_path: Path) -> None:
    prepare_for_training(checkpoint.model, FinetuningConfig(mode="lora", lora=LORA))
    train(checkpoint)
    apart = save_checkpoint(checkpoint, tmp_path / "apart")
    resumed = load_checkpoint(apart, keep_adapter=True)
    torch.testing.assert_close(outputs(resumed), outputs(checkpoint), atol=1e-6, rtol=0.0)
    names = [
        name for name, weight in resumed.model.named_parameters() if ".lora_" in name and weight.requires_grad
    ]
    assert names
    train(resumed)
    again = load_checkpoint(save_checkpoint(resumed, tmp_path / "again"))
    torch.testing.assert_close(outputs(again), outputs(resumed), atol=1e-5, rtol=0.0)


@pytest.mark.parametrize(
    "damage", ["no folder", "a file", "missing", "truncated", "other rank", "other kind", "nan"]
)
def test_a_damaged_adapter_is_a_sentence(checkpoint: Checkpoint, tmp_path: Path, damage: str) -> None:
    prepare_for_training(checkpoint.model, FinetuningConfig(mode="lora", lora=LORA))
    adapter = save_checkpoint(checkpoint, tmp_path / "c") / "adapter"
    weights, config = adapter / "adapter_model.safetensors", adapter / "adapter_config.json"
    if damage in ("no folder", "a file"):
        adapter.rename(tmp_path / "elsewhere")
        if damage == "a file":
            adapter.touch()
    elif damage == "missing":
        weights.unlink()
    elif damage == "other kind":
        config.write_text(config.read_text().replace('"LORA"', '"XYZ"'))
    elif damage == "nan":
        tensors = load_file(weights)
        next(iter(tensors.values())).fill_(float("nan"))
        save_file(tensors, weights)
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:100])
    else:
        config.write_text(config.read_text().replace('"r": 4', '"r": 8'))
    with pytest.raises(CheckpointError, match="adapter"):
        load_checkpoint(tmp_path / "c")


def test_lora_targets_are_every_linear_layer_of_the_language_model_or_those_named(start: Path) -> None:
    for targets, count in ((None, 3 * 6), (("q_proj", "v_proj"), 3 * 2)):
        checkpoint = load_checkpoint(start)
        settings = LoraSettings(rank=4, targets=targets)
        prepare_for_training(checkpoint.model, FinetuningConfig(mode="lora", lora=settings))
        names = [name for name, _ in checkpoint.model.named_parameters() if ".lora_A." in name]
        assert len(names) == count
        assert all(".text_model." in name for name in names)


def test_gradient_checkpointing_computes_layers_twice_and_gives_the_same_gradients(start: Path) -> None:
    gradients, calls = [], []
    for use in (False, True):
        checkpoint = load_checkpoint(start)
        prepare_for_training(checkpoint.model, FinetuningConfig(gradient_checkpointing=use))
        count = count_calls(checkpoint.model)
        torch.manual_seed(0)
        train(checkpoint, steps=1)
        calls.append(dict(count))
        gradients.append({name: weight.grad for name, weight in checkpoint.model.named_parameters()})
    assert set(calls[0].values()) == {1} and set(calls[1].values()) == {2}
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-4)


def count_calls(model: VlaModel) -> dict[str, int]:
    """Count how often attention and feed-forward parts of text and vision layers run."""
    seen: dict[str, int] = {}
    for name, part in model.backbone.named_modules():  # type: ignore[attr-defined]
        if name.endswith(("self_attn", ".ffn", ".mlp")) and "layers." in name:
            part.register_forward_pre_hook(lambda *_, name=name: seen.update({name: seen.get(name, 0) + 1}))
    return seen


def test_qlora_trains_on_4_bits_and_saves_what_it_ran(checkpoint: Checkpoint, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="QLoRA needs bitsandbytes")
    prepare_for_training(checkpoint.model, FinetuningConfig(mode="qlora", lora=LORA))
    train(checkpoint)
    expected = outputs(checkpoint)
    for merge in (False, True):
        saved = save_checkpoint(checkpoint, tmp_path / f"merge {merge}", merge_adapter=merge)
        torch.testing.assert_close(outputs(load_checkpoint(saved)), expected, atol=1e-4, rtol=0.0)


def test_qlora_without_bitsandbytes_is_a_sentence(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(ConfigError, match="needs bitsandbytes, which is not installed"):
        prepare_for_training(checkpoint.model, FinetuningConfig(mode="qlora"))


def test_a_run_that_would_train_nothing_is_a_sentence(tmp_path: Path) -> None:
    config = tmp_path / "train.yaml"
    config.write_text("model: {structure: one_step_discrete, window_size: 1}")
    made = load_checkpoint(init_checkpoint(SPEC, tmp_path / "c", config=config))
    with pytest.raises(ConfigError, match="frozen leaves nothing to train: structure one_step_discrete"):
        prepare_for_training(made.model, FinetuningConfig(mode="frozen"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"mode": "last_layers", "num_last_layers": 9}, "num_last_layers is 9, the language model has 3 layers"),
        ({"mode": "lora", "lora": LoraSettings(targets=("nothing",))}, "names no linear layer; there are"),
    ],
)
def test_what_the_model_lacks_is_a_sentence(checkpoint: Checkpoint, settings: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        prepare_for_training(checkpoint.model, FinetuningConfig(**settings))


@pytest.mark.parametrize("name", TINY)
def test_adapters_fit_every_backbone_and_merge_without_a_difference(name: str) -> None:
    backbone = load_pretrained_backbone(TINY[name].kind, tiny_backbone_folder(name))
    config = ModelConfig(
        window_size=2,
        chunk_size=2,
        image=ImageSpec(size_px=backbone.image_size_px),
        prompt=backbone.prompt,
        backbone=TINY[name].kind,
        head=HeadConfig(hidden_size=16, mlp_sizes=(16,)),
    )
    model = build_vla_model(config, backbone)
    prepare_for_training(model, FinetuningConfig(mode="lora", lora=LORA, gradient_checkpointing=True))
    tokens = load_tokenizer(model, tiny_backbone_folder(name))(["open the drawer", "lift it"])
    windows = Windows(torch.randn(2, 2, 2, 3, config.image.size_px, config.image.size_px), tokens)
    before = model.eval()(windows).arm.detach()
    target = TargetChunks(torch.rand(2, 2, 2, 6), torch.ones(2, 2, 2), torch.ones(2, 2, 2))
    adapters = {key: weight for key, weight in model.named_parameters() if ".lora_" in key}
    optimizer = torch.optim.AdamW(adapters.values(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        model.train().loss(windows, target).total.backward()
        optimizer.step()
    assert all(weight.grad is not None for weight in adapters.values())
    apart = model.eval()(windows).arm.detach()
    assert float((apart - before).abs().max()) > 1e-5
    merge_adapter(backbone.generator, where=name)
    torch.testing.assert_close(model(windows).arm.detach(), apart, atol=1e-5, rtol=0.0)
