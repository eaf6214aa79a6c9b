# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters on a model (LoRA, Hu et al. 2021), through peft.

A checkpoint keeps them in a folder of their own in peft's layout, or merged into the weights. Either way a model
that runs has them merged: the sum is computed once, not at every tick.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import (
    LoraConfig,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_peft_model_state_dict,
)
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from torch import Tensor, nn

from vla_core.errors import CheckpointError
from vla_core.model.tensor_file import write_tensors

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_NAME = "default"
_WRAPPED = ".base_layer."


def add_adapter(backbone_model: nn.Module, config: LoraConfig) -> None:
    """Put adapters around the modules that a configuration names; they begin as nothing."""
    inject_adapter_in_model(config, backbone_model, adapter_name=_NAME)
    backbone_model.peft_config = {_NAME: config}  # type: ignore[assignment]


def has_adapter(module: nn.Module) -> bool:
    """Return whether any part of a module carries an adapter."""
    return any(isinstance(part, BaseTunerLayer) for part in module.modules())


def plain_tensors(module: nn.Module, tensors: Mapping[str, Tensor], *, merge: bool) -> dict[str, Tensor]:
    """Return a module's tensors as if it had no adapters and no 4-bit weights; the module stays as it is.

    Args:
        module: The module, or a part that it carries adapters in.
        tensors: Of its ``state_dict``.
        merge: Whether adapters are added to the weights that they belong to.
    """
    plain = {name.replace(_WRAPPED, "."): tensor for name, tensor in tensors.items() if ".lora_" not in name}
    for name, part in module.named_modules():
        key = f"{name}.weight".replace(_WRAPPED, ".")
        if hasattr(getattr(part, "weight", None), "quant_state"):
            plain = {other: tensor for other, tensor in plain.items() if not other.startswith(f"{key}.")}
            plain[key] = _dequantized(part)
    for name, part in module.named_modules():
        if merge and isinstance(part, LoraLayer):
            key = f"{name}.weight"
            delta: Tensor = part.get_delta_weight(_NAME)  # type: ignore[attr-defined]
            plain[key] = plain[key] + delta.detach().to(plain[key].dtype)
    return plain


def _dequantized(part: nn.Module) -> Tensor:
    """Return the weights of a 4-bit layer of bitsandbytes as numbers."""
    from bitsandbytes.functional import dequantize_4bit  # there, because such a layer exists

    weight: Any = part.weight
    numbers: Tensor = dequantize_4bit(weight.data, weight.quant_state)
    return numbers


def merge_adapter(module: nn.Module, *, where: str) -> None:
    """Add the adapters of a module to its weights and take them off.

    Raises:
        CheckpointError: The sums are not finite; the sentence begins with ``where``.
    """
    for name, part in list(module.named_modules()):
        if isinstance(part, LoraLayer):
            try:
                part.merge(safe_merge=True)
            except ValueError as error:
                raise CheckpointError(
                    f"{where}: with the adapter, the weights of '{name}' are not finite. Take a checkpoint from "
                    "before the training went wrong"
                ) from error
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, part.get_base_layer())
    if hasattr(module, "peft_config"):
        del module.peft_config


def save_adapter(backbone_model: nn.Module, folder: Path) -> None:
    """Write adapters into a new folder, in peft's layout."""
    folder.mkdir()
    settings: Any = backbone_model.peft_config
    settings[_NAME].save_pretrained(folder)
    tensors = get_peft_model_state_dict(backbone_model, adapter_name=_NAME)
    write_tensors(tensors, folder / ADAPTER_WEIGHTS)


def load_adapter(backbone_model: nn.Module, folder: Path) -> None:
    """Put the adapters of a folder onto a model.

    Raises:
        CheckpointError: A file is missing or damaged, or the adapters do not fit the model.
    """
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder}: '{name}' is missing; copy the whole checkpoint directory")
    try:
        config = LoraConfig.from_pretrained(str(folder), local_files_only=True)
        if type(config) is not LoraConfig:
            raise ValueError(f"{ADAPTER_CONFIG} is of type {type(config).__name__}, expected LoraConfig")
        add_adapter(backbone_model, config)
        tensors = load_file(folder / ADAPTER_WEIGHTS)
        expected = {name: tensor.shape for name, tensor in get_peft_model_state_dict(backbone_model).items()}
        if {name: tensor.shape for name, tensor in tensors.items()} != expected:
            raise ValueError("its tensors are not those that adapter_config.json describes for this model")
        set_peft_model_state_dict(backbone_model, tensors, adapter_name=_NAME)
    except Exception as error:  # peft says in many ways that a value of the foreign file makes no sense
        sentence = f"{folder}: the adapter cannot be loaded: {type(error).__name__}: {error}"
        raise CheckpointError(sentence) from error
