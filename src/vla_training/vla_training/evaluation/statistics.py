# SPDX-License-Identifier: Apache-2.0
"""How sure a number is that was counted in few trials: intervals for shares, means and differences.

Every evaluation states its numbers through this file. Intervals are two-sided at 95 % unless said otherwise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

CONFIDENCE = 0.95
_RESAMPLES = 10_000


@dataclass(frozen=True)
class Estimate:
    """A number and the interval that it is likely to lie in.

    Attributes:
        value: The number; NaN where nothing was counted.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def to_plain(self) -> dict[str, float | None]:
        """Return plain data for JSON; ``null`` where there is no number."""
        plain = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if math.isnan(number) else number for name, number in plain.items()}

    def as_percent(self) -> str:
        """Return it as a share in words: ``85.0 % (70.9 to 92.9)``."""
        if math.isnan(self.value):
            return "no trials"
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"

    def as_number(self) -> str:
        """Return it as a number in words: ``3.21 (3.05 to 3.37)``."""
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Estimate:
    """Return a share with its score interval.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), without
    continuity correction. It holds its level down to a handful of trials and never leaves [0, 1].

    Args:
        successes: How many of the trials.
        trials: How many in all; 0 gives NaN in [0, 1].
        confidence: Level of the interval.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must be in [0, {trials}], found {successes}")
    if trials == 0:
        return Estimate(math.nan, 0.0, 1.0)
    z = float(stats.norm.ppf(0.5 + confidence / 2.0))
    share = successes / trials
    centre = (share + z * z / (2.0 * trials)) / (1.0 + z * z / trials)
    spread = share * (1.0 - share) / trials + z * z / (4.0 * trials * trials)
    half = z * math.sqrt(spread) / (1.0 + z * z / trials)
    # At both ends the formula is exact and its rounding is not.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return Estimate(share, low, high)


def newcombe(successes_a: int, trials_a: int, successes_b: int, trials_b: int) -> Estimate:
    """Return the difference of two independent shares, b minus a, with its hybrid score interval at 95 %.

    R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17 (1998), method 10: the Wilson intervals of both shares, joined.
    """
    if trials_a == 0 or trials_b == 0:
        return Estimate(math.nan, -1.0, 1.0)
    a, b = wilson(successes_a, trials_a), wilson(successes_b, trials_b)
    difference = b.value - a.value
    low = difference - math.hypot(b.value - b.low, a.high - a.value)
    high = difference + math.hypot(b.high - b.value, a.value - a.low)
    return Estimate(difference, low, high)


def fisher_p(successes_a: int, trials_a: int, successes_b: int, trials_b: int) -> float:
    """Return the two-sided p-value of Fisher's exact test: how likely so unequal a result is by chance alone."""
    table = [[successes_a, trials_a - successes_a], [successes_b, trials_b - successes_b]]
    return float(stats.fisher_exact(table).pvalue)


def mean_with_interval(values: Sequence[float], seed: int = 0) -> Estimate:
    """Return a mean with its percentile-bootstrap interval at 95 %.

    B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979), with 10 000
    resamples drawn from ``seed``: the same values in the same order give the same interval. Values that are all
    alike give an interval without width.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0:
        return Estimate(math.nan, math.nan, math.nan)
    # Equal values are drawn together, so that a thousand of them cost no more than six.
    levels, counts = np.unique(sample, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(sample.size, counts / sample.size, size=_RESAMPLES)
    low, high = percentiles(drawn @ levels / sample.size, (2.5, 97.5))
    return Estimate(float(sample.mean()), low, high)


def percentiles(values: ArrayLike, percents: Sequence[float]) -> list[float]:
    """Return percentiles of values; NaN for none."""
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return [math.nan] * len(percents)
    return [float(value) for value in np.percentile(array, percents)]
