# SPDX-License-Identifier: Apache-2.0
"""AdamW with matrices decayed and vectors not, and the course of the learning rate."""

import math
from typing import Any

import torch
from torch import nn

from vla_training.training.settings import OptimizationConfig


def build_optimizer(module: nn.Module, config: OptimizationConfig) -> torch.optim.AdamW:
    """Return AdamW over the trainable weights (Loshchilov and Hutter, 2019).

    Matrices are decayed; what has one dimension (biases, norms, [LRN]) is not: pulling it to 0 would not make the
    model simpler.
    """
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    used = [group for group in groups if group["params"]]
    is_on_gpu = all(weight.is_cuda for weight in weights)
    return torch.optim.AdamW(used, lr=config.learning_rate, betas=config.betas, fused=is_on_gpu or None)


def learning_rate_factor(step: int, *, num_steps: int, warmup_steps: int, config: OptimizationConfig) -> float:
    """Return the share of the learning rate that the update number ``step`` (from 0) takes.

    It grows in a line, and the first update has 0, as in RoboVLMs (``base_trainer.py:204``).
    """
    if step < warmup_steps:
        return step / warmup_steps
    if config.schedule == "constant":
        return 1.0
    part = min((step - warmup_steps) / max(num_steps - warmup_steps, 1), 1.0)
    low = config.min_learning_rate
    return low + (1.0 - low) * 0.5 * (1.0 + math.cos(math.pi * part))
