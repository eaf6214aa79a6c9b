# SPDX-License-Identifier: Apache-2.0
"""The recurrent head, and the streaming rule: a chunk is that of a zero-state LSTM over the last W embeddings.

This is RoboVLMs' rule (``LSTMDecoder``: state carried for the first W ticks, afterwards zero state over the last W
embeddings), and it is why a stream gives what the windowed forward pass of training gives. An LSTM state cannot
forget its oldest input, so W states run side by side, each started at another tick; every tick advances all of
them in one batched LSTM step, and the one that started first within the window answers. A tick costs one step for
any W instead of W steps in sequence.

Shapes: B streams, T ticks, W window (one slot per running state), R all slots of all streams (B * W), K layers,
H hidden, E what the LSTM reads at a tick.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vla_core.model.chunks import PredictedChunks
from vla_core.model.config import HeadConfig
from vla_core.model.heads.head import ActionHead
from vla_core.model.history import History


@dataclass(frozen=True, eq=False, kw_only=True)
class LstmHistory(History):
    """The states that run side by side; a slot is zeroed when its state starts.

    Attributes:
        hidden: (K, B, W, H) hidden states of the LSTM.
        cell: (K, B, W, H) cell states of the LSTM.
    """

    hidden: Tensor
    cell: Tensor


class LstmHead(ActionHead):
    """LSTM over [LRN] embeddings. Arguments as ``ActionHead``."""

    def __init__(self, config: HeadConfig, **sizes: Any) -> None:
        super().__init__(config, **sizes)
        self.num_layers = config.num_layers
        self.rnn = nn.LSTM(
            self.in_size, self.hidden_size, config.num_layers, batch_first=True, dropout=config.dropout
        )

    def join(self, lrn_BTE: Tensor) -> Tensor:
        """Return the LSTM's output (B, T, H) at each tick, from the zero state."""
        features_BTH: Tensor
        features_BTH, _ = self.rnn(lrn_BTE)
        return features_BTH

    def new_history(self, num_streams: int = 1) -> LstmHistory:
        """Return an empty history."""
        zeros = self._weight.new_zeros(self.num_layers, num_streams, self.window_size, self.hidden_size)
        return LstmHistory(num_ticks=self._no_ticks(num_streams), hidden=zeros, cell=zeros)

    def step(self, lrn_BE: Tensor, history: History) -> tuple[PredictedChunks, LstmHistory]:
        """Return the chunks (T = 1) of the newest tick, and the history that includes it."""
        assert isinstance(history, LstmHistory)
        streams, window, ticks_B = *history.hidden.shape[1:3], history.num_ticks
        slots_W = torch.arange(window, device=ticks_B.device)
        is_starting_BW1 = (slots_W == (ticks_B % window)[:, None])[..., None]
        features_RH, hidden, cell = self._advance(
            lrn_BE.repeat_interleave(window, dim=0),
            history.hidden.masked_fill(is_starting_BW1, 0.0).flatten(1, 2),
            history.cell.masked_fill(is_starting_BW1, 0.0).flatten(1, 2),
        )
        oldest_B = torch.where(ticks_B < window, 0, (ticks_B + 1) % window)
        features_BWH = features_RH.view(streams, window, -1)
        oldest_BH = features_BWH[torch.arange(streams, device=ticks_B.device), oldest_B]
        after = LstmHistory(
            num_ticks=ticks_B + 1,
            hidden=hidden.view(history.hidden.shape),
            cell=cell.view(history.cell.shape),
        )
        return self.decode(oldest_BH[:, None]), after

    def _advance(self, features_RE: Tensor, hidden_KRH: Tensor, cell_KRH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the LSTM's output (R, H) after one tick, and its states.

        The same numbers as ``rnn`` for one tick, layer by layer: PyTorch's CPU kernel for sequences repacks every
        weight at every call, which takes longer than the step itself.
        """
        hidden, cell, features = [], [], features_RE
        for layer in range(self.num_layers):
            kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = [getattr(self.rnn, f"{kind}_l{layer}") for kind in kinds]
            features, cell_RH = torch.lstm_cell(features, (hidden_KRH[layer], cell_KRH[layer]), *weights)
            hidden.append(features)
            cell.append(cell_RH)
        return features, torch.stack(hidden), torch.stack(cell)
