# SPDX-License-Identifier: Apache-2.0
"""Can the model learn a few windows by heart? What cannot do that will not learn a dataset either."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import torch
from lightning.fabric import Fabric

from vla_core.config import build
from vla_core.errors import ConfigError
from vla_training.datasets.batches import collate
from vla_training.training.finetuning import prepare_for_training
from vla_training.training.launcher import launch
from vla_training.training.loop import Course, Learner, steps
from vla_training.training.objective import Objective
from vla_training.training.optimizer import build_optimizer
from vla_training.training.preparation import Preparation, prepare
from vla_training.training.settings import OptimizationConfig, RunConfig

MAX_STEPS = 300
LEARNED_BELOW = 0.2  # of the first loss


@dataclass(frozen=True)
class OverfitOutcome:
    """How it went.

    Attributes:
        first_loss: Before the first update.
        last_loss: At the end.
        num_steps: Updates that were made.
        num_windows: Windows that were shown again and again.
    """

    first_loss: float
    last_loss: float
    num_steps: int
    num_windows: int

    @property
    def has_learned(self) -> bool:
        """Whether the loss has become small."""
        return self.last_loss < LEARNED_BELOW * self.first_loss

    @property
    def sentence(self) -> str:
        """The outcome for people."""
        losses = f"{self.first_loss:.4g} -> {self.last_loss:.4g}"
        course = f"{self.num_windows} windows, {self.num_steps} steps: loss {losses}"
        if self.has_learned:
            return f"overfit check passed: {course}"
        return (
            f"overfit check FAILED: {course}; it should fall below {LEARNED_BELOW:.0%} of where it began. Look at "
            "the data (--check-data), then try a larger learning_rate, or train more of the model (finetuning)"
        )


def check_overfit(settings: Mapping[str, Any], where: str, num_windows: int) -> OverfitOutcome:
    """Train on a few windows, without augmentation and warm-up, until they are learned or time is up.

    Args:
        settings: Plain data of a training config.
        where: Name of the config, for errors.
        num_windows: Windows that are shown again and again, at least 1.

    Raises:
        VlaError: A setting, a dataset or the start cannot be used.
    """
    if num_windows < 1:
        raise ConfigError(f"--overfit needs at least one window, found {num_windows}")
    run = replace(build(RunConfig, settings.get("run"), f"{where}: run"), processes=1, strategy="auto")
    optimization = build(OptimizationConfig, settings.get("optimization"), f"{where}: optimization")
    fabric = launch(run, optimization.precision)
    with prepare(settings, where) as prepared:
        config = replace(optimization, warmup_epochs=0.0, schedule="constant", weight_decay=0.0)
        learner = _learner(prepared, fabric, config)
        spread = torch.linspace(0, len(prepared.training.sources[0]) - 1, num_windows).long().unique().tolist()
        batch = collate([prepared.training.sources[0][place] for place in spread])
        first = last = float("nan")
        for step, numbers in steps(learner, cycle([batch]), Course(num_steps=MAX_STEPS)):
            last = numbers["loss"]
            first = last if step == 1 else first
            if last < 0.5 * LEARNED_BELOW * first:
                break
        return OverfitOutcome(first, last, learner.step, len(spread))


def _learner(prepared: Preparation, fabric: Fabric, config: OptimizationConfig) -> Learner:
    torch.manual_seed(prepared.config.run.seed)
    prepare_for_training(prepared.start.model, prepared.config.finetuning)
    module = fabric.setup_module(Objective(prepared.start.model).train())
    optimizer: Any = fabric.setup_optimizers(build_optimizer(module, config))
    return Learner(
        fabric,
        module,
        optimizer,
        config=config,
        model=prepared.config.model,
        tokenizer=prepared.start.tokenizer,
        augmentation=None,
        questions=None,
        seed=prepared.config.run.seed,
    )
