# SPDX-License-Identifier: Apache-2.0
"""Intervals against scipy's, and against what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vla_training.evaluation.statistics import fisher_p, mean_with_interval, newcombe, wilson

counts = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_wilson_is_scipys(count: tuple[int, int]) -> None:
    expected = stats.binomtest(*count).proportion_ci(0.95, method="wilson")
    found = wilson(*count)
    assert found.value == count[0] / count[1]
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_wilson_of_nothing_and_of_nonsense() -> None:
    nothing = wilson(0, 0)
    assert math.isnan(nothing.value)
    assert nothing.as_percent() == "no trials"
    assert nothing.to_plain() == {"value": None, "low": 0.0, "high": 1.0}
    with pytest.raises(ValueError, match="successes must be in"):
        wilson(3, 2)


def test_newcombe_is_the_published_example() -> None:
    # Newcombe 1998, table II, example (a): 56/70 - 48/80, method 10.
    found = newcombe(48, 80, 56, 70)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@given(counts, counts)
def test_newcombe_holds_the_difference_and_turns_with_its_order(a: tuple[int, int], b: tuple[int, int]) -> None:
    there, back = newcombe(*a, *b), newcombe(*b, *a)
    assert there.low <= there.value <= there.high
    assert there.low >= -1.0 - 1e-9
    assert there.high <= 1.0 + 1e-9
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_fisher_tells_chance_from_difference() -> None:
    assert fisher_p(5, 10, 5, 10) == pytest.approx(1.0)
    assert fisher_p(1, 20, 19, 20) < 1e-6


def test_the_interval_of_a_mean_is_that_of_the_central_limit() -> None:
    values = np.random.default_rng(0).integers(0, 6, 1000)
    found = mean_with_interval(values.tolist())
    half = 1.96 * values.std() / math.sqrt(1000)
    assert found.value == values.mean()
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.01)


def test_the_interval_of_a_mean_is_scipys_bootstrap() -> None:
    values = [0, 5, 5, 4, 1, 2, 5, 3, 5, 0, 4, 4]
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=9999, rng=1
    ).confidence_interval
    found = mean_with_interval([float(value) for value in values])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.1)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=50))
def test_the_interval_of_a_mean_does_not_depend_on_the_order(values: list[int]) -> None:
    shuffled = sorted(values)
    assert mean_with_interval(values) == mean_with_interval(shuffled)
    found = mean_with_interval(values)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


def test_the_mean_of_nothing_is_no_number() -> None:
    assert math.isnan(mean_with_interval([]).value)
