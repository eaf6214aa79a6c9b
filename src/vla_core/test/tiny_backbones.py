# SPDX-License-Identifier: Apache-2.0
"""A tiny, random backbone of each kind in Hugging Face's layout.

A new backbone needs one entry in ``TINY``.
"""

import functools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from vla_core.model.backbone import BackboneKind, backbone_class
from vla_core.model.tiny_kosmos2 import write_tiny_kosmos2

Ids = Mapping[str, int]
Inputs = dict[str, Any]

_AROUND = "<fake_token_around_image>"


@dataclass(frozen=True, kw_only=True)
class TinyBackbone:
    """A kind of backbone, small.

    Attributes:
        kind: Which adapter reads it.
        config: Makes the configuration from the ids of the tokenizer's words.
        words: Words that the tokenizer knows as a whole, after the bytes.
        bos: Word that the tokenizer writes before a text, or "".
        image_processor: Name of the class in transformers.
        processor: Name of the class in transformers that also works without torchvision, or "".
    """

    kind: BackboneKind
    config: Callable[[Ids], Any]
    words: tuple[str, ...] = ("<pad>", "<image>")
    bos: str = ""
    image_processor: str = "CLIPImageProcessorPil"
    processor: str = ""


@functools.cache
def tiny_backbone_folder(name: str) -> Path:
    """Return a folder with a backbone of ``TINY``, written once."""
    _keep.append(tempfile.TemporaryDirectory())
    return write_tiny_backbone(name, Path(_keep[-1].name))


_keep: list[tempfile.TemporaryDirectory[str]] = []


def write_tiny_backbone(name: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a backbone of ``TINY`` into a new folder; return the folder."""
    tiny = TINY[name]
    if tiny.kind == "kosmos2":
        return write_tiny_kosmos2(folder, seed=seed)
    tokenizer = _tokenizer(tiny)
    config = tiny.config(tokenizer.get_vocab())
    image_processor = getattr(transformers, tiny.image_processor)()
    if tiny.processor:
        getattr(transformers, tiny.processor)(image_processor, tokenizer).save_pretrained(folder)
    else:
        image_processor.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = backbone_class(tiny.kind).model_class(config)  # type: ignore[attr-defined]
        _enlarge(model)
    model.save_pretrained(folder)
    return folder


@torch.no_grad()
def _enlarge(model: torch.nn.Module) -> None:
    """Make weights so large that each input visibly changes the output."""
    for parameter in model.parameters():
        if parameter.dim() >= 2:
            parameter.normal_(std=1.5 / parameter[0].numel() ** 0.5)


def _tokenizer(tiny: TinyBackbone) -> Any:
    """Return a tokenizer of single bytes and the words of the backbone."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(tiny.words))
    if tiny.bos:
        bos = (tiny.bos, tokenizer.token_to_id(tiny.bos))
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{tiny.bos} $A", special_tokens=[bos])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")


def _text(kind: str, ids: Ids, **changes: Any) -> Inputs:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    text = {"num_key_value_heads": 2, "vocab_size": len(ids), "max_position_embeddings": 1024}
    return sizes | text | {"model_type": kind, "pad_token_id": ids["<pad>"]} | changes


def _vision(kind: str, **changes: Any) -> Inputs:
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return sizes | {"model_type": kind, "image_size": 56, "patch_size": 14} | changes


def _paligemma(text_kind: str) -> TinyBackbone:
    return TinyBackbone(
        kind="paligemma",
        config=lambda ids: transformers.PaliGemmaConfig(
            text_config=_text(text_kind, ids, head_dim=8),
            vision_config=_vision("siglip_vision_model", vision_use_head=False),
            image_token_index=ids["<image>"],
            projection_dim=32,
            hidden_size=32,
        ),
        words=("<pad>", "<bos>", "<eos>", "<image>"),
        image_processor="SiglipImageProcessorPil",
    )


def _llava(**changes: Any) -> TinyBackbone:
    return TinyBackbone(
        kind="llava",
        config=lambda ids: transformers.LlavaConfig(
            text_config=_text("llama", ids),
            vision_config=_vision("clip_vision_model"),
            image_token_index=ids["<image>"],
            **changes,
        ),
        words=("<pad>", "<s>", "</s>", "<image>"),
        bos="<s>",
        processor="LlavaProcessor",
    )


def _qwen_config(ids: Ids) -> Any:
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 4, "fullatt_block_indexes": [1]}
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6}
    return transformers.Qwen2_5_VLConfig(
        text_config=_text("qwen2_5_vl_text", ids, rope_parameters=rope, bos_token_id=None, eos_token_id=None),
        vision_config=vision | {"out_hidden_size": 32},
        tie_word_embeddings=True,
        **{f"{name}_token_id": ids[f"<|{name}|>"] for name in ("vision_start", "vision_end")},
        **{f"{name}_token_id": ids[f"<|{name}_pad|>"] for name in ("image", "video")},
    )


def _idefics_config(ids: Ids) -> Any:
    perceiver = {"use_resampler": True, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2}
    text = _text("idefics", ids, num_hidden_layers=4, vocab_size=len(ids) - 2)
    del text["model_type"], text["num_key_value_heads"]
    vision = {"embed_dim": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return transformers.IdeficsConfig(
        **text,
        additional_vocab_size=2,
        vision_config=vision | {"image_size": 56, "patch_size": 14},
        perceiver_config=perceiver | {"resampler_head_dim": 8},
        use_resampler=True,
        cross_layer_interval=2,
        alpha_initializer="ones",  # zeros would hide the pictures
    )


TINY: dict[str, TinyBackbone] = {
    "kosmos2": TinyBackbone(kind="kosmos2", config=lambda ids: None),
    "paligemma": _paligemma("gemma"),
    "paligemma2": _paligemma("gemma2"),
    "llava": _llava(),
    "llava_two_layers": _llava(vision_feature_layer=[-2, -1], vision_feature_select_strategy="full"),
    "llava_onevision": TinyBackbone(
        kind="llava_onevision",
        config=lambda ids: transformers.LlavaOnevisionConfig(
            text_config=_text("qwen2", ids, tie_word_embeddings=True),
            vision_config=_vision("siglip_vision_model", vision_use_head=False),
            image_token_index=ids["<image>"],
        ),
        words=("<pad>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"),
        image_processor="LlavaOnevisionImageProcessorPil",
    ),
    "idefics": TinyBackbone(
        kind="idefics",
        config=_idefics_config,
        words=("<pad>", "<s>", "</s>", _AROUND, "<image>"),
        image_processor="IdeficsImageProcessorPil",
        processor="IdeficsProcessor",
    ),
    "qwen2_5_vl": TinyBackbone(
        kind="qwen2_5_vl",
        config=_qwen_config,
        words=(
            *("<pad>", "<|im_start|>", "<|im_end|>"),
            *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
        ),
        image_processor="Qwen2VLImageProcessorPil",
    ),
    "smolvlm": TinyBackbone(
        kind="smolvlm",
        config=lambda ids: transformers.SmolVLMConfig(
            text_config=_text("llama", ids),
            vision_config=_vision("smolvlm_vision"),
            image_token_id=ids["<image>"],
        ),
        words=("<pad>", "<|im_start|>", "<end_of_utterance>", _AROUND, "<global-img>", "<image>"),
        image_processor="SmolVLMImageProcessorPil",
    ),
}
