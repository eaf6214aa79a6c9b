# SPDX-License-Identifier: Apache-2.0
"""The sequence that the language model reads, for example ``[BOS][pictures][text][LRN][EOS]``.

[LRN] stands directly before the last ``tokens_after_lrn`` tokens of the sample's own text, and padding comes after
those. With causal attention nothing after [LRN] can reach it, so a sample does not depend on its batch mates.
RoboVLMs instead inserts before the end of the *padded* row: shorter sentences of a batch read
``[text][EOS][PAD...][LRN][PAD]``. ``padding_counts`` does the same; for a single sentence the two are equal.

Text comes first and is independent of the pictures, so that a stream builds it once per sentence.

Shapes: B batch, T ticks, F frames (B * T), L tokens, Q [LRN] copies, K new tokens, C pictures, V tokens per
picture, I tokens of all pictures (C * V), D embedding.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TokenSequence:
    """Embedded tokens with [LRN] among them.

    Attributes:
        embeds: (B, L, D) embeddings, right-padded.
        mask: (B, L) 1 at tokens, 0 at padding.
        lrn_position: (B,) position of the first [LRN] copy; without [LRN], of what is written in its stead.
        num_lrn: Q, how many copies follow each other; 0 where there is no [LRN].
        num_ticks: T, how many ticks stand one behind the other.
        picture_starts: Position of the first token of each picture; empty before there are pictures, and where
            they are not part of the sequence.
        tokens_per_picture: V; 0 where pictures are not part of the sequence.
        pictures: (B, I, P) tokens of pictures that are attended to beside the sequence, or ``None``.
        has_padding: False where there is none, so that attention needs no mask.
        padding_counts: Whether padding is treated as a part of its row, as in RoboVLMs' training.
        positions: (B, L) int64 place of each token among those of its row, where padding lies between tokens;
            ``None`` counts padding, too.
    """

    embeds: Tensor
    mask: Tensor
    lrn_position: Tensor
    num_lrn: int
    num_ticks: int = 1
    picture_starts: tuple[int, ...] = ()
    tokens_per_picture: int = 0
    pictures: Tensor | None = None
    has_padding: bool = True
    padding_counts: bool = False
    positions: Tensor | None = None

    def repeat(self, times: int) -> "TokenSequence":
        """Return the sequence of text with each row repeated: B * times rows."""
        if times == 1:
            return self
        return replace(
            self,
            embeds=self.embeds.repeat_interleave(times, dim=0),
            mask=self.mask.repeat_interleave(times, dim=0),
            lrn_position=self.lrn_position.repeat_interleave(times),
        )


def insert_lrn(text: TokenSequence, lrn_D: Tensor | None, *, num_lrn: int, tokens_after: int) -> TokenSequence:
    """Return embedded text with [LRN] copies before its last ``tokens_after`` tokens.

    Args:
        text: Right-padded text; its ``lrn_position`` is not read.
        lrn_D: [LRN]; ``None`` only marks the place.
        num_lrn: Q.
        tokens_after: Tokens of the text behind [LRN].
    """
    batch, length = text.mask.shape
    end_B = text.mask.sum(dim=1)
    if text.padding_counts:
        end_B = torch.full_like(end_B, length)
    position_B = end_B - tokens_after
    if lrn_D is None:
        return replace(text, lrn_position=position_B, num_lrn=0)
    copies_BQD = lrn_D.to(text.embeds.dtype).expand(batch, num_lrn, -1)
    embeds_BLD, mask_BL = _insert(text.embeds, text.mask, copies_BQD, position_B)
    return replace(text, embeds=embeds_BLD, mask=mask_BL, lrn_position=position_B, num_lrn=num_lrn)


def insert_before_lrn(sequence: TokenSequence, tokens_BKD: Tensor) -> TokenSequence:
    """Return the sequence with more tokens directly in front of [LRN]."""
    embeds, mask = _insert(
        sequence.embeds, sequence.mask, tokens_BKD.to(sequence.embeds.dtype), sequence.lrn_position
    )
    return replace(sequence, embeds=embeds, mask=mask, lrn_position=sequence.lrn_position + tokens_BKD.shape[1])


def insert_pictures(text: TokenSequence, pictures_BCVD: Tensor, *, after: int) -> TokenSequence:
    """Return the sequence with the tokens of all pictures after its first ``after`` tokens."""
    _, num_pictures, num_tokens, _ = pictures_BCVD.shape
    pictures_BID = pictures_BCVD.flatten(1, 2).to(text.embeds.dtype)
    ones_BI = text.mask.new_ones(pictures_BID.shape[:2])
    return replace(
        text,
        embeds=torch.cat([text.embeds[:, :after], pictures_BID, text.embeds[:, after:]], dim=1),
        mask=torch.cat([text.mask[:, :after], ones_BI, text.mask[:, after:]], dim=1),
        lrn_position=text.lrn_position + num_pictures * num_tokens,
        picture_starts=tuple(after + i * num_tokens for i in range(num_pictures)),
        tokens_per_picture=num_tokens,
    )


def join_ticks(sequence: TokenSequence, ticks: int) -> TokenSequence:
    """Return B sequences of T ticks each, in order, from the F sequences of single ticks.

    A shorter sentence leaves padding between its ticks. It has no positions, so that a sample does not depend on
    its batch mates, unless padding counts. ``lrn_position`` is left for the first tick alone.
    """
    batch, length = len(sequence.mask) // ticks, sequence.mask.shape[1]
    mask_BL = sequence.mask.reshape(batch, ticks * length)
    skips_padding = sequence.has_padding and not sequence.padding_counts
    return replace(
        sequence,
        embeds=sequence.embeds.reshape(batch, ticks * length, -1),
        mask=mask_BL,
        lrn_position=sequence.lrn_position[::ticks],
        num_ticks=ticks,
        picture_starts=tuple(t * length + start for t in range(ticks) for start in sequence.picture_starts),
        pictures=None if sequence.pictures is None else sequence.pictures.unflatten(0, (-1, ticks)).flatten(1, 2),
        positions=(mask_BL.cumsum(dim=1) - 1).clamp(min=0) if skips_padding else None,
    )


def split_ticks(hidden_BLD: Tensor, ticks: int) -> Tensor:
    """Return the hidden states of joined ticks as those of F single ticks."""
    batch, length, dim = hidden_BLD.shape
    return hidden_BLD.reshape(batch * ticks, length // ticks, dim)


def take_lrn(hidden_BLD: Tensor, sequence: TokenSequence) -> Tensor:
    """Return the hidden states of the [LRN] copies (B, Q, D)."""
    copies_Q = torch.arange(sequence.num_lrn, device=hidden_BLD.device)
    position_BQ = sequence.lrn_position[:, None] + copies_Q
    return hidden_BLD.gather(1, position_BQ[..., None].expand(-1, -1, hidden_BLD.shape[-1]))


def _insert(embeds_BLD: Tensor, mask_BL: Tensor, tokens_BKD: Tensor, position_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return embeddings and mask with K > 0 tokens inserted at a position of each row."""
    (_, length, dim), num_new = embeds_BLD.shape, tokens_BKD.shape[1]
    index_L = torch.arange(length + num_new, device=embeds_BLD.device)
    offset_BL = index_L - position_B[:, None]
    is_new_BL = (offset_BL >= 0) & (offset_BL < num_new)
    source_BL = torch.where(offset_BL >= num_new, index_L - num_new, index_L).clamp(max=length - 1)
    moved_BLD = embeds_BLD.gather(1, source_BL[..., None].expand(-1, -1, dim))
    new_BLD = tokens_BKD.gather(1, offset_BL.clamp(0, num_new - 1)[..., None].expand(-1, -1, dim))
    embeds = torch.where(is_new_BL[..., None], new_BLD, moved_BLD)
    return embeds, mask_BL.gather(1, source_BL).masked_fill(is_new_BL, 1)
