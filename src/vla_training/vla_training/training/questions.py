# SPDX-License-Identifier: Apache-2.0
"""Which questions about pictures a step asks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vla_core.images import ImageSpec
from vla_core.model.answer import Answerer
from vla_training.datasets.batches import WindowBatch
from vla_training.training.cotraining import Example, question_inputs, read_examples
from vla_training.training.settings import CotrainingConfig


class Questions:
    """Draws questions; what a step asks depends on the seed, the step and the process alone.

    Args:
        config: The section ``cotraining``.
        answerer: The backbone and its tokenizer.
        image: Size and normalisation of pictures.
        seed: Of the order.
        rank: Which process this is.
    """

    def __init__(
        self, config: CotrainingConfig, answerer: Answerer, image: ImageSpec, *, seed: int, rank: int
    ) -> None:
        self._config, self._answerer, self._image = config, answerer, image
        self._seed, self._rank = seed, rank
        self._examples: Sequence[Example] = read_examples(config.examples) if config.examples else ()

    def of_step(self, step: int, batch: WindowBatch) -> list[dict[str, Any]]:
        """Return the questions of a step, as arguments of the transformers model with ``labels``.

        Args:
            step: Number of the step.
            batch: Demonstrations of the step, whose pictures are asked about where no examples are given.
        """
        random = np.random.default_rng([self._seed, 2, step, self._rank])
        count = self._config.examples_per_step
        if self._examples:
            drawn = [self._examples[i] for i in random.integers(len(self._examples), size=count)]
            return [self._inputs(example.picture(), example.question, example.answer) for example in drawn]
        rows = random.integers(len(batch.instructions), size=count)
        return [
            self._inputs(_first_picture(batch, int(row)), self._config.question, batch.instructions[row])
            for row in rows
        ]

    def _inputs(self, picture: Any, question: str, answer: str) -> dict[str, Any]:
        return question_inputs(self._answerer, self._image, picture, question, answer)


def _first_picture(batch: WindowBatch, row: int) -> Any:
    """Return the picture of the first camera at the first tick of a sample."""
    for group in next(iter(batch.pictures.values())):
        places = (group.rows == row).nonzero()
        if len(places):
            return group.pixels[int(places[0]), 0].permute(1, 2, 0).numpy()
    raise AssertionError(f"sample {row} has no picture")
