# SPDX-License-Identifier: Apache-2.0
"""A backbone is asked as its native processor asks, and answers as its native model answers."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tiny_backbones import TINY, tiny_backbone_folder
from torch import Tensor

from vla_core.errors import CheckpointError, InstructionError
from vla_core.model.answer import Answerer
from vla_core.model.backbone import backbone_class, load_pretrained_backbone
from vla_core.model.pictures import preprocess

torch.set_num_threads(1)
QUESTION = "what is this?"
SQUARE = {"height": 56, "width": 56}


@functools.cache
def answerer(name: str) -> Answerer:
    folder = tiny_backbone_folder(name)
    backbone: Any = load_pretrained_backbone(TINY[name].kind, folder)
    if name == "kosmos2":
        _enlarge(backbone)
    return Answerer.load(backbone.eval(), folder)


def _enlarge(backbone: torch.nn.Module) -> None:
    """Make weights so large that each input visibly changes the words; those of words would only repeat them."""
    torch.manual_seed(0)
    for name, weight in backbone.named_parameters():
        if weight.dim() >= 2:
            std = 0.02 if "embed_tokens" in name else 2.0 / weight[0].numel() ** 0.5
            torch.nn.init.normal_(weight, std=std)


def native_model(name: str) -> Any:
    """Return the transformers model, which no adapter has touched."""
    model_class = backbone_class(TINY[name].kind).model_class  # type: ignore[attr-defined]
    model = model_class.from_pretrained(tiny_backbone_folder(name)).eval()
    model.load_state_dict(answerer(name).backbone.generator.state_dict())
    return model


def random_image(name: str, seed: int = 0) -> Tensor:
    size = answerer(name).backbone.image_size_px
    return torch.randn(3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", TINY)
def test_the_answer_is_that_of_the_native_model(name: str) -> None:
    asked, image = answerer(name), random_image(name)
    inputs = asked.inputs(QUESTION, image)
    ids_1L = native_model(name).generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=12)
    answer = asked.tokenizer.decode(ids_1L[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert asked(QUESTION, image, max_new_words=12) == answer.strip() != ""


@pytest.mark.parametrize("name", TINY)
def test_question_and_colour_order_change_the_answer(name: str) -> None:
    asked, image = answerer(name), random_image(name)
    answer = asked(QUESTION, image, max_new_words=12)
    assert asked(QUESTION, image.flip(0), max_new_words=12) != answer
    assert asked("where is the red block?", image, max_new_words=12) != answer


def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((160, 160), Image.Resampling.BICUBIC)


def auto_inputs(name: str) -> Any:
    """Return what the processor of the native model makes of the picture and the question."""
    processor: Any = transformers.AutoProcessor.from_pretrained(tiny_backbone_folder(name))
    given: dict[str, Any] = {"images": picture(), "return_tensors": "pt"}
    if name == "kosmos2":
        return processor(text=f"Question: {QUESTION} Answer:", num_image_tokens=8, **given)
    if name == "paligemma":
        processor.tokenizer.bos_token, processor.image_seq_length = "<bos>", 16
        return processor(text=f"<image>{QUESTION}", images_kwargs={"size": SQUARE}, **given)
    if name == "idefics":
        processor.tokenizer.bos_token = "<s>"
        parts = ["User:", given.pop("images"), f"{QUESTION}\nAssistant:"]
        return processor(text=parts, images_kwargs={"size": SQUARE}, **given)
    processor.patch_size, processor.num_additional_image_tokens = 14, 1
    processor.vision_feature_select_strategy = "default"
    sizes = {"size": {"shortest_edge": 56}, "crop_size": SQUARE}
    return processor(text=f"USER: <image>\n{QUESTION} ASSISTANT:", images_kwargs=sizes, **given)


@pytest.mark.parametrize("name", ["kosmos2", "paligemma", "llava", "idefics"])
def test_inputs_are_those_of_the_native_processor(name: str) -> None:
    asked, expected = answerer(name), auto_inputs(name)
    spec = asked.backbone.image_spec(tiny_backbone_folder(name))
    pixels = preprocess([np.array(picture())], spec)[0]
    found = asked.inputs(QUESTION, pixels)
    extra = {"token_type_ids", "image_embeds_position_mask", "image_attention_mask"} & found.keys()
    for key in ("input_ids", "attention_mask", *extra):
        assert torch.equal(found[key].long(), expected[key].long()), key
    one_level = torch.tensor(spec.std)[:, None, None] * 255.0
    change = ((found["pixel_values"] - expected["pixel_values"]).abs() * one_level).flatten()
    assert float(change.max()) <= 3.0 and float(change.mean()) <= 1.0


def test_patches_of_qwen_are_those_of_its_processor() -> None:
    asked, image = answerer("qwen2_5_vl"), random_image("qwen2_5_vl")
    as_they_are = {f"do_{step}": False for step in ("resize", "rescale", "normalize", "convert_rgb")}
    expected = transformers.Qwen2VLImageProcessorPil()(
        [image.numpy()], return_tensors="pt", input_data_format="channels_first", **as_they_are
    )
    found = asked.inputs(QUESTION, image)
    for key in ("pixel_values", "image_grid_thw"):
        torch.testing.assert_close(found[key], expected[key])


def test_the_folder_says_where_an_answer_ends(tmp_path: Path) -> None:
    asked, image = answerer("llava"), random_image("llava")
    inputs = asked.inputs(QUESTION, image)
    length = inputs["input_ids"].shape[1]
    ids = asked.backbone.generator.generate(**inputs, **asked.settings(12))[0, length:].tolist()
    config = transformers.GenerationConfig(eos_token_id=ids[4], pad_token_id=0, do_sample=True, temperature=0.3)
    config.save_pretrained(tmp_path)
    for file in tiny_backbone_folder("llava").glob("tokenizer*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    ended = Answerer.load(asked.backbone, tmp_path)
    found = asked.backbone.generator.generate(**inputs, **ended.settings(12))[0, length:].tolist()
    assert found == ids[: ids.index(ids[4]) + 1]
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"generation_config\.json: not readable"):
        Answerer.load(asked.backbone, tmp_path)


@pytest.mark.parametrize(
    ("question", "words", "sentence"),
    [
        ("  ", 12, "the question is empty"),
        ("is this <image> red?", 12, "holds '<image>', a control word"),
        (QUESTION, 2000, "the model reads at most 1024"),
    ],
)
def test_a_question_that_cannot_be_asked_is_a_sentence(question: str, words: int, sentence: str) -> None:
    with pytest.raises(InstructionError, match=sentence):
        answerer("llava")(question, random_image("llava"), max_new_words=words)
