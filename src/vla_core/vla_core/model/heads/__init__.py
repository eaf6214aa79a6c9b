# SPDX-License-Identifier: Apache-2.0
"""Networks from [LRN] embeddings to actions, one kind per file."""

from vla_core.model.config import HeadConfig, HeadKind
from vla_core.model.heads.fc import FcHead
from vla_core.model.heads.gpt import GptHead
from vla_core.model.heads.head import ActionHead
from vla_core.model.heads.lstm import LstmHead

HEADS: dict[HeadKind, type[ActionHead]] = {"lstm": LstmHead, "fc": FcHead, "gpt": GptHead}


def build_head(
    config: HeadConfig, *, embed_dim: int, chunk_size: int, num_lrn_tokens: int, window_size: int
) -> ActionHead:
    """Return the head of a configuration.

    Args:
        config: Kind and sizes.
        embed_dim: D, width of the backbone.
        chunk_size: N, actions per prediction.
        num_lrn_tokens: Q, embeddings per tick.
        window_size: W, ticks that the head sees.
    """
    return HEADS[config.kind](
        config,
        embed_dim=embed_dim,
        chunk_size=chunk_size,
        num_lrn_tokens=num_lrn_tokens,
        window_size=window_size,
    )
