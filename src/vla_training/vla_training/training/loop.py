# SPDX-License-Identifier: Apache-2.0
"""The steps of a run: read, compute, update, look, save; the same steps wherever the run was interrupted.

A step is one update. Its gradient is that of the mean over the whole batch, however the batch is cut into micro
batches and processes. Everything random in a step depends on the seed and the step's number.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import nn
from tqdm import tqdm

from vla_core.errors import VlaError
from vla_core.model.config import ModelConfig
from vla_core.model.prompt import PromptTokenizer
from vla_training.datasets.augmentation import Augmentation
from vla_training.datasets.batches import WindowBatch, points_in_pictures
from vla_training.training.ema import MovingAverage
from vla_training.training.grounding import is_in_picture
from vla_training.training.model_inputs import model_inputs
from vla_training.training.objective import weight_of
from vla_training.training.optimizer import learning_rate_factor
from vla_training.training.questions import Questions
from vla_training.training.settings import OptimizationConfig


class TrainingError(VlaError):
    """A run cannot go on."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How far a run goes.

    Attributes:
        num_steps: Length of the run.
        warmup_steps: Steps in which the learning rate grows.
        micro_batches: Micro batches of a step in this process.
    """

    num_steps: int
    warmup_steps: int = 0
    micro_batches: int = 1


class Learner:
    """Weights, optimizer and what else a step changes.

    Args:
        fabric: The processes.
        module: The objective, set up by ``fabric``.
        optimizer: Set up by ``fabric``.
        config: How weights change.
        model: Of the model.
        tokenizer: Of the model.
        augmentation: Of training pictures.
        questions: Questions about pictures; ``None`` leaves them out.
        seed: Of everything random.

    Attributes:
        step: Updates until now.
        average: Moving average of the weights, if there is one.
    """

    def __init__(
        self,
        fabric: Fabric,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        config: OptimizationConfig,
        model: ModelConfig,
        tokenizer: PromptTokenizer,
        augmentation: Augmentation | None,
        questions: Questions | None,
        seed: int,
    ) -> None:
        self.fabric, self.module, self.optimizer = fabric, module, optimizer
        self.step = 0
        self.average = MovingAverage(module, config.ema_decay) if config.ema_decay else None
        self._config, self._model, self._tokenizer = config, model, tokenizer
        self._augmentation, self._questions = augmentation, questions
        self._seed = seed

    def update(self, batches: Sequence[WindowBatch], course: Course) -> dict[str, float]:
        """Make one step of the micro batches of this process; return its numbers.

        Raises:
            TrainingError: The loss or the gradient is not finite.
        """
        rate = self._set_learning_rate(course)
        torch.manual_seed(_mixed(self._seed, self.step, self.fabric.global_rank))
        sums: dict[str, float] = {}
        shares = zip(self._policy_shares(batches), self._points_shares(batches), strict=True)
        for place, (batch, (share, points_share)) in enumerate(zip(batches, shares, strict=True)):
            is_last = place == len(batches) - 1
            with self.fabric.no_backward_sync(self.module, enabled=not is_last):  # type: ignore[arg-type]
                parts = self._compute(batch, share, points_share)
                self.fabric.backward(parts["loss"] / len(batches))
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(batches)
        sums = self._mean_over_processes(sums)
        if not math.isfinite(sums["loss"]):
            raise TrainingError(
                f"step {self.step}: the loss is {sums['loss']}. Nothing was updated and the last saved state is "
                "good; try a smaller learning_rate, or precision bfloat16 in the place of float16"
            )
        norm = self._clip_and_step()
        self.step += 1
        if self.average is not None:
            self.average.update()
        return {**sums, "learning_rate": rate, **norm}

    def _compute(self, batch: WindowBatch, share: float, points_share: float) -> dict[str, torch.Tensor]:
        inputs = model_inputs(
            batch,
            self._model,
            self._tokenizer,
            self._augmentation,
            self.fabric.device,
            share=share,
            points_share=points_share,
        )
        questions = self._questions.of_step(self.step, batch) if self._questions else ()
        parts: dict[str, torch.Tensor] = self.module(
            dict(inputs.tensors), inputs.sentences, inputs.has_padding, questions
        )
        return parts

    def _policy_shares(self, batches: Sequence[WindowBatch]) -> list[float]:
        size = self._model.chunk_size
        return self._shares([weight_of(each.is_valid.unfold(1, size, 1), self._model) for each in batches])

    def _points_shares(self, batches: Sequence[WindowBatch]) -> list[float]:
        cameras, spec = self._model.cameras, self._model.image
        points = [points_in_pictures(each, cameras, spec, self._augmentation) for each in batches]
        counts = [float(is_in_picture(each).sum()) for each in points if each is not None]
        return self._shares(counts) if counts else [1.0] * len(batches)

    def _shares(self, weights: Sequence[float]) -> list[float]:
        """Return the factor of each micro batch's mean that makes their mean that of the whole batch."""
        total = torch.tensor(sum(weights), device=self.fabric.device, dtype=torch.float64)
        mean = float(torch.as_tensor(self.fabric.all_reduce(total, reduce_op="sum"))) / (
            len(weights) * self.fabric.world_size
        )
        return [weight / mean if mean > 0 else 1.0 for weight in weights]

    def _mean_over_processes(self, numbers: dict[str, float]) -> dict[str, float]:
        names = sorted(numbers)
        values = torch.tensor([numbers[name] for name in names], dtype=torch.float64, device=self.fabric.device)
        means = torch.as_tensor(self.fabric.all_reduce(values, reduce_op="mean"))
        return dict(zip(names, means.tolist(), strict=True))

    def _set_learning_rate(self, course: Course) -> float:
        factor = learning_rate_factor(
            self.step, num_steps=course.num_steps, warmup_steps=course.warmup_steps, config=self._config
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self._config.learning_rate * factor
        return self._config.learning_rate * factor

    def _clip_and_step(self) -> dict[str, float]:
        norm: dict[str, float] = {}
        if self._config.gradient_clip > 0:
            found = self.fabric.clip_gradients(
                self.module,
                self.optimizer,
                max_norm=self._config.gradient_clip,
                error_if_nonfinite=False,
            )
            norm = {"gradient_norm": float(found)} if found is not None else {}
            if not all(map(math.isfinite, norm.values())) and self._config.precision != "float16":
                raise TrainingError(  # float16 skips such a step by itself
                    f"step {self.step}: the gradient is not finite. Nothing was updated and the last saved state "
                    "is good; try a smaller learning_rate"
                )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm


def steps(
    learner: Learner, batches: Iterator[WindowBatch], course: Course
) -> Iterator[tuple[int, dict[str, float]]]:
    """Make every step that is left; yield the number of updates and the numbers of the step, with its speed."""
    hidden = not learner.fabric.is_global_zero
    with tqdm(total=course.num_steps, initial=learner.step, desc="training", unit="step", disable=hidden) as bar:
        while learner.step < course.num_steps:
            began = time.monotonic()
            step_batches = [next(batches) for _ in range(course.micro_batches)]
            numbers = learner.update(step_batches, course)
            samples = sum(len(batch.instructions) for batch in step_batches) * learner.fabric.world_size
            numbers["samples_per_s"] = samples / (time.monotonic() - began)
            bar.update()
            bar.set_postfix(loss=f"{numbers['loss']:.4g}", refresh=False)
            yield learner.step, numbers


def _mixed(*numbers: int) -> int:
    """Return one seed of several numbers."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1, np.uint64)[0] >> 1)
