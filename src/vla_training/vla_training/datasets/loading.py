# SPDX-License-Identifier: Apache-2.0
"""Samples from worker processes, in which what is wrong with a dataset travels as its sentence.

An exception that leaves a worker comes back as the text of a traceback; an error that is handed over as a sample
keeps its sentence.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch.utils.data import Dataset

from vla_training.datasets.batches import WindowBatch, collate
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.window_dataset import WindowSample


class ErrorsAsSamples(Dataset[WindowSample | DatasetError]):
    """A dataset that hands over what is wrong with it instead of raising it.

    Args:
        dataset: The dataset.
    """

    def __init__(self, dataset: Dataset[WindowSample]) -> None:
        self._dataset = dataset

    def __getitem__(self, key: Any) -> WindowSample | DatasetError:
        """Return a sample, or why there is none."""
        try:
            return self._dataset[key]
        except DatasetError as error:
            return error


def collate_or_error(samples: Sequence[WindowSample | DatasetError]) -> WindowBatch | DatasetError:
    """Return samples side by side, or the first error among them."""
    whole = [sample for sample in samples if isinstance(sample, WindowSample)]
    errors = [sample for sample in samples if isinstance(sample, DatasetError)]
    return errors[0] if errors else collate(whole)


def raise_errors(batches: Iterable[WindowBatch | DatasetError]) -> Iterator[WindowBatch]:
    """Yield batches.

    Raises:
        DatasetError: One comes in the place of a batch.
    """
    for batch in batches:
        if isinstance(batch, DatasetError):
            raise batch
        yield batch
