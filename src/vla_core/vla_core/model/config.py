# SPDX-License-Identifier: Apache-2.0
"""Every choice about the model that a checkpoint must remember. No torch here."""

from dataclasses import dataclass, field
from typing import Literal

from vla_core.images import ImageSpec
from vla_core.robot_spec import CameraName

BackboneKind = Literal["kosmos2"]
Compat = Literal["robovlms"]

INSTRUCTION_SLOT = "{instruction}"


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Sizes of the LSTM head.

    Attributes:
        hidden_size: Width of the LSTM.
        num_layers: Layers of the LSTM.
        mlp_sizes: Widths of the hidden layers of the arm and the gripper network.
    """

    hidden_size: int = 1024
    num_layers: int = 4
    mlp_sizes: tuple[int, ...] = (1024, 512, 256)

    def __post_init__(self) -> None:
        _require_at_least_one(self, "hidden_size", "num_layers")
        if any(size < 1 for size in self.mlp_sizes):
            raise ValueError(f"mlp_sizes must be at least 1 each, found {list(self.mlp_sizes)}")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What training minimises.

    Attributes:
        arm: ``huber`` (delta 1: what RoboVLMs' code does) or ``mse`` (what its paper says).
        gripper_weight: Weight of the gripper's cross-entropy beside the arm's loss.
    """

    arm: Literal["huber", "mse"] = "huber"
    gripper_weight: float = 0.01

    def __post_init__(self) -> None:
        if self.gripper_weight < 0:
            raise ValueError(f"gripper_weight must not be below 0, found {self.gripper_weight:g}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The model, without its weights.

    Attributes:
        window_size: Ticks of history that the head sees.
        chunk_size: Actions per prediction.
        image: Size and normalisation of the pictures, the same for each camera.
        backbone: The vision-language model.
        cameras: Order of the pictures in the sequence, after the first token. RoboVLMs inserts static, then wrist
            in front of it.
        prompt: Text that the language model reads; ``{instruction}`` stands for the sentence.
        num_lrn_tokens: Copies of the [LRN] token in the sequence (RoboVLMs: ``latent``).
        head: Sizes of the LSTM head.
        loss: What training minimises.
        compat: ``robovlms`` reproduces where the original puts [LRN] in a padded batch, which makes a sample
            depend on its batch mates; ``null`` is right. A single sentence gives the same either way.
    """

    window_size: int
    chunk_size: int
    image: ImageSpec
    backbone: BackboneKind = "kosmos2"
    cameras: tuple[CameraName, ...] = ("wrist", "static")
    prompt: str = "<grounding>An image of a robot {instruction}"
    num_lrn_tokens: int = 1
    head: HeadConfig = field(default_factory=HeadConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    compat: Compat | None = None

    def __post_init__(self) -> None:
        _require_at_least_one(self, "window_size", "chunk_size", "num_lrn_tokens")
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"cameras must name each camera once, found {list(self.cameras)}")
        if self.prompt.count(INSTRUCTION_SLOT) != 1:
            raise ValueError(f"prompt must hold {INSTRUCTION_SLOT} once, found {self.prompt!r}")


def _require_at_least_one(config: object, *keys: str) -> None:
    for key in keys:
        if getattr(config, key) < 1:
            raise ValueError(f"{key} must be at least 1, found {getattr(config, key)}")
