# SPDX-License-Identifier: Apache-2.0
"""The order of a run's samples: shares are kept, nothing is repeated early, and any place of the run is found."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_training.datasets.mixture import Mixture, MixtureSampler


def rows(sampler: MixtureSampler) -> list[list[tuple[int, int, int]]]:
    return list(sampler)


mixtures = st.builds(
    lambda sizes, weights, batch, seed: Mixture(
        sizes=tuple(sizes), weights=tuple(weights[: len(sizes)]), batch_size=batch, seed=seed
    ),
    st.lists(st.integers(3, 40), min_size=1, max_size=3),
    st.lists(st.floats(0.1, 5.0), min_size=3, max_size=3),
    st.sampled_from([2, 4, 6]),
    st.integers(0, 5),
)


@given(mixtures)
@settings(max_examples=60, deadline=None)
def test_an_epoch_takes_of_each_source_its_share_without_repeating_early(mixture: Mixture) -> None:
    shares = np.array(mixture.weights) / sum(mixture.weights)
    seen: list[list[int]] = [[] for _ in mixture.sizes]
    for epoch in range(3):
        samples = mixture.epoch(epoch)
        assert len(samples) == mixture.epoch_size
        for source in range(len(mixture.sizes)):
            windows = samples[samples[:, 0] == source, 1].tolist()
            assert abs(len(windows) - shares[source] * mixture.epoch_size) <= 1
            seen[source] += windows
    for source, size in enumerate(mixture.sizes):
        counts = np.bincount(seen[source], minlength=size) if seen[source] else np.zeros(size)
        assert counts.max() - counts.min() <= 2  # passes overlap epochs: at most the pass begun and the one ended


@given(mixtures, st.integers(0, 7), st.sampled_from([1, 2]))
@settings(max_examples=60, deadline=None)
def test_a_run_that_goes_on_sees_exactly_what_is_next(mixture: Mixture, first: int, ranks: int) -> None:
    def batches(first_batch: int, rank: int) -> list[list[tuple[int, int, int]]]:
        return rows(
            MixtureSampler(
                mixture, micro_batch=1, rank=rank, num_ranks=ranks, first_batch=first_batch, num_batches=8
            )
        )

    per_batch = mixture.batch_size // ranks
    for rank in range(ranks):
        assert batches(first, rank) == batches(0, rank)[first * per_batch :]
    together = sorted(key for rank in range(ranks) for batch in batches(0, rank) for key in batch)
    alone = sorted(
        key
        for batch in rows(
            MixtureSampler(mixture, micro_batch=2, rank=0, num_ranks=1, first_batch=0, num_batches=8)
        )
        for key in batch
    )
    assert together == alone
    assert len({key[2] for key in alone}) == len(alone)
