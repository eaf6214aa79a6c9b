# SPDX-License-Identifier: Apache-2.0
"""The head: a recurrent network over [LRN] embeddings that predicts a chunk of actions at each tick.

A pure module: state goes in and comes out, nothing is remembered between calls. Parameter names are RoboVLMs' own
(``rnn.*``, ``actions.mlp.*``, ``gripper.mlp.*``) so that its checkpoints load without renaming.

Shapes: B batch, T ticks, N chunk, D embedding, Q [LRN] copies, E what the LSTM reads at a tick (Q * D), H hidden,
K layers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla_core.actions.normalization import ARM_DIM
from vla_core.model.config import HeadConfig

LstmState = tuple[Tensor, Tensor]  # (K, B, H) hidden and cell


@dataclass(frozen=True, eq=False)
class PredictedChunks:
    """A chunk of actions for each tick.

    Attributes:
        arm: (B, T, N, 6) normalised relative TCP motion in (-1, 1).
        gripper_logit: (B, T, N) logit of "open".
    """

    arm: Tensor
    gripper_logit: Tensor


class _Mlp(nn.Module):
    """Linear layers with ReLU between them, initialised as in the original."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(len(sizes) - 1):
            linear = nn.Linear(sizes[i], sizes[i + 1])
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, features: Tensor) -> Tensor:
        return self.mlp(features)  # type: ignore[no-any-return]


class LstmHead(nn.Module):
    """LSTM over [LRN] embeddings, then one network for the arm and one for the gripper.

    Args:
        config: Sizes.
        embed_dim: D, width of the backbone.
        chunk_size: N.
        num_lrn_tokens: Q, embeddings per tick; they are concatenated, and the LSTM grows with them.
    """

    def __init__(self, config: HeadConfig, *, embed_dim: int, chunk_size: int, num_lrn_tokens: int = 1) -> None:
        super().__init__()
        self.chunk_size = chunk_size
        self.hidden_size = config.hidden_size * num_lrn_tokens
        self.num_layers = config.num_layers
        self.rnn = nn.LSTM(embed_dim * num_lrn_tokens, self.hidden_size, config.num_layers, batch_first=True)
        sizes = (self.hidden_size, *config.mlp_sizes)
        self.actions = _Mlp((*sizes, chunk_size * ARM_DIM))
        self.gripper = _Mlp((*sizes, chunk_size))

    def forward(self, lrn_BTE: Tensor, state: LstmState | None = None) -> tuple[PredictedChunks, LstmState]:
        """Return the chunk at each tick, and the state after the last; ``None`` is the zero state."""
        features_BTH, state = self.advance(lrn_BTE, state)
        return self.decode(features_BTH), state

    def advance(self, lrn_BTE: Tensor, state: LstmState | None = None) -> tuple[Tensor, LstmState]:
        """Return the LSTM's output (B, T, H) at each tick, and the state after the last."""
        features_BTH, after = self.rnn(lrn_BTE, state)
        return features_BTH, after

    def advance_one(self, lrn_BE: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """Return the LSTM's output (B, H) after one tick, and the state after it.

        The same numbers as ``advance`` for T = 1, layer by layer: PyTorch's CPU kernel for sequences repacks every
        weight at every call, which takes longer than the step itself.
        """
        hidden, cell, features_BH = [], [], lrn_BE
        for layer in range(self.num_layers):
            kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = [getattr(self.rnn, f"{kind}_l{layer}") for kind in kinds]
            features_BH, cell_BH = torch.lstm_cell(features_BH, (state[0][layer], state[1][layer]), *weights)
            hidden.append(features_BH)
            cell.append(cell_BH)
        return features_BH, (torch.stack(hidden), torch.stack(cell))

    def decode(self, features_BTH: Tensor) -> PredictedChunks:
        """Return the chunks that LSTM outputs stand for."""
        shape = (*features_BTH.shape[:2], self.chunk_size)
        arm_BTN6 = torch.tanh(self.actions(features_BTH)).reshape(*shape, ARM_DIM)
        return PredictedChunks(arm_BTN6, self.gripper(features_BTH).reshape(shape))
