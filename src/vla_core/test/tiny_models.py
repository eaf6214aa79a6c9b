# SPDX-License-Identifier: Apache-2.0
"""Tiny models and observations that the model tests share."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vla_core.actions.action_space import ActionSpace
from vla_core.checkpoint import Checkpoint, load_tokenizer
from vla_core.checkpoint_card import CheckpointCard, PictureSize, RobotSnapshot
from vla_core.geometry import Pose
from vla_core.images import ImageSpec
from vla_core.model.backbone import load_pretrained_backbone
from vla_core.model.build import build_vla_model
from vla_core.model.config import HeadConfig, ModelConfig
from vla_core.model.prompt import Tokens
from vla_core.model.tiny_kosmos2 import write_tiny_kosmos2
from vla_core.model.vla import VlaModel
from vla_core.types import Observation

SHARED_GOLDEN = Path(__file__).parents[4] / "shared" / "golden"
LOCAL_GOLDEN = Path(__file__).parent / "golden"
SENTENCES = (
    "open the drawer",
    "push the sliding door to the left side",
    "pick up the red block from the table and put it on the pink block",
)


@functools.cache
def backbone_folder() -> Path:
    keep.append(tempfile.TemporaryDirectory())
    return write_tiny_kosmos2(Path(keep[0].name), seed=1)


keep: list[tempfile.TemporaryDirectory[str]] = []


def tiny_model(seed: int = 0, *, lively: bool = True, **changes: Any) -> VlaModel:
    """Return a model; a lively one has weights so large that each input visibly changes the output."""
    backbone = load_pretrained_backbone("kosmos2", backbone_folder())
    settings: dict[str, Any] = {
        "window_size": 4,
        "chunk_size": 3,
        "image": ImageSpec(size_px=backbone.image_size_px),
        "prompt": backbone.prompt,
        "head": HeadConfig(hidden_size=24, mlp_sizes=(32,)),
    }
    torch.manual_seed(seed)
    model = build_vla_model(ModelConfig(**(settings | changes)), backbone)
    model.init_new_tokens()
    if not lively:
        return model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                gain = 3.0 if name.startswith("head.rnn") else 2.0
                parameter.normal_(std=gain / parameter[0].numel() ** 0.5)
    return model.eval()


def tokens_of(model: VlaModel, *sentences: str) -> Tokens:
    return load_tokenizer(model, backbone_folder())(sentences)


def random_images(batch: int, ticks: int, *, seed: int = 0, cameras: int = 2, size_px: int = 84) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, ticks, cameras, 3, size_px, size_px, generator=generator)


def tiny_checkpoint(seed: int = 0, *, is_trained: bool = False, **changes: Any) -> Checkpoint:
    model = tiny_model(seed, **changes)
    sizes = {name: PictureSize(width_px=200, height_px=200) for name in model.config.cameras}
    card = CheckpointCard(
        model=model.config,
        action_space=ActionSpace(frame="tcp"),
        period_s=0.1,
        is_trained=is_trained,
        robot=RobotSnapshot(name="test_arm", cameras=sizes),
    )
    return Checkpoint(
        model=model,
        card=card,
        tokenizer=load_tokenizer(model, backbone_folder()),
        backbone_dir=backbone_folder(),
        training={"seed": seed},
    )


def random_observation(seed: int) -> Observation:
    generator = np.random.default_rng(seed)
    return Observation(
        stamp_ns=seed,
        images={name: generator.integers(0, 256, (200, 200, 3), dtype=np.uint8) for name in ("static", "wrist")},
        pose_tcp_in_base=Pose.identity(),
        joint_positions_rad=np.zeros(7),
        gripper_open=1.0,
        source_stamps_ns={},
    )
