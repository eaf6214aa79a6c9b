# SPDX-License-Identifier: Apache-2.0
"""Every backbone works in every structure: it learns, streams as it is trained, and is written and read again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_backbones import TINY, tiny_backbone_folder
from torch import Tensor

from vla_core.images import ImageSpec
from vla_core.model.backbone import load_pretrained_backbone
from vla_core.model.build import build_model_without_weights, build_vla_model
from vla_core.model.config import ActionTokenConfig, HeadConfig, ModelConfig
from vla_core.model.loss import TargetChunks
from vla_core.model.prompt import PromptTokenizer, Tokens
from vla_core.model.vla import VlaModel
from vla_core.model.weights import load_weights, save_weights
from vla_core.model.windows import Windows

TICKS, CHUNK = 2, 2
STRUCTURES: dict[str, dict[str, Any]] = {
    "policy_head_continuous": {},
    "interleaved_continuous": {"head": HeadConfig(kind="fc", hidden_size=16, mlp_sizes=(16,))},
    "one_step_discrete": {
        "action_tokens": ActionTokenConfig(num_bins=16, end_token_id=200),
        "window_size": 1,
    },
}


@pytest.fixture(scope="module", params=TINY)
def name(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=STRUCTURES)
def model(name: str, request: pytest.FixtureRequest) -> VlaModel:
    backbone = load_pretrained_backbone(TINY[name].kind, tiny_backbone_folder(name))
    settings: dict[str, Any] = {
        "window_size": TICKS,
        "chunk_size": CHUNK,
        "image": ImageSpec(size_px=backbone.image_size_px),
        "prompt": backbone.prompt,
        "backbone": TINY[name].kind,
        "structure": request.param,
        "head": HeadConfig(hidden_size=16, num_layers=1, mlp_sizes=(16,)),
    }
    torch.manual_seed(0)
    model = build_vla_model(ModelConfig(**(settings | STRUCTURES[request.param])), backbone)
    model.init_new_tokens()
    return model.eval()


@pytest.fixture(scope="module")
def tokens(name: str, model: VlaModel) -> Tokens:
    tokenizer = PromptTokenizer.load(
        tiny_backbone_folder(name), prompt=model.config.prompt, max_tokens=model.max_text_tokens
    )
    return tokenizer(["open the drawer", "put the red block on the table"])


@pytest.fixture(scope="module")
def images(model: VlaModel) -> Tensor:
    size = model.backbone.image_size_px
    shape = (2, model.config.window_size, len(model.config.cameras), 3, size, size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_it_learns(model: VlaModel, tokens: Tokens, images: Tensor) -> None:
    shape = (2, model.config.window_size, CHUNK)
    target = TargetChunks(
        arm=torch.zeros(*shape, 6), gripper_open=torch.ones(shape), is_valid=torch.ones(shape, dtype=torch.bool)
    )
    model.loss(Windows(images, tokens), target).total.backward()
    for part in (model.backbone.word_embedding, model.backbone.vision_tower, *model.backbone.language_layers):
        assert any(weight.grad is not None and bool(weight.grad.any()) for weight in part.parameters())
    model.zero_grad()


@torch.no_grad()
def test_a_stream_equals_the_window(model: VlaModel, tokens: Tokens, images: Tensor) -> None:
    if model.config.structure == "one_step_discrete":
        pytest.skip("it is trained on words, and has no window")
    window = model(Windows(images, tokens))
    text, history = model.embed_tokens(tokens), model.new_history(len(images))
    for tick in range(TICKS):
        chunks, history = model.step(images[:, tick], text, history)
        torch.testing.assert_close(chunks.arm[:, 0], window.arm[:, tick], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_it_is_written_and_read_again(
    name: str, model: VlaModel, tokens: Tokens, images: Tensor, tmp_path: Path
) -> None:
    save_weights(model, tmp_path / "model.safetensors")
    empty = build_model_without_weights(model.config, tiny_backbone_folder(name))
    again = load_weights(empty, tmp_path / "model.safetensors", device=torch.device("cpu")).eval()
    found, expected = (
        each.step(images[:, 0], each.embed_tokens(tokens), each.new_history(2))[0] for each in (again, model)
    )
    torch.testing.assert_close(found.arm, expected.arm, atol=0, rtol=0)
