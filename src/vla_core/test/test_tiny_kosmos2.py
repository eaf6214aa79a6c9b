# SPDX-License-Identifier: Apache-2.0
"""A small Kosmos-2 from nothing: it sees before it has learned anything, and knows the words that it is given."""

from pathlib import Path

import pytest
import torch
from tiny_models import random_images

from vla_core.checkpoint import load_tokenizer
from vla_core.images import ImageSpec
from vla_core.model.backbone import load_pretrained_backbone
from vla_core.model.build import build_vla_model
from vla_core.model.config import HeadConfig, ModelConfig
from vla_core.model.extra_tokens import StateToken
from vla_core.model.policy_head import PolicyHeadModel
from vla_core.model.tiny_kosmos2 import TinyKosmos2Config, write_tiny_kosmos2
from vla_core.model.windows import Windows

SIZES = {
    "default": TinyKosmos2Config(),
    "fine patches": TinyKosmos2Config(patch_size_px=7, vision_width=96, picture_tokens=24),
    "wide": TinyKosmos2Config(image_size_px=112, vision_width=128, vision_layers=4, width=192, layers=4),
}
SENTENCES = ("grab the turquoise cube", "grab the crimson cube")


def small_model(folder: Path, size: TinyKosmos2Config) -> PolicyHeadModel:
    backbone = load_pretrained_backbone("kosmos2", write_tiny_kosmos2(folder, size=size, sentences=SENTENCES * 9))
    config = ModelConfig(
        window_size=1,
        chunk_size=3,
        image=ImageSpec(size_px=size.image_size_px),
        prompt=backbone.prompt,
        head=HeadConfig(hidden_size=24, mlp_sizes=(32,)),
    )
    model = build_vla_model(config, backbone).eval()
    model.init_new_tokens()
    assert isinstance(model, PolicyHeadModel)
    return model


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_an_untrained_model_sees_what_a_picture_shows(size: TinyKosmos2Config, tmp_path: Path) -> None:
    """A small patch of colour moves what the head reads, by no less than a hundredth of another sentence."""
    model = small_model(tmp_path, size)
    tokens = load_tokenizer(model, tmp_path)(["grab the turquoise cube"])
    other = load_tokenizer(model, tmp_path)(["grab the crimson cube"])
    plain = torch.zeros_like(random_images(1, 1, size_px=size.image_size_px))
    painted = plain.clone()
    painted[..., 0, 30:42, 30:42] = 2.0
    with torch.inference_mode():
        features = model.features(Windows(plain, tokens))
        by_picture = (model.features(Windows(painted, tokens)) - features).norm()
        by_sentence = (model.features(Windows(plain, other)) - features).norm()
    assert by_picture > 0.01 * by_sentence


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_picture_tokens_are_unlike_each_other_and_as_large_as_words(
    size: TinyKosmos2Config, tmp_path: Path
) -> None:
    model = small_model(tmp_path, size)
    images = random_images(2, 1, size_px=size.image_size_px)
    with torch.inference_mode():
        pictures = model.encode_pictures(images.flatten(0, 1))
        words = model.embed_tokens(load_tokenizer(model, tmp_path)(SENTENCES)).embeds
    assert 0.3 < pictures.norm(dim=-1).mean() / words.norm(dim=-1).mean() < 3.0
    assert pictures.std(dim=2).mean() > 0.3 * pictures.std()
    assert pictures.std(dim=0).mean() > 0.02 * pictures.std()


def test_words_of_the_data_are_one_token_each_and_other_text_is_read_in_pieces(tmp_path: Path) -> None:
    model = small_model(tmp_path, SIZES["default"])
    tokenizer = load_tokenizer(model, tmp_path)

    def length(sentence: str) -> int:
        return int(tokenizer([sentence]).mask.sum())

    assert length("grab the turquoise cube") - length("grab the cube") == 1
    assert length("grab the xylophone cube") - length("grab the cube") > 3


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="no multiple of patch_size_px"):
        TinyKosmos2Config(image_size_px=84, patch_size_px=16)
    with pytest.raises(ValueError, match="multiples of num_heads"):
        TinyKosmos2Config(width=130)


def test_a_state_is_read_in_spreads_of_the_data_and_stays_so_in_the_weights() -> None:
    states = torch.randn(500, 10) * torch.tensor([0.05] * 3 + [0.6] * 6 + [1e-6]) + 3.0
    token, other = StateToken(16), StateToken(16)
    token.standardize(states)
    other.load_state_dict(token.state_dict())
    near, far = states[0].clone(), states[0].clone()
    far[0] += 0.05
    assert (token(far) - token(near)).norm() > 0.05 * token(near).norm()
    assert torch.equal(token(far), other(far))
    assert torch.isfinite(token(states)).all()
