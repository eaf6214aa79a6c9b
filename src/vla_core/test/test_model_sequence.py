# SPDX-License-Identifier: Apache-2.0
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vla_core.model.token_sequence import TokenSequence, insert_lrn, insert_pictures, take_lrn

DIM = 3
LRN, EOS, PAD = -1.0, -2.0, -3.0


def text_of(lengths: list[int], padding_counts: bool = False) -> TokenSequence:
    """Return rows whose embeddings are 0 (BOS), 1, 2, ... EOS, PAD, so that a layout can be read off."""
    rows = torch.full((len(lengths), max(lengths)), PAD)
    mask = torch.zeros(rows.shape, dtype=torch.long)
    for i, length in enumerate(lengths):
        rows[i, :length] = torch.tensor([*range(length - 1), EOS])
        mask[i, :length] = 1
    embeds = rows[..., None].expand(-1, -1, DIM)
    return TokenSequence(embeds, mask, mask.sum(dim=1), num_lrn=0, padding_counts=padding_counts)


def layout(embeds: Tensor) -> list[list[float]]:
    rows: list[list[float]] = embeds[..., 0].tolist()
    return rows


def test_lrn_stands_before_each_samples_own_eos() -> None:
    sequence = insert_lrn(text_of([4, 2]), torch.full((DIM,), LRN), num_lrn=1, tokens_after=1)
    assert layout(sequence.embeds) == [[0, 1, 2, LRN, EOS], [0, LRN, EOS, PAD, PAD]]
    assert sequence.mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]


def test_where_padding_counts_lrn_goes_before_the_last_column_of_the_padded_batch() -> None:
    sequence = insert_lrn(text_of([4, 2], padding_counts=True), torch.full((DIM,), LRN), num_lrn=1, tokens_after=1)
    assert layout(sequence.embeds) == [[0, 1, 2, LRN, EOS], [0, EOS, PAD, LRN, PAD]]
    assert sequence.mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 1, 0]]


@given(st.lists(st.integers(2, 9), min_size=1, max_size=5), st.integers(1, 3))
def test_taken_hidden_states_are_those_of_the_lrn_copies(lengths: list[int], num_lrn: int) -> None:
    sequence = insert_lrn(text_of(lengths), torch.full((DIM,), LRN), num_lrn=num_lrn, tokens_after=1)
    whole = insert_pictures(sequence, torch.full((len(lengths), 2, 2, DIM), 7.0), after=1)
    assert take_lrn(whole.embeds, whole).tolist() == [[[LRN] * DIM] * num_lrn] * len(lengths)
    assert whole.mask.sum(dim=1).tolist() == [length + num_lrn + 4 for length in lengths]


def test_pictures_stand_after_the_first_token_in_their_order() -> None:
    text = insert_lrn(text_of([3]), torch.full((DIM,), LRN), num_lrn=1, tokens_after=1)
    pictures = torch.tensor([10.0, 11.0])[None, :, None, None].expand(1, 2, 1, DIM)
    assert layout(insert_pictures(text, pictures, after=1).embeds) == [[0, 10, 11, 1, LRN, EOS]]


@given(st.integers(2, 9))
def test_a_single_sentence_is_the_same_whether_padding_counts_or_not(length: int) -> None:
    ours, theirs = (
        insert_lrn(text_of([length], padding_counts), torch.full((DIM,), LRN), num_lrn=1, tokens_after=1)
        for padding_counts in (False, True)
    )
    assert layout(ours.embeds) == layout(theirs.embeds)
    assert ours.lrn_position.tolist() == theirs.lrn_position.tolist()
