# SPDX-License-Identifier: Apache-2.0
"""The sections of a training config that are about the run: its start, its data, its optimisation, its watch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vla_core.actions.action_space import ActionFrame
from vla_core.model.config import Precision
from vla_core.model.tiny_kosmos2 import TinyKosmos2Config
from vla_training.datasets.augmentation import AugmentationConfig

Normalization = Literal["percentiles", "fixed", "none"]
Schedule = Literal["constant", "cosine"]
Strategy = Literal["auto", "ddp", "fsdp"]


@dataclass(frozen=True, kw_only=True)
class StartConfig:
    """Where the weights come from.

    Attributes:
        checkpoint: A checkpoint directory to train further; its model is taken as it is.
        backbone: Otherwise: ``tiny`` (random), or the folder of a pretrained backbone.
        tiny: Size of the backbone ``tiny``; its words are those of the training data.
        text_encoder: Folder of the text encoder for ``model.loss.language_weight``.
    """

    checkpoint: Path | None = None
    backbone: str = "tiny"
    tiny: TinyKosmos2Config | None = None
    text_encoder: Path | None = None

    def __post_init__(self) -> None:
        if self.tiny is not None and (self.backbone != "tiny" or self.checkpoint is not None):
            raise ValueError(
                "tiny is the size of a new backbone; leave it out beside a checkpoint or another backbone"
            )


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One dataset.

    Attributes:
        path: Folder that holds ``training`` and ``validation``.
        weight: Share of the samples, of any scale; ``null`` for every source gives each its number of windows.
        stride: Frames between the beginnings of two windows.
    """

    path: Path
    weight: float | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"stride must be at least 1, found {self.stride}")
        if self.weight is not None and self.weight <= 0:
            raise ValueError(f"weight must be above 0, found {self.weight:g}; leave the source out instead")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What the run reads.

    Attributes:
        sources: The datasets; robot and rate of the first are those of the checkpoint.
        action_frame: Frame of the policy's actions; ``null`` takes that of the first source.
        normalization: ``percentiles``: the 1st to the 99th of the training data become -1 to 1; ``fixed``: the
            range of ``bound``; ``none``: units as they are recorded. A checkpoint that is trained further keeps
            its own.
        bound: Range of ``fixed``, in units of the scale (RoboVLMs: 0.65).
        mixed_rates: Accept sources whose rate is not that of the first.
        augmentation: What is drawn at random for training pictures.
        workers: Processes that read, besides the one that trains; 0 reads in that one.
    """

    sources: tuple[SourceConfig, ...]
    action_frame: ActionFrame | None = None
    normalization: Normalization = "percentiles"
    bound: float = 0.65
    mixed_rates: bool = False
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    workers: int = 2

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("sources is empty; name at least one dataset")
        if len({source.weight is None for source in self.sources}) > 1:
            raise ValueError("sources: give every source a weight, or none")
        if self.workers < 0 or self.bound <= 0:
            raise ValueError(
                f"workers must not be below 0 and bound above 0, found {self.workers}, {self.bound:g}"
            )


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """How weights change.

    Attributes:
        learning_rate: Of AdamW, after the warm-up.
        weight_decay: Of matrices; vectors (biases, norms, [LRN]) are never decayed.
        betas: Of AdamW.
        schedule: ``constant``, or ``cosine`` down to ``min_learning_rate`` at the end of the run.
        min_learning_rate: Where ``cosine`` ends, as a share of ``learning_rate``.
        warmup_epochs: Epochs in which the rate grows from 0.
        batch_size: Samples of one step, all processes together.
        micro_batch_size: Samples that a process computes at once; ``null`` takes its whole share of the batch.
        epochs: Length of the run.
        max_steps: Length of the run instead, in steps.
        gradient_clip: Largest norm of the gradient; 0 leaves it alone.
        ema_decay: Keep a moving average of the weights that forgets this slowly (0.9999), and save that one.
        precision: Type of the arithmetic; weights and their updates stay in float32.
    """

    learning_rate: float = 2e-5
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Schedule = "constant"
    min_learning_rate: float = 0.01
    warmup_epochs: float = 0.25
    batch_size: int = 128
    micro_batch_size: int | None = None
    epochs: float = 5.0
    max_steps: int | None = None
    gradient_clip: float = 1.0
    ema_decay: float | None = None
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for key in ("learning_rate", "epochs"):
            if getattr(self, key) <= 0:
                raise ValueError(f"{key} must be above 0, found {getattr(self, key):g}")
        for key in ("weight_decay", "warmup_epochs", "gradient_clip", "min_learning_rate"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must not be below 0, found {getattr(self, key):g}")
        for key in ("batch_size", "micro_batch_size", "max_steps"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key} must be at least 1, found {value}")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay must be between 0 and 1, found {self.ema_decay:g}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How the run is watched and kept.

    Attributes:
        seed: Of everything random.
        validate_every: Steps between two validations; ``null`` is an epoch.
        validation_batches: Most batches of each source that a validation reads.
        save_every: Steps between two saved states; ``null`` is that of validations.
        log_every: Steps between two lines of the log.
        strategy: ``ddp`` and ``fsdp`` share the work between processes; ``auto`` is ``ddp`` where there are any.
        processes: Processes on this machine; under torchrun and SLURM theirs counts.
        accelerator: ``auto`` takes GPUs where there are any.
    """

    seed: int = 0
    validate_every: int | None = None
    validation_batches: int = 50
    save_every: int | None = None
    log_every: int = 10
    strategy: Strategy = "auto"
    processes: int = 1
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        for key in ("validate_every", "validation_batches", "save_every", "log_every", "processes"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key} must be at least 1, found {value}")


@dataclass(frozen=True, kw_only=True)
class GroundingConfig:
    """An auxiliary loss for datasets that say where the named things are (``named_points.npz``).

    Attributes:
        weight: Of its cross-entropy beside the policy's loss.
        cells: Along each side of a picture.
        pointing: Whether [LRN] must also agree with the patch that shows the thing, at the same weight.
    """

    weight: float = 0.3
    cells: int = 12
    pointing: bool = False

    def __post_init__(self) -> None:
        if self.weight <= 0 or not 2 <= self.cells <= 64:
            raise ValueError(
                f"weight must be above 0 and cells between 2 and 64, found {self.weight:g}, {self.cells}; to "
                "train without, leave the section out"
            )


@dataclass(frozen=True, kw_only=True)
class CotrainingConfig:
    """Questions and answers about pictures beside the demonstrations, so that the backbone keeps its language.

    Attributes:
        examples: JSON lines with ``image``, ``question`` and ``answer``; ``null`` takes pictures of the
            demonstrations, and their sentences as answers.
        question: What is asked of the demonstrations' pictures.
        weight: Of the cross-entropy of answers beside the policy's loss (RoboVLMs: 0.05).
        examples_per_step: Of each process.
    """

    examples: Path | None = None
    question: str = "What should the robot do?"
    weight: float = 0.05
    examples_per_step: int = 1

    def __post_init__(self) -> None:
        if self.weight <= 0 or self.examples_per_step < 1:
            raise ValueError(
                f"weight must be above 0 and examples_per_step at least 1, found {self.weight:g}, "
                f"{self.examples_per_step}; leave the section out instead"
            )
