# SPDX-License-Identifier: Apache-2.0
"""Weighted mixtures of sources, in an order that depends on the seed alone.

A run is a row of samples numbered from 0, cut into batches. Each epoch takes of every source its share, goes
through the source's windows without repeating one before all were seen, and shuffles what it took. Any batch is
found without those before it, so a run that was killed goes on with exactly the samples that are next, on any
number of processes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from vla_training.datasets.window_dataset import WindowDataset, WindowSample

SampleKey = tuple[int, int, int]
"""Source, window, number of the sample in the run."""


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Shares of sources.

    Attributes:
        sizes: Windows of each source.
        weights: Share of each source in an epoch, of any scale.
        batch_size: Samples of a batch, all processes together.
        seed: Of the order.
    """

    sizes: tuple[int, ...]
    weights: tuple[float, ...]
    batch_size: int
    seed: int

    @property
    def epoch_size(self) -> int:
        """Samples of an epoch, whole batches: as many as it takes to see the source that is wanted most once."""
        shares = np.array(self.weights) / sum(self.weights)
        wanted = min(size / share for size, share in zip(self.sizes, shares, strict=True) if share > 0)
        return int(max(round(wanted) // self.batch_size, 1) * self.batch_size)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.epoch_size // self.batch_size

    @property
    def counts(self) -> tuple[int, ...]:
        """Samples of each source in an epoch (largest remainders are rounded up)."""
        shares = np.array(self.weights) / sum(self.weights) * self.epoch_size
        counts = np.floor(shares).astype(int)
        for source in np.argsort(counts - shares, kind="stable")[: self.epoch_size - counts.sum()]:
            counts[source] += 1
        return tuple(int(count) for count in counts)

    def epoch(self, number: int) -> NDArray[np.int64]:
        """Return the samples of an epoch in their order, (epoch_size, 2): source and window."""
        taken = [self._take(source, number * count, count) for source, count in enumerate(self.counts)]
        samples = np.concatenate(taken)
        return np.asarray(samples[np.random.default_rng([self.seed, 1, number]).permutation(len(samples))])

    def _take(self, source: int, first: int, count: int) -> NDArray[np.int64]:
        """Return the windows ``first`` to ``first + count`` of an endless row of shuffled passes over a source."""
        size = self.sizes[source]
        passes = range(first // size, (first + count - 1) // size + 1) if count else range(0)
        windows = [np.random.default_rng([self.seed, 0, source, number]).permutation(size) for number in passes]
        row = np.concatenate(windows)[first - passes.start * size :][:count] if windows else np.zeros(0, np.int64)
        return np.stack([np.full(len(row), source), row], axis=1).astype(np.int64)


class MixtureSampler(Sampler[list[SampleKey]]):
    """Batches of one process from a place in the run on, to the end of the run.

    Args:
        mixture: Shares and order.
        micro_batch: Samples that one process takes at once; ``batch_size`` is that, times the processes, times the
            batches that are accumulated.
        rank: Which process this is.
        num_ranks: How many there are.
        first_batch: Batch of the run to begin with.
        num_batches: Batches of the whole run.
    """

    def __init__(
        self, mixture: Mixture, *, micro_batch: int, rank: int, num_ranks: int, first_batch: int, num_batches: int
    ) -> None:
        self._mixture = mixture
        self._micro_batch = micro_batch
        self._rank, self._num_ranks = rank, num_ranks
        self._first, self._last = first_batch, num_batches

    def __len__(self) -> int:
        per_batch = self._mixture.batch_size // (self._micro_batch * self._num_ranks)
        return max(self._last - self._first, 0) * per_batch

    def __iter__(self) -> Iterator[list[SampleKey]]:
        size, per_epoch = self._mixture.batch_size, self._mixture.batches_per_epoch
        samples = np.zeros((0, 2), dtype=np.int64)
        for batch in range(self._first, self._last):
            epoch, place = divmod(batch, per_epoch)
            if place == 0 or batch == self._first:
                samples = self._mixture.epoch(epoch)
            own = range(place * size + self._rank, (place + 1) * size, self._num_ranks)
            keys = [(int(samples[i, 0]), int(samples[i, 1]), epoch * self._mixture.epoch_size + i) for i in own]
            for begin in range(0, len(keys), self._micro_batch):
                yield keys[begin : begin + self._micro_batch]


class MixtureDataset(Dataset[WindowSample]):
    """Several sources behind one key.

    Args:
        sources: The sources, in the order of the mixture.
    """

    def __init__(self, sources: Sequence[WindowDataset]) -> None:
        self.sources = tuple(sources)

    def __getitem__(self, key: SampleKey) -> WindowSample:
        """Return a sample."""
        source, window, number = key
        return self.sources[source][window, number]
