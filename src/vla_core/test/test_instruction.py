# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_core.errors import InstructionError
from vla_core.instruction import MAX_INSTRUCTION_CHARS, clean_instruction


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("open the drawer", "open the drawer"),
        ("  open \t the\ndrawer ", "open the drawer"),
        ("", ""),
        (" \n ", ""),
        ("öffne die Schublade 抽屉", "öffne die Schublade 抽屉"),
    ],
)
def test_sentences_lose_outer_and_repeated_white_space(text: str, sentence: str) -> None:
    assert clean_instruction(text) == sentence


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a" * 10_240, "10240 characters.*at most 512"),
        ("open \ufffd drawer", "UTF-8"),
        ("open \udcff drawer", "UTF-8"),
        ("open\x00drawer", "control character"),
        ("open\x1b[2Jdrawer", "control character"),
    ],
)
def test_what_is_no_sentence_is_refused(text: str, words: str) -> None:
    with pytest.raises(InstructionError, match=words):
        clean_instruction(text)


@given(st.text())
def test_any_text_is_cleaned_or_refused(text: str) -> None:
    try:
        cleaned = clean_instruction(text)
    except InstructionError:
        return
    assert clean_instruction(cleaned) == cleaned
    assert len(cleaned) <= MAX_INSTRUCTION_CHARS
