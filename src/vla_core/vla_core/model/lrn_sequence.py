# SPDX-License-Identifier: Apache-2.0
"""The sequence that the language model reads: ``[BOS][pictures][text][LRN][EOS]``.

[LRN] stands directly before the sample's own EOS and padding comes after it. With causal attention nothing after
[LRN] can reach it, so a sample does not depend on its batch mates. RoboVLMs instead inserts at ``length - 1`` of
the *padded* row: shorter sentences of a batch read ``[text][EOS][PAD...][LRN][PAD]``. ``compat="robovlms"`` does
the same; for a single sentence the two are equal.

Text comes first and is independent of the pictures, so that a stream builds it once per sentence.

Shapes: B batch, L tokens, Q [LRN] copies, I tokens of all pictures, D embedding, E what the LSTM reads (Q * D).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vla_core.model.config import Compat


@dataclass(frozen=True, eq=False)
class LrnSequence:
    """Embedded tokens with [LRN] among them.

    Attributes:
        embeds: (B, L, D) embeddings, right-padded.
        mask: (B, L) 1 at tokens, 0 at padding.
        lrn_position: (B,) position of the first [LRN] copy.
        num_lrn: Q, how many copies follow each other.
    """

    embeds: Tensor
    mask: Tensor
    lrn_position: Tensor
    num_lrn: int

    def repeat(self, times: int) -> "LrnSequence":
        """Return the sequence with each row repeated: B * times rows."""
        if times == 1:
            return self
        return LrnSequence(
            self.embeds.repeat_interleave(times, dim=0),
            self.mask.repeat_interleave(times, dim=0),
            self.lrn_position.repeat_interleave(times),
            self.num_lrn,
        )


def insert_lrn(
    text_BLD: Tensor, mask_BL: Tensor, lrn_D: Tensor, *, num_lrn: int, compat: Compat | None
) -> LrnSequence:
    """Return embedded, right-padded text ``[BOS][text][EOS][PAD...]`` with [LRN] inserted."""
    batch, length, dim = text_BLD.shape
    padded_B = torch.full((batch,), length, device=text_BLD.device)
    length_B = padded_B if compat == "robovlms" else mask_BL.sum(dim=1)
    lrn_B = length_B - 1
    position_L = torch.arange(length + num_lrn, device=text_BLD.device)
    is_after_BL = position_L >= (lrn_B + num_lrn)[:, None]
    is_lrn_BL = (position_L >= lrn_B[:, None]) & ~is_after_BL
    source_BL = torch.where(is_after_BL, position_L - num_lrn, position_L).clamp(max=length - 1)
    moved_BLD = text_BLD.gather(1, source_BL[..., None].expand(-1, -1, dim))
    embeds_BLD = torch.where(is_lrn_BL[..., None], lrn_D.to(text_BLD.dtype), moved_BLD)
    return LrnSequence(embeds_BLD, mask_BL.gather(1, source_BL).masked_fill(is_lrn_BL, 1), lrn_B, num_lrn)


def insert_pictures(text: LrnSequence, pictures_BID: Tensor) -> LrnSequence:
    """Return the sequence with the tokens of all pictures after its first token (BOS)."""
    num_tokens = pictures_BID.shape[1]
    pictures_BID = pictures_BID.to(text.embeds.dtype)
    ones_BI = text.mask.new_ones(pictures_BID.shape[:2])
    return LrnSequence(
        torch.cat([text.embeds[:, :1], pictures_BID, text.embeds[:, 1:]], dim=1),
        torch.cat([ones_BI, text.mask], dim=1),
        text.lrn_position + num_tokens,
        text.num_lrn,
    )


def take_lrn(hidden_BLD: Tensor, sequence: LrnSequence) -> Tensor:
    """Return the hidden states of the [LRN] copies, concatenated: (B, E)."""
    copies_Q = torch.arange(sequence.num_lrn, device=hidden_BLD.device)
    position_BQ = sequence.lrn_position[:, None] + copies_Q
    taken_BQD = hidden_BLD.gather(1, position_BQ[..., None].expand(-1, -1, hidden_BLD.shape[-1]))
    return taken_BQD.flatten(1)
