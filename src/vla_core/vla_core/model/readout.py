# SPDX-License-Identifier: Apache-2.0
"""Which hidden states the head reads.

``lrn`` takes those of the [LRN] copies. The others max-pool a stretch of the sequence to as many features as there
would be [LRN] copies (RoboVLMs: ``action_space: down_sample``, PyTorch's ``AdaptiveMaxPool1d``). A row's own
stretch ends before its padding, unless padding counts, as it does in the original.

Shapes: B batch, L tokens, Q features per tick, D embedding.
"""

import torch
from torch import Tensor

from vla_core.model.config import ModelConfig
from vla_core.model.token_sequence import TokenSequence, take_lrn


def read_features(hidden_BLD: Tensor, sequence: TokenSequence, config: ModelConfig) -> Tensor:
    """Return (B, Q * D): what the head reads of one tick."""
    if config.readout == "lrn":
        return take_lrn(hidden_BLD, sequence).flatten(1)
    begin_B, end_B = _stretch(hidden_BLD, sequence, config)
    return _pool(hidden_BLD, begin_B, end_B, config.num_lrn_tokens).flatten(1)


def _stretch(hidden_BLD: Tensor, sequence: TokenSequence, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Return (B,) first token and (B,) token behind the last of what is pooled."""
    length = hidden_BLD.shape[1]
    end_B = sequence.lrn_position + config.prompt.tokens_after_lrn
    pictures_begin = config.prompt.tokens_before_pictures
    pictures_end = pictures_begin + len(sequence.picture_starts) * sequence.tokens_per_picture
    start, stop = torch.zeros_like(end_B), end_B
    if sequence.padding_counts:
        stop = torch.full_like(end_B, length)
    if config.readout == "text":
        return start + pictures_end, stop - config.prompt.tokens_after_lrn
    if config.readout == "pictures":
        return start + pictures_begin, start + pictures_end
    return start, stop


def _pool(hidden_BLD: Tensor, begin_B: Tensor, end_B: Tensor, num_features: int) -> Tensor:
    """Return (B, Q, D): the largest value of each dimension in each of Q overlapping parts of a stretch."""
    index_L = torch.arange(hidden_BLD.shape[1], device=hidden_BLD.device)
    length_B = end_B - begin_B
    features = []
    for i in range(num_features):
        first_B = begin_B + (i * length_B).div(num_features, rounding_mode="floor")
        behind_B = begin_B + ((i + 1) * length_B + num_features - 1).div(num_features, rounding_mode="floor")
        is_part_BL = (index_L >= first_B[:, None]) & (index_L < behind_B[:, None])
        features.append(hidden_BLD.masked_fill(~is_part_BL[..., None], -torch.inf).amax(dim=1))
    return torch.stack(features, dim=1)
