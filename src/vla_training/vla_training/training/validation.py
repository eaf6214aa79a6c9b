# SPDX-License-Identifier: Apache-2.0
"""How large the loss is on episodes that the run does not train on, for each source."""

from collections.abc import Iterator, Mapping

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader

from vla_core.model.config import ModelConfig
from vla_core.model.prompt import PromptTokenizer
from vla_training.datasets.batches import WindowBatch, collate
from vla_training.datasets.window_dataset import WindowDataset
from vla_training.training.grounding import is_in_picture
from vla_training.training.model_inputs import model_inputs
from vla_training.training.objective import weight_of

MEAN = "mean"
"""Name of the mean over sources."""
_OF_POINTS = ("grounding", "grounding_hits", "pointing")


class Validation:
    """Evaluates an objective on windows of each source, the same ones each time.

    Args:
        fabric: The processes; they share the work.
        windows: Name of a source to its windows.
        model: Of the model.
        tokenizer: Of the model.
        batch_size: Samples that a process computes at once.
        max_batches: Most batches of each source.
    """

    def __init__(
        self,
        fabric: Fabric,
        windows: Mapping[str, WindowDataset],
        *,
        model: ModelConfig,
        tokenizer: PromptTokenizer,
        batch_size: int,
        max_batches: int,
    ) -> None:
        self._fabric, self._windows = fabric, windows
        self._model, self._tokenizer = model, tokenizer
        self._batch_size, self._max_batches = batch_size, max_batches

    def __bool__(self) -> bool:
        return bool(self._windows)

    @torch.no_grad()
    def __call__(self, module: nn.Module) -> dict[str, dict[str, float]]:
        """Return the numbers of each source, and under ``mean`` the mean of the sources that have them."""
        module.eval()
        found = {name: self._source(module, windows) for name, windows in self._windows.items()}
        module.train()
        names = sorted(set().union(*found.values()))
        values = {name: [numbers[name] for numbers in found.values() if name in numbers] for name in names}
        return {**found, MEAN: {name: sum(each) / len(each) for name, each in values.items()}}

    def _source(self, module: nn.Module, windows: WindowDataset) -> dict[str, float]:
        sums: dict[str, float] = {}
        weights: dict[str, float] = {}
        for batch in self._batches(windows):
            inputs = model_inputs(batch, self._model, self._tokenizer, None, self._fabric.device)
            parts = module(dict(inputs.tensors), inputs.sentences, inputs.has_padding)
            actions = weight_of(inputs.tensors["is_valid"].cpu(), self._model)
            points = float(is_in_picture(inputs.tensors["points"]).sum()) if "points" in inputs.tensors else 0.0
            for name, value in parts.items():
                weight = points if name in _OF_POINTS else actions
                sums[name] = sums.get(name, 0.0) + weight * float(value)
                weights[name] = weights.get(name, 0.0) + weight
        names = sorted(sums)
        values = torch.tensor([[sums[name], weights[name]] for name in names], dtype=torch.float64)
        values = torch.as_tensor(self._fabric.all_reduce(values.to(self._fabric.device), reduce_op="sum")).cpu()
        return {
            name: float(total / weight)
            for name, (total, weight) in zip(names, values, strict=True)
            if weight > 0 or name not in _OF_POINTS  # a source without a point says nothing about points
        }

    def _batches(self, windows: WindowDataset) -> Iterator[WindowBatch]:
        """Return this process's part of windows that are spread evenly over the source."""
        wanted = min(self._max_batches * self._batch_size * self._fabric.world_size, len(windows))
        spread = torch.linspace(0, len(windows) - 1, wanted).round().long().unique().tolist()
        own = spread[self._fabric.global_rank :: self._fabric.world_size] or spread[:1]
        batches = [own[i : i + self._batch_size] for i in range(0, len(own), self._batch_size)]
        yield from DataLoader(windows, batch_sampler=batches, collate_fn=collate)
