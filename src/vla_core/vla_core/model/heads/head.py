# SPDX-License-Identifier: Apache-2.0
"""What the heads share: the two networks behind the features of a tick, and the shape of a stream.

A head is a pure module: history goes in and comes out, nothing is remembered between calls. Parameter names are
RoboVLMs' own (``actions.mlp.*``, ``gripper.mlp.*``), so that its checkpoints load without renaming.

Shapes: B batch or parallel streams, T ticks, W window, N chunk, D embedding, Q [LRN] copies, E what a head reads
at a tick (Q * D), H features that it decodes.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from vla_core.actions.normalization import ARM_DIM
from vla_core.model.chunks import PredictedChunks
from vla_core.model.config import HeadConfig
from vla_core.model.history import History


class Mlp(nn.Module):
    """Linear layers with ReLU between them, initialised as in the original."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(len(sizes) - 1):
            layers += [xavier_linear(sizes[i], sizes[i + 1]), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, features: Tensor) -> Tensor:
        """Return (..., last size)."""
        return self.mlp(features)  # type: ignore[no-any-return]


class ActionHead(nn.Module, ABC):
    """Features of each tick to a chunk of actions.

    Args:
        config: Sizes.
        embed_dim: D, width of the backbone.
        chunk_size: N.
        num_lrn_tokens: Q, embeddings per tick; they are concatenated, and the head grows with them.
        window_size: W.
    """

    def __init__(
        self,
        config: HeadConfig,
        *,
        embed_dim: int,
        chunk_size: int,
        num_lrn_tokens: int = 1,
        window_size: int = 1,
    ) -> None:
        super().__init__()
        self.chunk_size = chunk_size
        self.window_size = window_size
        self.in_size = embed_dim * num_lrn_tokens
        self.hidden_size = config.hidden_size * num_lrn_tokens
        sizes = (self.hidden_size, *config.mlp_sizes)
        self.actions = Mlp((*sizes, chunk_size * ARM_DIM))
        self.gripper = Mlp((*sizes, chunk_size))

    def forward(self, lrn_BTE: Tensor) -> PredictedChunks:
        """Return the chunk at each tick of a window that starts with nothing remembered."""
        return self.decode(self.join(lrn_BTE))

    @abstractmethod
    def join(self, lrn_BTE: Tensor) -> Tensor:
        """Return the features (B, T, H) of each tick, which may depend on the ticks before it."""

    @abstractmethod
    def new_history(self, num_streams: int = 1) -> History:
        """Return the history of streams that have seen nothing."""

    @abstractmethod
    def step(self, lrn_BE: Tensor, history: History) -> tuple[PredictedChunks, History]:
        """Return the chunks (T = 1) after one more tick of each stream, and the history that includes it.

        They are those of ``forward`` over the last W ticks, at the last.
        """

    def decode(self, features_BTH: Tensor) -> PredictedChunks:
        """Return the chunks that features stand for."""
        shape = (*features_BTH.shape[:2], self.chunk_size)
        arm_BTN6 = torch.tanh(self.actions(features_BTH)).reshape(*shape, ARM_DIM)
        return PredictedChunks(arm_BTN6, self.gripper(features_BTH).reshape(shape))

    def _no_ticks(self, num_streams: int) -> Tensor:
        return torch.zeros(num_streams, dtype=torch.long, device=self._weight.device)

    @property
    def _weight(self) -> Tensor:
        return next(self.parameters())


def xavier_linear(in_size: int, out_size: int) -> nn.Linear:
    """Return a linear layer with Xavier-uniform weights and no offset, as the original starts from."""
    linear = nn.Linear(in_size, out_size)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
