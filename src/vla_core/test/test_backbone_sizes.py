# SPDX-License-Identifier: Apache-2.0
"""Published models, built without memory for weights, have the published sizes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import transformers
from tiny_backbones import TINY, tiny_backbone_folder

from vla_core.model.backbone import BackboneKind, build_backbone_without_weights


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the page of a model says, or follows from its configuration."""

    kind: BackboneKind
    config: Any
    num_parameters: float
    embed_dim: int
    num_image_tokens: int
    image_size_px: int = 224


_SIGLIP = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "patch_size": 14,
    "image_size": 224,
    "vision_use_head": False,
}
_QWEN = {"vocab_size": 151936, "max_position_embeddings": 128000}

PUBLISHED = {
    "kosmos-2-patch14-224": Published(
        kind="kosmos2",
        config=transformers.Kosmos2Config(),
        num_parameters=1.664e9,
        embed_dim=2048,
        num_image_tokens=64,
    ),
    "paligemma-3b-pt-224": Published(
        kind="paligemma",
        config=transformers.PaliGemmaConfig(
            text_config={
                "model_type": "gemma",
                "hidden_size": 2048,
                "num_hidden_layers": 18,
                "intermediate_size": 16384,
                "num_attention_heads": 8,
                "num_key_value_heads": 1,
                "vocab_size": 257216,
            },
            vision_config=_SIGLIP,
        ),
        num_parameters=2.923e9,
        embed_dim=2048,
        num_image_tokens=256,
    ),
    "paligemma2-3b-pt-224": Published(
        kind="paligemma",
        config=transformers.PaliGemmaConfig(
            text_config={
                "model_type": "gemma2",
                "hidden_size": 2304,
                "num_hidden_layers": 26,
                "intermediate_size": 9216,
                "num_attention_heads": 8,
                "num_key_value_heads": 4,
                "vocab_size": 257216,
            },
            vision_config=_SIGLIP,
            projection_dim=2304,
            hidden_size=2304,
        ),
        num_parameters=3.032e9,
        embed_dim=2304,
        num_image_tokens=256,
    ),
    "llava-1.5-7b": Published(
        kind="llava",
        config=transformers.LlavaConfig(
            text_config={"model_type": "llama", "vocab_size": 32064, "max_position_embeddings": 4096}
        ),
        num_parameters=7.063e9,
        embed_dim=4096,
        num_image_tokens=576,
        image_size_px=336,
    ),
    "llava-onevision-qwen2-0.5b": Published(
        kind="llava_onevision",
        config=transformers.LlavaOnevisionConfig(
            text_config={
                "model_type": "qwen2",
                "hidden_size": 896,
                "intermediate_size": 4864,
                "num_hidden_layers": 24,
                "num_attention_heads": 14,
                "num_key_value_heads": 2,
                "tie_word_embeddings": True,
                **_QWEN,
            },
            vision_config=_SIGLIP | {"num_hidden_layers": 26, "image_size": 384},
        ),
        num_parameters=0.894e9,
        embed_dim=896,
        num_image_tokens=27 * 27 + 1,
        image_size_px=384,
    ),
    "idefics-9b": Published(
        kind="idefics",
        config=transformers.IdeficsConfig(
            additional_vocab_size=2,
            cross_layer_interval=4,
            qk_layer_norms=True,
            use_resampler=True,
            vision_config={"embed_dim": 1280},
            perceiver_config={"use_resampler": True, "qk_layer_norms_perceiver": True},
            alpha_type="vector",
        ),
        num_parameters=8.93e9,
        embed_dim=4096,
        num_image_tokens=64,
    ),
    "Qwen2.5-VL-3B": Published(
        kind="qwen2_5_vl",
        config=transformers.Qwen2_5_VLConfig(
            text_config={
                "hidden_size": 2048,
                "intermediate_size": 11008,
                "num_hidden_layers": 36,
                "num_attention_heads": 16,
                "num_key_value_heads": 2,
                "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
                **_QWEN,
            },
            vision_config={"hidden_size": 1280, "out_hidden_size": 2048},
            tie_word_embeddings=True,
        ),
        num_parameters=3.755e9,
        embed_dim=2048,
        num_image_tokens=8 * 8 + 2,
    ),
    "SmolVLM-500M": Published(
        kind="smolvlm",
        config=transformers.SmolVLMConfig(
            text_config={
                "model_type": "llama",
                "hidden_size": 960,
                "intermediate_size": 2560,
                "num_hidden_layers": 32,
                "num_attention_heads": 15,
                "num_key_value_heads": 5,
                "vocab_size": 49280,
                "max_position_embeddings": 8192,
            },
            vision_config={
                "hidden_size": 768,
                "num_hidden_layers": 12,
                "num_attention_heads": 12,
                "image_size": 512,
                "patch_size": 16,
            },
            scale_factor=4,
        ),
        num_parameters=0.5075e9,
        embed_dim=960,
        num_image_tokens=8 * 8 + 3,
        image_size_px=512,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_size(name: str, tmp_path: Path) -> None:
    published = PUBLISHED[name]
    published.config.save_pretrained(tmp_path)
    tokenizer = tiny_backbone_folder(published.kind) / "tokenizer.json"
    (tmp_path / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    backbone: Any = build_backbone_without_weights(published.kind, tmp_path)
    found = sum(parameter.numel() for parameter in backbone.parameters())
    assert found == pytest.approx(published.num_parameters, rel=0.02)
    assert backbone.embed_dim == published.embed_dim
    assert backbone.num_image_tokens == published.num_image_tokens
    assert backbone.image_size_px == published.image_size_px


def test_every_kind_is_there() -> None:
    assert {published.kind for published in PUBLISHED.values()} == {tiny.kind for tiny in TINY.values()}
