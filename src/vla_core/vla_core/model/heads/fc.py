# SPDX-License-Identifier: Apache-2.0
"""The head without memory: each tick for itself (RoboVLMs: ``FCDecoder``)."""

from typing import Any

from torch import Tensor, nn

from vla_core.model.chunks import PredictedChunks
from vla_core.model.config import HeadConfig
from vla_core.model.heads.head import ActionHead, xavier_linear
from vla_core.model.history import History


class FcHead(ActionHead):
    """Two linear layers, then one network for the arm and one for the gripper. Arguments as ``ActionHead``."""

    def __init__(self, config: HeadConfig, **sizes: Any) -> None:
        super().__init__(config, **sizes)
        self.mlp = nn.Sequential(
            xavier_linear(self.in_size, self.in_size // 2),
            nn.ReLU(),
            xavier_linear(self.in_size // 2, self.hidden_size),
        )

    def join(self, lrn_BTE: Tensor) -> Tensor:
        """Return the features (B, T, H) of each tick."""
        return self.mlp(lrn_BTE)  # type: ignore[no-any-return]

    def new_history(self, num_streams: int = 1) -> History:
        """Return an empty history."""
        return History(num_ticks=self._no_ticks(num_streams))

    def step(self, lrn_BE: Tensor, history: History) -> tuple[PredictedChunks, History]:
        """Return the chunks (T = 1) of this tick."""
        return self(lrn_BE[:, None]), History(num_ticks=history.num_ticks + 1)
