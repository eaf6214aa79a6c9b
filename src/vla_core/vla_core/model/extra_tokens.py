# SPDX-License-Identifier: Apache-2.0
"""Numbers as tokens: the robot's own state, and the actions that were taken before.

RoboVLMs names both (``use_state``, the action encoder) without making them work. Here a small network turns the
numbers of a tick into one token at the scale of word embeddings, and the token stands directly before [LRN].

Shapes: B batch, T ticks, D embedding.
"""

import torch
from torch import Tensor, nn

from vla_core.robot_state import STATE_DIM

_LEAST_STD = 0.01
ACTION_DIM = 7
"""Six normalised arm numbers and ``gripper_open``."""


class _NumberToken(nn.Module):
    """Two linear layers from a few numbers to one token."""

    def __init__(self, num_numbers: int, embed_dim: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(num_numbers, embed_dim), nn.GELU(), nn.Linear(embed_dim, embed_dim))

    def init_scale(self, embedding_std: float) -> None:
        """Let tokens begin at the spread of the word embeddings."""
        last: nn.Linear = self.mlp[2]  # type: ignore[assignment]
        nn.init.normal_(last.weight, std=2.0 * embedding_std / last.in_features**0.5)
        nn.init.zeros_(last.bias)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return (..., D)."""
        return self.mlp(numbers.to(next(self.parameters()).dtype))  # type: ignore[no-any-return]


class StateToken(_NumberToken):
    """The measured state of the robot, (..., 10), as a token.

    A centimetre is a small number of metres: what is read is measured in spreads of the training data, if they are
    known. They are kept with the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, embed_dim: int) -> None:
        super().__init__(STATE_DIM, embed_dim)
        self.register_buffer("mean", torch.zeros(STATE_DIM))
        self.register_buffer("std", torch.ones(STATE_DIM))

    def standardize(self, states_N10: Tensor) -> None:
        """Take mean and spread from the states of a dataset; what hardly varies there is not blown up."""
        self.mean.copy_(states_N10.mean(dim=0))
        self.std.copy_(states_N10.std(dim=0, correction=0).clamp(min=_LEAST_STD))

    def forward(self, numbers: Tensor) -> Tensor:
        """Return (..., D)."""
        return super().forward((numbers - self.mean) / self.std)


class PastActionToken(_NumberToken):
    """The action of the tick before, (..., 7), as a token; the first tick has a learned token instead."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__(ACTION_DIM, embed_dim)
        self.none = nn.Parameter(torch.zeros(embed_dim))

    def of_previous(self, actions_BT7: Tensor) -> Tensor:
        """Return (B, T, D): at each tick the token of the action of the tick before it."""
        first_B1D = self.none.expand(len(actions_BT7), 1, -1)
        return torch.cat([first_B1D, self(actions_BT7[:, :-1])], dim=1)
