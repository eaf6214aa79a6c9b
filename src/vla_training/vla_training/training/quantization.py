# SPDX-License-Identifier: Apache-2.0
"""Weights in 4 bits for QLoRA (Dettmers et al. 2023), where bitsandbytes is installed."""

from typing import Any

from torch import nn

from vla_core.errors import ConfigError


def quantize_to_4_bits(container: nn.Module) -> None:
    """Replace every linear layer of a module by one whose weights are held in 4 bits (NF4).

    Raises:
        ConfigError: bitsandbytes is not installed.
    """
    try:
        import bitsandbytes
    except ImportError as error:
        raise ConfigError(
            "finetuning.mode qlora needs bitsandbytes, which is not installed. Run 'pip install bitsandbytes', or "
            "use mode lora"
        ) from error
    for name, part in list(container.named_modules()):
        if isinstance(part, nn.Linear):
            parent, _, child = name.rpartition(".")
            setattr(container.get_submodule(parent), child, _four_bit(bitsandbytes, part))


def _four_bit(bitsandbytes: Any, linear: nn.Linear) -> nn.Module:
    weight = linear.weight
    replacement: nn.Module = bitsandbytes.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=weight.dtype,
        quant_type="nf4",
    )
    replacement.weight = bitsandbytes.nn.Params4bit(weight.detach().cpu(), requires_grad=False, quant_type="nf4")
    if linear.bias is not None:
        replacement.bias = nn.Parameter(linear.bias.detach(), requires_grad=False)
    return replacement.to(weight.device)
