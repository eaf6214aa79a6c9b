# SPDX-License-Identifier: Apache-2.0
"""How far actions are from those in float32 when weights are held in 16 bits: the bounds that the suite states."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_backbones import TINY, tiny_backbone_folder
from tiny_models import random_observation, tiny_checkpoint

from vla_core.checkpoint import load_tokenizer
from vla_core.images import ImageSpec
from vla_core.model.backbone import load_pretrained_backbone
from vla_core.model.build import build_vla_model
from vla_core.model.config import HeadConfig
from vla_core.policy import VlaPolicy

torch.set_num_threads(1)

BF16, FP16 = torch.bfloat16, torch.float16
# Largest change of an arm number in [-1, 1] or of gripper_open in [0, 1].
# Measured: 0.0014 and 0.00016, 0.013 and 0.002.
LSTM_BOUNDS = {BF16: 0.005, FP16: 0.0005}
OTHER_BOUNDS = {BF16: 0.03, FP16: 0.004}
OTHERS: dict[str, dict[str, Any]] = {
    "gpt": {"head": HeadConfig(kind="gpt", hidden_size=16, num_layers=2, num_attention_heads=2, mlp_sizes=(32,))},
    "fc": {"head": HeadConfig(kind="fc", hidden_size=16, mlp_sizes=(32,))},
    "interleaved": {
        "structure": "interleaved_continuous",
        "head": HeadConfig(kind="fc", hidden_size=16, mlp_sizes=(32,)),
    },
}


def actions(name: str, settings: dict[str, Any], dtype: torch.dtype) -> np.ndarray:
    folder = tiny_backbone_folder(name)
    backbone = load_pretrained_backbone(TINY[name].kind, folder)
    base = tiny_checkpoint(lively=False)
    config = replace(
        base.card.model,
        backbone=TINY[name].kind,
        image=ImageSpec(size_px=backbone.image_size_px),
        prompt=backbone.prompt,
        **settings,
    )
    torch.manual_seed(0)
    model = build_vla_model(config, backbone)
    model.init_new_tokens()
    model.to(dtype)
    model.backbone.finish_loading(dtype)
    checkpoint = replace(
        base,
        model=model,
        card=replace(base.card, model=config),
        tokenizer=load_tokenizer(model, folder),
        backbone_dir=folder,
    )
    policy = VlaPolicy(checkpoint)
    return np.stack([policy.infer(random_observation(t), "open the drawer").actions for t in range(6)])


def assert_within(bounds: dict[torch.dtype, float], name: str, settings: dict[str, Any]) -> None:
    exact = actions(name, settings, torch.float32)
    for dtype, bound in bounds.items():
        assert 0 < np.abs(actions(name, settings, dtype) - exact).max() <= bound


@pytest.mark.parametrize("name", TINY)
def test_the_default_structure_stays_within_its_bounds_on_every_backbone(name: str) -> None:
    assert_within(LSTM_BOUNDS, name, {})


@pytest.mark.parametrize("head", OTHERS)
def test_the_other_structures_stay_within_theirs(head: str) -> None:
    """On a backbone as it is drawn: those of the other kinds are enlarged for tests, and rounding with them."""
    assert_within(OTHER_BOUNDS, "kosmos2", OTHERS[head])
