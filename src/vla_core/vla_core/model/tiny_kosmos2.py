# SPDX-License-Identifier: Apache-2.0
"""A small, untrained Kosmos-2 in Hugging Face's layout, made on this machine without any download.

It stands in for the pretrained backbone wherever only the machinery matters: the tests, the first run on a robot
with its motors off. Given another size, and the words of a dataset, it is what a small policy is trained from
without any pretraining. It is loaded by the same code as the real one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import (
    CLIPImageProcessorPil,
    Kosmos2Config,
    Kosmos2Model,
    Kosmos2Processor,
    PreTrainedTokenizerFast,
)

_SPECIAL_WORDS = ("<s>", "<pad>", "</s>", "<unk>")
_NUM_PATCH_WORDS = 4
_TAG_WORDS = (
    *("</doc>", "<image>", "</image>", "</chunk>", "</line>", "<phrase>", "</phrase>", "<object>", "</object>"),
    *("</delimiter_of_multi_objects/>", "<grounding>"),
    *(f"<patch_index_{i:04d}>" for i in range(_NUM_PATCH_WORDS)),
)
_VOCABULARY_SIZE = 640
_SHARPNESS = 3.0

# Byte-level pieces cover any text; these sentences only decide which words become one token.
_SENTENCES = (
    "An image of a robot open the drawer and close the drawer",
    "push the sliding door to the left side, then push the sliding door to the right side",
    "pick up the red block from the table and place it on the blue block",
    "grasp the pink block lying in the cabinet and lift it up",
    "turn on the light bulb with the switch, turn off the green led with the button",
    "rotate the cup ninety degrees clockwise and put it into the bowl",
    "move the gripper towards the bottle, take it out of the box, stack the cubes",
    "go to the tray and slide the object down to the front, back, top or bottom shelf",
)


@dataclass(frozen=True, kw_only=True)
class TinyKosmos2Config:
    """The size of a small Kosmos-2.

    Attributes:
        image_size_px: Side of a picture.
        patch_size_px: Side of a patch of the vision transformer.
        vision_width: Of the vision transformer.
        vision_layers: Of the vision transformer.
        picture_tokens: Tokens that a picture becomes.
        width: Of the language model.
        layers: Of the language model.
        num_heads: Of both transformers.
        mlp_ratio: Width of the feed-forward layers, in widths of their transformer.
        max_tokens: Longest sequence; an instruction of unknown words takes a token per letter.
    """

    image_size_px: int = 84
    patch_size_px: int = 14
    vision_width: int = 64
    vision_layers: int = 2
    picture_tokens: int = 8
    width: int = 128
    layers: int = 3
    num_heads: int = 4
    mlp_ratio: int = 2
    max_tokens: int = 1024

    def __post_init__(self) -> None:
        if self.image_size_px % self.patch_size_px:
            raise ValueError(
                f"image_size_px {self.image_size_px} is no multiple of patch_size_px {self.patch_size_px}"
            )
        if self.vision_width % self.num_heads or self.width % self.num_heads:
            raise ValueError(
                f"vision_width {self.vision_width} and width {self.width} must be multiples of num_heads "
                f"{self.num_heads}"
            )


def write_tiny_kosmos2(
    folder: Path,
    *,
    seed: int = 0,
    size: TinyKosmos2Config | None = None,
    sentences: Sequence[str] = (),
) -> Path:
    """Write configuration, random weights and tokenizer of a small Kosmos-2 into a new folder; return the folder.

    Args:
        folder: Where to write; made if missing.
        seed: Of the random weights; the caller's random state is left as it was.
        size: How large it is; tiny by default.
        sentences: Their words become one token each, as far as there is room; by default those of a few tasks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = size or TinyKosmos2Config()
    tokenizer = _tokenizer([*sentences] or _SENTENCES)
    side = {"height": size.image_size_px, "width": size.image_size_px}
    pictures = CLIPImageProcessorPil(size={"shortest_edge": size.image_size_px}, crop_size=side)
    processor: Any = Kosmos2Processor
    processor(pictures, tokenizer, num_patch_index_tokens=_NUM_PATCH_WORDS).save_pretrained(folder)
    config = _config(size, vocabulary_size=len(tokenizer))
    config.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Kosmos2Model(config)
        _balance(model)
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _config(size: TinyKosmos2Config, *, vocabulary_size: int) -> Kosmos2Config:
    text = {
        "vocab_size": vocabulary_size,
        "max_position_embeddings": size.max_tokens,
        "embed_dim": size.width,
        "layers": size.layers,
        "ffn_dim": size.mlp_ratio * size.width,
        "attention_heads": size.num_heads,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    vision = {
        "hidden_size": size.vision_width,
        "intermediate_size": size.mlp_ratio * size.vision_width,
        "num_hidden_layers": size.vision_layers,
        "num_attention_heads": size.num_heads,
        "image_size": size.image_size_px,
        "patch_size": size.patch_size_px,
    }
    return Kosmos2Config(text_config=text, vision_config=vision, latent_query_num=size.picture_tokens)


@torch.no_grad()
def _balance(model: Any) -> None:
    """Draw weights anew, so that what a picture shows counts as much as words and places from the first step on.

    With the usual small numbers the picture's tokens are a thousandth of the words' and all alike: attention over
    the patches is even, a mean of the whole picture is what is left, and a model without pretraining stays there.
    Here every layer keeps the spread of what it is given, and the latent queries attend to few patches each.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    vision, resampler, words = model.vision_model.model, model.image_to_text_projection, model.text_model.model
    nn.init.normal_(vision.embeddings.position_embedding.weight)
    width = resampler.latent_query.shape[-1]
    nn.init.normal_(resampler.latent_query)  # it is also read itself, beside the patches
    resampler.x_attn.q_proj.weight.mul_(_SHARPNESS)
    nn.init.normal_(resampler.dense.weight)  # it reads vectors of unit length
    nn.init.normal_(resampler.x_attn.out_proj.weight, std=1.0 / width)  # the language model scales by sqrt(width)
    nn.init.normal_(words.embed_tokens.weight, std=width**-0.5)
    words.embed_tokens.weight[words.embed_tokens.padding_idx].zero_()
    for stack, last_layers in (
        (vision.encoder.layers, ("self_attn.out_proj", "mlp.fc2")),
        (words.layers, ("self_attn.out_proj", "ffn.fc2")),
    ):
        for block in stack:
            for name in last_layers:  # what a block adds: all blocks together keep the spread
                block.get_submodule(name).weight.mul_((2 * len(stack)) ** -0.5)


def _tokenizer(sentences: Sequence[str]) -> Any:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY_SIZE,
        special_tokens=list(_SPECIAL_WORDS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.add_tokens(list(_TAG_WORDS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
