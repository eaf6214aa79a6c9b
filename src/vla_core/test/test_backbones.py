# SPDX-License-Identifier: Apache-2.0
"""Every backbone adapter gives the numbers of its native model, and keeps the contract of ``Backbone``."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_backbones import TINY, tiny_backbone_folder
from torch import Tensor, nn
from transformers import AutoTokenizer

from vla_core.model.backbone import Backbone, backbone_class, load_pretrained_backbone
from vla_core.model.config import INSTRUCTION_SLOT
from vla_core.model.prompt import Tokens
from vla_core.model.token_sequence import (
    TokenSequence,
    insert_lrn,
    insert_pictures,
    join_ticks,
    split_ticks,
    take_lrn,
)

SENTENCES = ("open the drawer", "put the red block on the table")
NUM_CAMERAS = 2
PARITY = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=TINY)
def name(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def folder(name: str) -> Path:
    return tiny_backbone_folder(name)


@pytest.fixture(scope="module")
def backbone(name: str, folder: Path) -> Any:
    return load_pretrained_backbone(TINY[name].kind, folder).eval()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def tokens(folder: Path, backbone: Backbone) -> Tokens:
    """Two sentences within the backbone's prompt, the first padded."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    texts = [backbone.prompt.text.replace(INSTRUCTION_SLOT, sentence) for sentence in SENTENCES]
    batch = tokenizer(
        texts,
        add_special_tokens=backbone.prompt.special_tokens,
        padding=True,
        padding_side="right",
        return_tensors="pt",
    )
    return Tokens(batch["input_ids"], batch["attention_mask"])


@pytest.fixture(scope="module")
def images(backbone: Backbone) -> Tensor:
    size = backbone.image_size_px
    shape = (len(SENTENCES), NUM_CAMERAS, 3, size, size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def embed(backbone: Backbone, tokens: Tokens, images_BC3SS: Tensor, *, num_lrn: int = 1) -> TokenSequence:
    """Return the sequence of one tick, as the model builds it."""
    embeds_BLD = backbone.embed_text(tokens.ids)
    text = insert_lrn(
        TokenSequence(embeds_BLD, tokens.mask, tokens.mask.sum(dim=1), num_lrn=0),
        torch.linspace(-0.2, 0.2, backbone.embed_dim).square() if num_lrn else None,
        num_lrn=num_lrn,
        tokens_after=backbone.prompt.tokens_after_lrn,
    )
    pictures = backbone.encode_images(images_BC3SS.flatten(0, 1)).unflatten(0, images_BC3SS.shape[:2])
    if not backbone.pictures_in_sequence:
        return replace(text, pictures=pictures.flatten(1, 2))
    return insert_pictures(text, pictures, after=backbone.prompt.tokens_before_pictures)


def lrn(backbone: Backbone, tokens: Tokens, images: Tensor) -> Tensor:
    sequence = embed(backbone, tokens, images)
    return take_lrn(backbone.hidden_states(sequence), sequence)


def native_inputs(backbone: Backbone, folder: Path, tokens: Tokens, images_BC3SS: Tensor) -> dict[str, Any]:
    """Return what the native model reads for the sequence that ``embed`` builds."""
    form, ids, mask = backbone.question, tokens.ids, tokens.mask
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    place_id = tokenizer.convert_tokens_to_ids(form.place)
    if backbone.pictures_in_sequence:
        num_places = backbone.num_image_tokens - len(form.before) - len(form.after)
        words = [*form.before, *[form.place] * num_places, *form.after] * NUM_CAMERAS
        ids_BI = torch.tensor([tokenizer.convert_tokens_to_ids(words)] * len(ids))
        at = backbone.prompt.tokens_before_pictures
        ids = torch.cat([ids[:, :at], ids_BI, ids[:, at:]], dim=1)
        mask = torch.cat([mask[:, :at], torch.ones_like(ids_BI), mask[:, at:]], dim=1)
    return {"attention_mask": mask, **backbone.native_inputs(ids, ids == place_id, images_BC3SS)}


# Where ours differs from the native model: PaliGemma's attention is causal, and IDEFICS' pictures are seen by the
# words in front of their mark, too.
OURS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "paligemma": lambda inputs: {"token_type_ids": None},
    "idefics": lambda inputs: {"image_attention_mask": torch.ones_like(inputs["image_attention_mask"])},
}


@torch.no_grad()
def test_logits_are_those_of_the_native_model(
    name: str, backbone: Backbone, folder: Path, tokens: Tokens, images: Tensor
) -> None:
    kind = TINY[name].kind
    native: Any = backbone_class(kind).model_class.from_pretrained(folder).eval()  # type: ignore[attr-defined]
    inputs = native_inputs(backbone, folder, tokens, images)
    expected = native(**inputs | OURS.get(kind, lambda _: {})(inputs)).logits
    found = backbone.logits(backbone.hidden_states(embed(backbone, tokens, images, num_lrn=0)))
    is_token = inputs["attention_mask"].bool()
    torch.testing.assert_close(found[is_token], expected[is_token], **PARITY)
    assert expected[is_token].std() > 0.01


def test_sizes(backbone: Backbone, images: Tensor) -> None:
    shape = (NUM_CAMERAS, backbone.num_image_tokens, backbone.picture_dim)
    assert backbone.encode_images(images[0]).shape == shape
    assert backbone.word_embedding.weight.shape[1] == backbone.embed_dim
    if backbone.pictures_in_sequence:
        assert backbone.picture_dim == backbone.embed_dim
    assert backbone.max_tokens == 1024
    assert backbone.embedding_std > 0


@torch.no_grad()
def test_padding_changes_nothing(backbone: Backbone, tokens: Tokens, images: Tensor) -> None:
    length = int(tokens.mask[0].sum())
    assert length < tokens.mask.shape[1]
    alone = Tokens(tokens.ids[:1, :length], tokens.mask[:1, :length])
    torch.testing.assert_close(
        lrn(backbone, tokens, images)[:1], lrn(backbone, alone, images[:1]), atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_cache_gives_the_same_as_one_pass(backbone: Backbone, tokens: Tokens, images: Tensor) -> None:
    longer = Tokens(tokens.ids[1:], tokens.mask[1:])
    sequence = embed(backbone, longer, images[1:])
    cache = backbone.new_cache()
    length = sequence.embeds.shape[1]
    # A part that ends within a picture, the rest of the pictures, then words one by one.
    cuts = [0, backbone.prompt.tokens_before_pictures + 4, *range(length - 8, length + 1)]
    pieces = [
        backbone.hidden_states(
            replace(sequence, embeds=sequence.embeds[:, start:end], mask=sequence.mask[:, :end]), cache
        )
        for start, end in itertools.pairwise(cuts)
    ]
    torch.testing.assert_close(torch.cat(pieces, dim=1), backbone.hidden_states(sequence), **PARITY)


@torch.no_grad()
def test_attention_is_causal(backbone: Backbone, tokens: Tokens, images: Tensor) -> None:
    sequence = embed(backbone, Tokens(tokens.ids[1:], tokens.mask[1:]), images[1:])
    whole = backbone.hidden_states(sequence)
    end = whole.shape[1] - 3
    start = backbone.hidden_states(replace(sequence, embeds=sequence.embeds[:, :end], mask=sequence.mask[:, :end]))
    torch.testing.assert_close(whole[:, :end], start, **PARITY)


@torch.no_grad()
def test_each_input_reaches_lrn(backbone: Backbone, tokens: Tokens, images: Tensor) -> None:
    before = lrn(backbone, tokens, images)
    for camera in range(NUM_CAMERAS):
        changed = images.clone()
        changed[:, camera] = -changed[:, camera]
        assert _change(lrn(backbone, tokens, changed), before) > 1e-5, f"picture {camera}"
    other = Tokens(tokens.ids.flip(0), tokens.mask.flip(0))
    assert _change(lrn(backbone, other, images), before) > 1e-5
    sequence = embed(backbone, tokens, images)
    at = (torch.arange(len(SENTENCES)), sequence.lrn_position)
    sequence.embeds[at] = -sequence.embeds[at]
    assert _change(take_lrn(backbone.hidden_states(sequence), sequence), before) > 1e-5


def test_gradients_reach_all_parts(backbone: Backbone, tokens: Tokens, images: Tensor) -> None:
    lrn(backbone, tokens, images).square().sum().backward()
    parts: list[nn.Module] = [backbone.word_embedding, backbone.vision_tower, *backbone.language_layers]
    for part in parts:
        gradients = [parameter.grad for parameter in part.parameters() if parameter.grad is not None]
        assert any(bool(gradient.abs().max() > 0) for gradient in gradients)
    backbone.zero_grad()  # type: ignore[attr-defined]


@torch.no_grad()
def test_joined_ticks_see_the_past_only(backbone: Backbone, tokens: Tokens, images: Tensor) -> None:
    length = int(tokens.mask[0].sum())
    both = Tokens(tokens.ids[:1].expand(2, -1), tokens.mask[:1].expand(2, -1))
    alone = Tokens(both.ids[:, :length], both.mask[:, :length])

    def joined_lrn(tokens: Tokens, images: Tensor) -> Tensor:
        tick = embed(backbone, tokens, images)
        hidden_FLD = split_ticks(backbone.hidden_states(join_ticks(tick, 2)), 2)
        return take_lrn(hidden_FLD, tick)[:, 0]

    first, second = joined_lrn(both, images)
    torch.testing.assert_close(torch.stack([first, second]), joined_lrn(alone, images), **PARITY)
    torch.testing.assert_close(first, lrn(backbone, alone, images)[0, 0], **PARITY)
    later, earlier = images.clone(), images.clone()
    later[1], earlier[0] = -later[1], -earlier[0]
    torch.testing.assert_close(joined_lrn(both, later)[0], first, **PARITY)
    assert _change(joined_lrn(both, earlier)[1], second) > 1e-5


def _change(found: Tensor, before: Tensor) -> float:
    return float((found - before).abs().amax(dim=-1).min())
