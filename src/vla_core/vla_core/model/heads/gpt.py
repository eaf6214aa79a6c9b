# SPDX-License-Identifier: Apache-2.0
"""The head with a causal transformer over the ticks of the window (RoboVLMs: ``GPTDecoder``).

Positions count from the first tick of the window, so a stream keeps the last W embeddings and reads them all at
every tick.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model

from vla_core.model.chunks import PredictedChunks
from vla_core.model.config import HeadConfig
from vla_core.model.heads.head import ActionHead
from vla_core.model.history import History
from vla_core.model.window import push, take_newest


@dataclass(frozen=True, eq=False, kw_only=True)
class GptHistory(History):
    """The embeddings of the last ticks.

    Attributes:
        lrn: (B, W, E).
    """

    lrn: Tensor


class GptHead(ActionHead):
    """A GPT-2 over [LRN] embeddings. Arguments as ``ActionHead``.

    Raises:
        ValueError: The attention heads do not divide the width.
    """

    def __init__(self, config: HeadConfig, **sizes: Any) -> None:
        super().__init__(config, **sizes)
        if self.hidden_size % config.num_attention_heads:
            raise ValueError(
                f"head.num_attention_heads {config.num_attention_heads} does not divide the width "
                f"{self.hidden_size}"
            )
        is_same_size = self.in_size == self.hidden_size
        self.fc = nn.Identity() if is_same_size else nn.Linear(self.in_size, self.hidden_size)
        self.gpt = GPT2Model(
            GPT2Config(
                vocab_size=1,
                bos_token_id=None,
                eos_token_id=None,
                n_positions=self.window_size,
                n_embd=self.hidden_size,
                n_layer=config.num_layers,
                n_head=config.num_attention_heads,
                resid_pdrop=config.dropout,
                embd_pdrop=config.dropout,
                attn_pdrop=config.dropout,
                use_cache=False,
            )
        )
        self.gpt.wte = None  # type: ignore[assignment]  # it reads embeddings, never words

    def join(self, lrn_BTE: Tensor) -> Tensor:
        """Return the features (B, T, H) of each tick."""
        return self.gpt(inputs_embeds=self.fc(lrn_BTE)).last_hidden_state  # type: ignore[no-any-return]

    def new_history(self, num_streams: int = 1) -> GptHistory:
        """Return an empty history."""
        lrn_BWE = self._weight.new_zeros(num_streams, self.window_size, self.in_size)
        return GptHistory(num_ticks=self._no_ticks(num_streams), lrn=lrn_BWE)

    def step(self, lrn_BE: Tensor, history: History) -> tuple[PredictedChunks, GptHistory]:
        """Return the chunks (T = 1) of the newest tick, and the history that includes it."""
        assert isinstance(history, GptHistory)
        lrn_BWE = push(history.lrn, lrn_BE, history.num_ticks)
        newest_BH = take_newest(self.join(lrn_BWE), history.num_ticks)
        return self.decode(newest_BH[:, None]), GptHistory(num_ticks=history.num_ticks + 1, lrn=lrn_BWE)
