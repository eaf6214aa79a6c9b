# SPDX-License-Identifier: Apache-2.0
import functools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import backbone_folder

from vla_core.errors import CheckpointError, InstructionError
from vla_core.model.config import PromptConfig
from vla_core.model.prompt import PromptTokenizer

PROMPT = PromptConfig(text="<grounding>An image of a robot {instruction}")


@functools.cache
def load_once() -> PromptTokenizer:
    return PromptTokenizer.load(backbone_folder(), prompt=PROMPT, max_tokens=64)


@pytest.fixture
def tokenizer() -> PromptTokenizer:
    return load_once()


def test_shorter_sentences_are_padded_on_the_right(tokenizer: PromptTokenizer) -> None:
    tokens = tokenizer(["open the drawer", "open the drawer and close the drawer"])
    lengths = tokens.mask.sum(dim=1).tolist()
    assert lengths[0] < lengths[1] == tokens.ids.shape[1]
    assert tokens.ids[0, lengths[0] :].unique().tolist() == [1]
    assert tokens.ids[:, 0].tolist() == [0, 0]
    assert [int(tokens.ids[i, lengths[i] - 1]) for i in range(2)] == [2, 2]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
@settings(max_examples=60)
def test_any_text_is_either_tokens_within_the_limit_or_a_sentence_of_error(text: str) -> None:
    try:
        tokens = load_once()([text])
    except InstructionError as error:
        assert len(str(error)) > 20
    else:
        assert tokens.ids.shape[1] <= 64
        assert 3 not in tokens.ids.tolist()[0], "an unknown word was dropped"


@pytest.mark.parametrize(
    ("sentence", "error"),
    [
        ("", "the instruction is empty"),
        (" \n", "the instruction is empty"),
        ("open the drawer " * 640, "10240 characters found"),
        ("xylophone " * 30, "tokens long with its prompt, the model reads at most 64"),
        ("open \udce4 drawer", "not valid UTF-8"),
        ("open </s> the drawer", "'</s>', a control word"),
        ("open the <image> drawer", "'<image>', a control word"),
    ],
)
def test_a_bad_sentence_is_a_sentence_of_error(tokenizer: PromptTokenizer, sentence: str, error: str) -> None:
    with pytest.raises(InstructionError, match=error):
        tokenizer([sentence])


def test_white_space_makes_no_difference(tokenizer: PromptTokenizer) -> None:
    assert tokenizer(["  open the\n drawer "]).ids.tolist() == tokenizer(["open the drawer"]).ids.tolist()


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot load the tokenizer \(files: .*Copy all of its files"):
        PromptTokenizer.load(tmp_path, prompt=PROMPT, max_tokens=64)
