# SPDX-License-Identifier: Apache-2.0
"""Every backbone loads with its weights or takes them later, and refuses what does not fit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_backbones import TINY, tiny_backbone_folder
from torch import Tensor

from vla_core.errors import CheckpointError
from vla_core.model.backbone import backbone_class, build_backbone_without_weights, load_pretrained_backbone
from vla_core.model.token_sequence import TokenSequence


@pytest.fixture(scope="module", params=TINY)
def name(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def folder(name: str) -> Path:
    return tiny_backbone_folder(name)


@torch.no_grad()
def scores(backbone: Any, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return scores of words that depend on all parts of a backbone."""
    random = torch.Generator().manual_seed(0)
    size = backbone.image_size_px
    pictures = backbone.encode_images(torch.randn(1, 3, size, size, generator=random).to(dtype))
    words = backbone.embed_text(torch.arange(3, 8)[None])
    embeds = torch.cat([pictures, words], dim=1) if backbone.pictures_in_sequence else words
    sequence = TokenSequence(
        embeds,
        torch.ones(embeds.shape[:2], dtype=torch.long),
        torch.tensor([embeds.shape[1] - 1]),
        0,
        picture_starts=(0,),
        tokens_per_picture=backbone.num_image_tokens,
        pictures=pictures,
    )
    return backbone.logits(backbone.hidden_states(sequence))  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_weights_may_come_later(name: str, folder: Path, dtype: torch.dtype) -> None:
    expected: Any = load_pretrained_backbone(TINY[name].kind, folder, dtype).eval()  # type: ignore[attr-defined]
    found: Any = build_backbone_without_weights(TINY[name].kind, folder).eval()  # type: ignore[attr-defined]
    assert all(parameter.is_meta for parameter in found.parameters())
    found.load_state_dict(expected.state_dict(), assign=True)
    found.finish_loading(dtype)
    assert not any(tensor.is_meta for tensor in [*found.parameters(), *found.buffers()])
    assert scores(found, dtype).dtype == dtype
    torch.testing.assert_close(scores(found, dtype), scores(expected, dtype), atol=0, rtol=0)


def test_tied_weights_need_their_tensor_only_once(name: str, folder: Path) -> None:
    expected: Any = load_pretrained_backbone(TINY[name].kind, folder).eval()  # type: ignore[attr-defined]
    once = dict(expected.named_parameters()) | dict(_persistent_buffers(expected))
    found: Any = build_backbone_without_weights(TINY[name].kind, folder).eval()  # type: ignore[attr-defined]
    missing, unexpected = found.load_state_dict(once, assign=True, strict=False)
    assert not unexpected
    assert set(missing) == expected.state_dict().keys() - once.keys()
    found.finish_loading(torch.float32)
    torch.testing.assert_close(scores(found), scores(expected), atol=0, rtol=0)


def _persistent_buffers(model: Any) -> dict[str, Tensor]:
    names = model.state_dict().keys()
    return {name: buffer for name, buffer in model.named_buffers() if name in names}


def test_picture_format_is_read(name: str, folder: Path) -> None:
    adapter: Any = backbone_class(TINY[name].kind)
    spec = adapter.image_spec(folder)
    text = next(path for path in folder.glob("*processor_config.json")).read_text(encoding="utf-8")
    expected = json.loads(text).get("image_processor", json.loads(text))
    assert list(spec.mean) == expected["image_mean"]
    assert list(spec.std) == expected["image_std"]
    assert spec.size_px == load_pretrained_backbone(TINY[name].kind, folder).image_size_px


def test_another_model_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    text = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {"model_type": "bert"}
    (tmp_path / "config.json").write_text(json.dumps(text), encoding="utf-8")
    for build in (load_pretrained_backbone, build_backbone_without_weights):
        with pytest.raises(CheckpointError, match=r"config\.json: model_type is 'bert', expected '"):
            build(TINY[name].kind, tmp_path)


def test_missing_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_pretrained_backbone(TINY[name].kind, tmp_path / "nowhere")


def test_missing_weights_are_refused(name: str, folder: Path, tmp_path: Path) -> None:
    _copy(folder, tmp_path, lambda weights: weights)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=f"{tmp_path}: cannot load .* weights: .*model.safetensors"):
        load_pretrained_backbone(TINY[name].kind, tmp_path)


def test_missing_tensor_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    _copy(folder, tmp_path, lambda weights: dict(list(weights.items())[1:]))
    with pytest.raises(CheckpointError, match=f"{tmp_path}: weights lack "):
        load_pretrained_backbone(TINY[name].kind, tmp_path)


def test_weight_of_another_shape_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    _copy(folder, tmp_path, lambda weights: {key: torch.cat([value] * 2) for key, value in weights.items()})
    with pytest.raises(CheckpointError, match=r"weight '.*' has shape \(.*\), config.json asks for \(.*\)"):
        load_pretrained_backbone(TINY[name].kind, tmp_path)


def test_unreadable_vision_tower_is_refused(tmp_path: Path) -> None:
    text = {"model_type": "llava", "vision_config": {"model_type": "pixtral"}}
    (tmp_path / "config.json").write_text(json.dumps(text), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"vision_config\.model_type is 'pixtral', expected 'clip_vision"):
        build_backbone_without_weights("llava", tmp_path)


def test_tokenizer_without_picture_words_is_refused(tmp_path: Path) -> None:
    _copy(tiny_backbone_folder("smolvlm"), tmp_path, lambda weights: weights)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("<global-img>", "<another>"), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: lacks the word '<global-img>'"):
        load_pretrained_backbone("smolvlm", tmp_path)


def _copy(folder: Path, to: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    weights = change(load_file(folder / "model.safetensors"))
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
