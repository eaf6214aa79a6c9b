# SPDX-License-Identifier: Apache-2.0
"""A tiny, untrained Kosmos-2 in Hugging Face's layout, made on this machine without any download.

It stands in for the pretrained backbone wherever only the machinery matters: the demonstration, the tests, the
first run on a robot with its motors off. It is loaded by the same code as the real one.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
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
_IMAGE_SIZE_PX = 84
_VOCABULARY_SIZE = 640

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


def write_tiny_kosmos2(folder: Path, *, seed: int = 0) -> Path:
    """Write configuration, random weights and tokenizer of a tiny Kosmos-2 into a new folder; return the folder.

    Args:
        folder: Where to write; made if missing.
        seed: Of the random weights; the caller's random state is left as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    size = {"height": _IMAGE_SIZE_PX, "width": _IMAGE_SIZE_PX}
    pictures = CLIPImageProcessorPil(size={"shortest_edge": _IMAGE_SIZE_PX}, crop_size=size)
    processor: Any = Kosmos2Processor
    processor(pictures, tokenizer, num_patch_index_tokens=_NUM_PATCH_WORDS).save_pretrained(folder)
    config = _config(vocabulary_size=len(tokenizer))
    config.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Kosmos2Model(config)
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _config(*, vocabulary_size: int) -> Kosmos2Config:
    text = {
        "vocab_size": vocabulary_size,
        "max_position_embeddings": 1024,  # room for the longest instruction, letter by letter
        "embed_dim": 128,
        "layers": 3,
        "ffn_dim": 256,
        "attention_heads": 4,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    vision = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": _IMAGE_SIZE_PX,
        "patch_size": 14,
    }
    return Kosmos2Config(text_config=text, vision_config=vision, latent_query_num=8)


def _tokenizer() -> Any:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY_SIZE,
        special_tokens=list(_SPECIAL_WORDS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    tokenizer.add_tokens(list(_TAG_WORDS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
