# SPDX-License-Identifier: Apache-2.0
"""An action number as one of the language model's own words: bins on rarely used tokens.

RoboVLMs: ``robovlms/model/policy_head/action_tokenizer.py``, which follows RT-2 and OpenVLA. The bins are
half-open intervals between edges; a number becomes the centre of its bin, so a round trip errs by half a bin at
most.
"""

import torch
from torch import Tensor

from vla_core.model.config import ActionTokenConfig


def token_ids_of(actions: Tensor, config: ActionTokenConfig) -> Tensor:
    """Return the token of each number (...), int64; numbers beyond the range are clipped."""
    clipped = actions.double().clamp(config.low, config.high)
    return config.end_token_id - torch.bucketize(clipped, _edges(config, actions.device), right=True)


def actions_of(token_ids: Tensor, config: ActionTokenConfig) -> Tensor:
    """Return the number (...), float32, of each token; any other token counts as the nearest bin."""
    edges = _edges(config, token_ids.device)
    centers = (edges[:-1] + edges[1:]) / 2
    index = (config.end_token_id - token_ids - 1).clamp(0, len(centers) - 1)
    return centers[index].float()


def _edges(config: ActionTokenConfig, device: torch.device) -> Tensor:
    return torch.linspace(config.low, config.high, config.num_bins, dtype=torch.float64, device=device)
