# SPDX-License-Identifier: Apache-2.0
"""Which weights a training run changes: all, adapters, the last layers, or only what is new.

[LRN], the other new tokens, the resampler and the head are always trained; the choice is about the backbone.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from peft import LoraConfig
from torch import nn

from vla_core.errors import ConfigError
from vla_core.model.lora import add_adapter
from vla_core.model.vla import VlaModel
from vla_training.training.quantization import quantize_to_4_bits

Mode = Literal["full", "frozen", "last_layers", "lora", "qlora"]


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """Low-rank adapters.

    Attributes:
        rank: Width of an adapter.
        alpha: An adapter is scaled by ``alpha / rank``.
        dropout: In front of an adapter, in training.
        targets: Names of modules that get one; ``null`` takes every linear layer of the language model.
    """

    rank: int = 64
    alpha: int = 16
    dropout: float = 0.05
    targets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, found {self.rank}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, found {self.dropout:g}")


@dataclass(frozen=True, kw_only=True)
class FinetuningConfig:
    """What is trained of the backbone.

    Attributes:
        mode: ``full``: all of it; ``frozen``: nothing; ``last_layers``: the last layers of the language model;
            ``lora``: adapters; ``qlora``: adapters on language layers that are held in 4 bits.
        num_last_layers: For ``last_layers``.
        train_vision: Whether the vision tower is trained; ``null``: only with ``full``.
        train_embeddings: Whether the word embeddings are trained; ``null``: only with ``full``.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them.
        lora: Of the adapters.
    """

    mode: Mode = "full"
    num_last_layers: int = 0
    train_vision: bool | None = None
    train_embeddings: bool | None = None
    gradient_checkpointing: bool = False
    lora: LoraSettings = field(default_factory=LoraSettings)

    def __post_init__(self) -> None:
        if (self.mode == "last_layers") != (self.num_last_layers > 0):
            raise ValueError(
                f"num_last_layers must be above 0 with mode last_layers and 0 otherwise, found "
                f"{self.num_last_layers} with mode {self.mode}"
            )


@dataclass(frozen=True)
class TrainableWeights:
    """How many numbers a run changes.

    Attributes:
        trainable: Numbers that change.
        total: All numbers, adapters included.
    """

    trainable: int
    total: int

    def __str__(self) -> str:
        return f"{self.trainable:,} of {self.total:,} numbers are trained ({self.trainable / self.total:.2%})"


def prepare_for_training(model: VlaModel, config: FinetuningConfig) -> TrainableWeights:
    """Mark what is trained, add adapters, switch on checkpointing; return how much that is.

    Raises:
        ConfigError: The model lacks what the configuration names, nothing would be trained, or bitsandbytes is
            not installed.
    """
    backbone: Any = model.backbone
    is_full = config.mode == "full"
    backbone.requires_grad_(is_full)
    if config.mode == "last_layers":
        _last_layers(backbone.language_layers, config.num_last_layers).requires_grad_(True)
    if config.mode == "qlora":
        quantize_to_4_bits(backbone.language_layers)
        backbone.model.is_loaded_in_4bit = True  # peft asks this before it wraps a 4-bit layer
    if config.mode in ("lora", "qlora"):
        add_adapter(backbone.model, _lora_config(backbone, config.lora))
    _choose(backbone.vision_tower, config.train_vision, is_full)
    _choose(backbone.word_embedding, config.train_embeddings, is_full)
    if config.gradient_checkpointing:
        _checkpoint_gradients(backbone)
    count = _count(model)
    if not count.trainable:
        raise ConfigError(
            f"finetuning.mode {config.mode} leaves nothing to train: structure {model.config.structure} has no "
            "weights of its own. Train the last layers, adapters or all"
        )
    return count


def _choose(part: nn.Module, choice: bool | None, default: bool) -> None:
    for name, weight in part.named_parameters():
        if ".lora_" not in name:
            weight.requires_grad_((default if choice is None else choice) and weight.is_floating_point())


def _last_layers(layers: nn.ModuleList, count: int) -> nn.ModuleList:
    if count > len(layers):
        raise ConfigError(f"num_last_layers is {count}, the language model has {len(layers)} layers")
    return layers[-count:]


def _lora_config(backbone: Any, settings: LoraSettings) -> LoraConfig:
    inside = {id(part) for part in backbone.language_layers.modules()}
    # 4-bit layers of bitsandbytes are linear layers, too.
    linear = [
        name for name, part in backbone.model.named_modules() if isinstance(part, nn.Linear) and id(part) in inside
    ]
    targets = linear
    if settings.targets is not None:
        targets = [name for name in linear if name.endswith(settings.targets)]
        if not targets:
            raise ConfigError(
                f"lora.targets {list(settings.targets)} names no linear layer; there are "
                f"{sorted({name.rpartition('.')[2] for name in linear})}"
            )
    return LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=targets
    )


def _checkpoint_gradients(backbone: Any) -> None:
    if not backbone.model.supports_gradient_checkpointing:
        raise ConfigError(f"gradient_checkpointing: {type(backbone.model).__name__} does not support it")
    backbone.model.activation_checkpointing_enable({"use_reentrant": False})


def _count(model: VlaModel) -> TrainableWeights:
    weights = list(model.parameters())
    return TrainableWeights(
        trainable=sum(weight.numel() for weight in weights if weight.requires_grad),
        total=sum(weight.numel() for weight in weights),
    )
