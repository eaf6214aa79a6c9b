# SPDX-License-Identifier: Apache-2.0
"""The streaming rule: the chunk at a tick is that of a zero-state LSTM run over the last W embeddings.

This is RoboVLMs' rule (state carried for the first W ticks, afterwards zero state over the last W embeddings), and
it is why a stream gives what the windowed forward pass of training gives. An LSTM state cannot forget its oldest
input, so W states run side by side, each started at another tick; every tick advances all of them in one batched
LSTM step, and the one that started first within the window answers. A tick costs one step for any W instead of W
steps in sequence.

Shapes: B parallel streams, W window (one slot per running state), R all slots of all streams (B * W), K layers,
H hidden, E what the LSTM reads at a tick: the [LRN] embeddings, concatenated.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vla_core.model.heads.lstm import LstmHead, PredictedChunks


@dataclass(frozen=True, eq=False)
class History:
    """What streams remember between ticks; a value, owned by whoever runs the stream.

    Attributes:
        hidden: (K, B, W, H) hidden states of the LSTM.
        cell: (K, B, W, H) cell states of the LSTM.
        num_ticks: (B,) ticks since each stream's start. With 0 a stream starts afresh whatever its states hold: a
            slot is zeroed when its state starts.
    """

    hidden: Tensor
    cell: Tensor
    num_ticks: Tensor

    @classmethod
    def empty(cls, head: LstmHead, window_size: int, num_streams: int = 1) -> "History":
        """Return the history of streams that have seen nothing."""
        weight = head.rnn.weight_hh_l0
        assert isinstance(weight, Tensor)
        zeros = weight.new_zeros(head.num_layers, num_streams, window_size, head.hidden_size)
        return cls(zeros, zeros, torch.zeros(num_streams, dtype=torch.long, device=weight.device))


def advance_history(head: LstmHead, history: History, lrn_BE: Tensor) -> tuple[PredictedChunks, History]:
    """Return the chunks (T = 1) after one more tick of each stream, and the history that includes it."""
    layers, streams, window, hidden = history.hidden.shape
    ticks_B = history.num_ticks
    slots_W = torch.arange(window, device=ticks_B.device)
    starting_BW1 = (slots_W == (ticks_B % window)[:, None])[..., None]
    before = (
        history.hidden.masked_fill(starting_BW1, 0.0).view(layers, streams * window, hidden),
        history.cell.masked_fill(starting_BW1, 0.0).view(layers, streams * window, hidden),
    )
    lrn_RE = lrn_BE.repeat_interleave(window, dim=0)
    features_RH, (hidden_after, cell_after) = head.advance_one(lrn_RE, before)
    oldest_B = torch.where(ticks_B < window, 0, (ticks_B + 1) % window)
    features_BWH = features_RH.view(streams, window, hidden)
    oldest_B1H = features_BWH[torch.arange(streams, device=ticks_B.device), oldest_B][:, None]
    shape = history.hidden.shape
    return head.decode(oldest_B1H), History(hidden_after.view(shape), cell_after.view(shape), ticks_B + 1)
