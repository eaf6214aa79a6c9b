# SPDX-License-Identifier: Apache-2.0
"""A training run from its first step to its checkpoints; interrupted at any time, it goes on exactly."""

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from lightning.fabric import Fabric
from safetensors import SafetensorError
from torch.utils.data import DataLoader

from vla_core.config import to_plain
from vla_core.errors import ConfigError
from vla_core.model.answer import Answerer
from vla_core.model.language_regulariser import LanguageRegulariser
from vla_training.datasets.augmentation import Augmentation
from vla_training.datasets.batches import WindowBatch
from vla_training.datasets.loading import ErrorsAsSamples, collate_or_error, raise_errors
from vla_training.datasets.mixture import MixtureSampler
from vla_training.training.attention_kernel import attention_kernel
from vla_training.training.bundles import save_bundle
from vla_training.training.finetuning import prepare_for_training
from vla_training.training.grounding import GroundingLoss
from vla_training.training.loop import Course, Learner, TrainingError, steps
from vla_training.training.metrics_log import MetricsLog, plot_curves, read_metrics
from vla_training.training.objective import Objective
from vla_training.training.optimizer import build_optimizer
from vla_training.training.pointing import PointingLoss
from vla_training.training.preparation import Preparation
from vla_training.training.questions import Questions
from vla_training.training.run_folder import RunFolder
from vla_training.training.run_state import RunState
from vla_training.training.validation import MEAN, Validation


@dataclass(frozen=True)
class RunResult:
    """How a run has ended.

    Attributes:
        step: Updates that were made.
        num_steps: Length of the run.
        results: Numbers that the last step and the best validation reached.
    """

    step: int
    num_steps: int
    results: dict[str, float]

    @property
    def is_finished(self) -> bool:
        """Whether all steps were made; otherwise the run was interrupted."""
        return self.step >= self.num_steps


def fit(prepared: Preparation, fabric: Fabric, folder: RunFolder, *, resume: bool) -> RunResult:
    """Train; return how it has ended.

    Args:
        prepared: The run before its first step.
        fabric: The processes.
        folder: Of the run; its settings are written already.
        resume: Go on from the saved state.

    Raises:
        VlaError: A setting cannot be used, or the loss is not finite.
    """
    course = _course(prepared, fabric)
    learner = _learner(prepared, fabric)
    state = RunState(fabric, learner, folder.state)
    if resume:
        state.load()
    validation = Validation(
        fabric,
        prepared.validation,
        model=prepared.config.model,
        tokenizer=prepared.start.tokenizer,
        batch_size=_micro_batch_size(prepared, fabric),
        max_batches=prepared.config.run.validation_batches,
    )
    log = MetricsLog(folder.metrics, folder.path / "tensorboard", learner.step) if fabric.is_global_zero else None
    watch = _Watch(
        prepared=prepared,
        fabric=fabric,
        folder=folder,
        learner=learner,
        state=state,
        validation=validation,
        log=log,
        saved_step=learner.step,
    )
    results: dict[str, float] = {}
    kernel = attention_kernel(fabric.device.type, prepared.config.optimization.precision)
    with _asked_to_stop() as asked, kernel:
        for step, numbers in steps(learner, _batches(prepared, fabric, course, learner.step), course):
            results = numbers
            watch.after_step(step, numbers, is_end=step == course.num_steps)
            if fabric.broadcast(bool(asked)):
                break
    watch.finish(results)
    return RunResult(learner.step, course.num_steps, {**results, **watch.best_numbers})


@dataclass(kw_only=True, eq=False)
class _Watch:
    """Logs, validates and saves between steps."""

    prepared: Preparation
    fabric: Fabric
    folder: RunFolder
    learner: Learner
    state: RunState
    validation: Validation
    log: MetricsLog | None
    saved_step: int

    @property
    def best_numbers(self) -> dict[str, float]:
        """The best validation loss, if there was one."""
        return {"best_validation_loss": self.state.best} if math.isfinite(self.state.best) else {}

    def after_step(self, step: int, numbers: dict[str, float], *, is_end: bool) -> None:
        """Do what is due after a step."""
        run = self.prepared.config.run
        validate_every = run.validate_every or self.prepared.mixture.batches_per_epoch
        if step % run.log_every == 0 or is_end or step == 1:
            self._write(step, "training", numbers)
        if self.validation and (step % validate_every == 0 or is_end):
            self._validate(step)
        if step % (run.save_every or validate_every) == 0 or is_end:
            self._save(numbers)

    def finish(self, numbers: dict[str, float]) -> None:
        """Save what was not saved, and draw the curves."""
        if self.saved_step != self.learner.step:
            self._save(numbers)
        if self.log is not None:
            self.log.close()
            plots = self.folder.path / "plots"
            plots.mkdir(exist_ok=True)
            plot_curves(read_metrics(self.folder.metrics)).savefig(plots / "curves.png", dpi=110)

    def _validate(self, step: int) -> None:
        average = self.learner.average
        with average.in_place() if average else nullcontext():
            found = self.validation(self.learner.module)
        for source, numbers in found.items():
            self._write(step, "validation", numbers, source=source)
        loss = found[MEAN]["loss"]
        if loss < self.state.best:
            self.state.best = loss
            with _told_when_not_written(self.folder, step):
                self._bundle("best", {f"validation {name}": value for name, value in found[MEAN].items()})

    def _save(self, numbers: dict[str, float]) -> None:
        with _told_when_not_written(self.folder, self.learner.step):
            self._bundle("last", {f"training {name}": value for name, value in numbers.items()})
            self.state.save()
        self.saved_step = self.learner.step

    def _bundle(self, name: str, results: dict[str, float]) -> None:
        save_bundle(
            self.fabric,
            self.learner.module,
            self.prepared.start,
            self.folder.checkpoint(name),
            average=self.learner.average,
            training={**to_plain(self.prepared.config), "step": self.learner.step},
            results={"step": float(self.learner.step), **results},
        )

    def _write(self, step: int, kind: str, values: dict[str, float], **labels: str) -> None:
        if self.log is not None:
            self.log.write(step, kind, values, **labels)


def _learner(prepared: Preparation, fabric: Fabric) -> Learner:
    config, start = prepared.config, prepared.start
    torch.manual_seed(config.run.seed)  # adapters and the layers of auxiliary losses begin at random
    count = prepare_for_training(start.model, config.finetuning)
    fabric.print(str(count))
    objective = Objective(
        start.model,
        _regulariser(prepared),
        config.cotraining.weight if config.cotraining else 0.0,
        _grounding(prepared),
        _pointing(prepared),
    )
    module = fabric.setup_module(objective.train())
    optimizer: Any = fabric.setup_optimizers(build_optimizer(module, config.optimization))
    return Learner(
        fabric,
        module,
        optimizer,
        config=config.optimization,
        model=config.model,
        tokenizer=start.tokenizer,
        augmentation=Augmentation(prepared.data.augmentation, config.run.seed),
        questions=_questions(prepared, fabric),
        seed=config.run.seed,
    )


def _regulariser(prepared: Preparation) -> LanguageRegulariser | None:
    weight, folder = prepared.config.model.loss.language_weight, prepared.config.start.text_encoder
    if weight == 0:
        return None
    if folder is None:
        raise ConfigError(
            f"model.loss.language_weight is {weight:g}; name the folder of a text encoder in start.text_encoder"
        )
    backbone = prepared.start.model.backbone
    return LanguageRegulariser.load(folder, embed_dim=backbone.embed_dim)


def _grounding(prepared: Preparation) -> GroundingLoss | None:
    config, model = prepared.config.grounding, prepared.config.model
    if config is None:
        return None
    points = next(iter(prepared.sources.named_points.values()))
    return GroundingLoss(
        in_size=prepared.start.model.backbone.embed_dim * model.num_lrn_tokens,
        num_cameras=len(model.cameras),
        num_slots=points.num_slots,
        cells=config.cells,
        weight=config.weight,
    )


def _pointing(prepared: Preparation) -> PointingLoss | None:
    config, model = prepared.config.grounding, prepared.config.model
    if config is None or not config.pointing:
        return None
    backbone = prepared.start.model.backbone
    try:
        return PointingLoss(
            backbone,
            in_size=backbone.embed_dim * model.num_lrn_tokens,
            num_cameras=len(model.cameras),
            num_slots=next(iter(prepared.sources.named_points.values())).num_slots,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _questions(prepared: Preparation, fabric: Fabric) -> Questions | None:
    config = prepared.config
    if config.cotraining is None:
        return None
    answerer = Answerer.load(prepared.start.model.backbone, prepared.start.backbone_dir)
    return Questions(
        config.cotraining, answerer, config.model.image, seed=config.run.seed, rank=fabric.global_rank
    )


def _micro_batch_size(prepared: Preparation, fabric: Fabric) -> int:
    size, processes = prepared.config.optimization.batch_size, fabric.world_size
    micro = prepared.config.optimization.micro_batch_size or size // processes
    if micro == 0 or size % (micro * processes):
        raise ConfigError(
            f"optimization.batch_size {size} is not a multiple of {processes} processes with micro batches of "
            f"{micro or 1}; change one of them"
        )
    return micro


def _course(prepared: Preparation, fabric: Fabric) -> Course:
    optimization = prepared.config.optimization
    at_once = _micro_batch_size(prepared, fabric) * fabric.world_size
    return Course(
        num_steps=prepared.num_steps,
        warmup_steps=round(optimization.warmup_epochs * prepared.mixture.batches_per_epoch),
        micro_batches=optimization.batch_size // at_once,
    )


def _batches(prepared: Preparation, fabric: Fabric, course: Course, first_step: int) -> Iterator[WindowBatch]:
    sampler = MixtureSampler(
        prepared.mixture,
        micro_batch=_micro_batch_size(prepared, fabric),
        rank=fabric.global_rank,
        num_ranks=fabric.world_size,
        first_batch=first_step,
        num_batches=course.num_steps,
    )
    workers = prepared.data.workers
    return raise_errors(
        DataLoader(
            ErrorsAsSamples(prepared.training),
            batch_sampler=sampler,
            collate_fn=collate_or_error,
            num_workers=workers,
            pin_memory=fabric.device.type == "cuda",
            prefetch_factor=2 if workers else None,
            multiprocessing_context="forkserver" if workers else None,
        )
    )


@contextmanager
def _told_when_not_written(folder: RunFolder, step: int) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # each writer has its own for a full disk
        raise TrainingError(
            f"{folder.path}: step {step} cannot be saved: {error}. What was saved before is whole; make room and "
            f"go on with --resume --out {folder.path}"
        ) from error


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """Yield a list that fills when the process is asked to end, so that a step is never cut in two."""
    asked: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    kept = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
