# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as RoboVLMs writes them, made from tiny models of ours by renaming backwards."""

import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor

from vla_core.geometry import Pose
from vla_core.model.backbone import load_pretrained_backbone
from vla_core.model.build import build_vla_model
from vla_core.model.tiny_kosmos2 import write_tiny_kosmos2
from vla_core.model.vla import VlaModel
from vla_core.types import Observation
from vla_training.robovlms.config import Translation, translate_robovlms_config

_BACKWARDS = {
    "kosmos": (("backbone.model.", "model.backbone."),),
    "paligemma": (
        ("backbone.model.model.language_model.", "model.backbone.language_model.model."),
        ("backbone.model.model.vision_tower.", "model.backbone.vision_tower.vision_model."),
        ("backbone.model.model.multi_modal_projector.", "model.backbone.multi_modal_projector."),
        ("backbone.model.lm_head.", "model.backbone.language_model.lm_head."),
    ),
}
_PARTS = (
    ("head.", "model.act_head."),
    ("resampler.", "model.vision_resampler."),
    ("lrn_token", "model.action_token"),
)
_keep: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def pretrained_folder(model: str) -> Path:
    """Return the folder of a tiny backbone with weights: ``kosmos`` or ``paligemma``."""
    _keep.append(tempfile.TemporaryDirectory())
    folder = Path(_keep[-1].name)
    return write_tiny_kosmos2(folder, seed=3) if model == "kosmos" else _write_tiny_paligemma(folder)


@functools.cache
def folder_without_weights(model: str) -> Path:
    """Return a copy of ``pretrained_folder`` without its weights."""
    _keep.append(tempfile.TemporaryDirectory())
    folder = Path(_keep[-1].name) / f"tiny_{model}"
    shutil.copytree(pretrained_folder(model), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


def settings(model: str = "kosmos", head: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a configuration of RoboVLMs with changes at its root and in ``act_head``."""
    act_head = {"type": "LSTMDecoder", "hidden_size": 24, "action_dim": 7, "down_sample": "none", "latent": 1}
    image_size = json.loads((pretrained_folder(model) / "config.json").read_text())["vision_config"]["image_size"]
    return {
        "robovlm_name": "RoboKosMos" if model == "kosmos" else "RoboPaligemma",
        "model": model,
        "image_size": image_size,
        "window_size": 3,
        "fwd_pred_next_n": 2,
        "arm_gripper_loss_ratio": 0.02,
        "use_hand_rgb": True,
        "model_path": "/home/someone/.vlms/kosmos",
        "train_setup": {"precision": "bf16", "lora_enable": False},
        "act_head": act_head | {"action_space": "continuous", "history_type": "post"} | (head or {}),
        "fwd_head": None,
        "tokenizer": {"type": "AutoProcessor", "additional_special_tokens": None},
        "trainer": {"precision": "16"},
        "norm_action": True,
        "norm_min": -0.65,
        "norm_max": 0.65,
    } | changes


def translated(config: dict[str, Any]) -> Translation:
    """Return a configuration in our words."""
    return translate_robovlms_config(config, folder_without_weights(config["model"]), where="config.json")


def random_model(config: dict[str, Any], *, seed: int = 0) -> VlaModel:
    """Return a model of a configuration, with weights so large that each input visibly changes the output."""
    translation = translated(config)
    backbone = load_pretrained_backbone(translation.model.backbone, pretrained_folder(config["model"]))
    torch.manual_seed(seed)
    model = build_vla_model(translation.model, backbone)
    model.init_new_tokens()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(2.0)
    return model.eval()


def original_tensors(model: VlaModel, kind: str) -> dict[str, Tensor]:
    """Return a model's weights under RoboVLMs' names, at the scale of transformers 4, with its repetitions."""
    found = {_original_name(name, kind): tensor.detach().clone() for name, tensor in model.state_dict().items()}
    if kind == "paligemma":
        _to_scale_of_transformers_4(found, model.backbone.embed_dim**0.5)
    head = {name: tensor for name, tensor in found.items() if name.startswith("model.act_head.")}
    return found | {name.replace("act_head", "lm_head"): tensor for name, tensor in head.items()}


def write_pair(
    folder: Path, config: dict[str, Any], tensors: dict[str, Any], *, key: str = "state_dict"
) -> tuple[Path, Path]:
    """Write checkpoint and configuration as RoboVLMs does; return both paths."""
    folder.mkdir(exist_ok=True)
    torch.save({key: tensors, "epoch": 4, "global_step": 7}, folder / "last.ckpt")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder / "last.ckpt", folder / "config.json"


def observation(seed: int) -> Observation:
    """Return random pictures of CALVIN's two cameras."""
    generator = np.random.default_rng(seed)
    sizes = {"static": 200, "wrist": 84}
    return Observation(
        stamp_ns=0,
        images={name: generator.integers(0, 256, (s, s, 3), dtype=np.uint8) for name, s in sizes.items()},
        pose_tcp_in_base=Pose.identity(),
        joint_positions_rad=np.zeros(7),
        gripper_open=1.0,
        source_stamps_ns={},
    )


def _to_scale_of_transformers_4(tensors: dict[str, Tensor], root: float) -> None:
    """There the language model multiplied by ``root``; pictures were divided by it before the resampler."""
    if "model.action_token" in tensors:
        tensors["model.action_token"] /= root
    if "model.vision_resampler.norm.weight" in tensors:
        for part in ("weight", "bias"):
            tensors[f"model.vision_resampler.norm.{part}"] /= root
            tensors[f"model.backbone.multi_modal_projector.linear.{part}"] *= root


def _original_name(name: str, kind: str) -> str:
    for ours, theirs in (*_BACKWARDS[kind], *_PARTS):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise AssertionError(name)


def _write_tiny_paligemma(folder: Path) -> Path:
    words = ["<pad>", "<eos>", "<bos>", "<image>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    extra = [f"unused{i:03d}" for i in range(80)]  # room below the end for 256 action tokens
    vocabulary = {word: i for i, word in enumerate(words + letters + extra)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(words)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    fast: Any = transformers.PreTrainedTokenizerFast
    fast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<pad>"
    ).save_pretrained(folder)
    transformers.SiglipImageProcessorPil().save_pretrained(folder)
    text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.PaliGemmaConfig(
        text_config=text
        | {"model_type": "gemma", "num_key_value_heads": 1, "head_dim": 8, "vocab_size": len(vocabulary)},
        vision_config=vision
        | {"model_type": "siglip_vision_model", "image_size": 28, "patch_size": 14, "vision_use_head": False},
        image_token_index=3,
        projection_dim=32,
        hidden_size=32,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model: Any = transformers.PaliGemmaForConditionalGeneration(config)
    model.save_pretrained(folder)
    return folder
