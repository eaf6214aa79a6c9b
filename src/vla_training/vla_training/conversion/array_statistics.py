# SPDX-License-Identifier: Apache-2.0
"""Mean, spread and bounds of arrays that come one by one, and of several such collections together."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vla_core.geometry import FloatArray


class ArrayStatistics:
    """Statistics of equal-sized (D,) arrays (Chan, Golub and LeVeque's update, 1979)."""

    def __init__(self) -> None:
        self._count = 0
        self._mean: FloatArray = np.zeros(0)
        self._squares: FloatArray = np.zeros(0)
        self.low: FloatArray = np.zeros(0)
        self.high: FloatArray = np.zeros(0)

    def add(self, values: FloatArray) -> None:
        """Take one array."""
        self._merge(1, values, np.zeros_like(values), values, values)

    @property
    def mean(self) -> FloatArray:
        """(D,) mean."""
        return self._mean

    @property
    def std(self) -> FloatArray:
        """(D,) standard deviation of all that was taken (not of a sample)."""
        return np.asarray(np.sqrt(self._squares / max(self._count, 1)))

    def to_plain(self) -> dict[str, Any]:
        """Return the statistics as plain data that ``merged`` takes."""
        arrays = {"mean": self._mean, "squares": self._squares, "low": self.low, "high": self.high}
        return {"count": self._count, **{name: array.tolist() for name, array in arrays.items()}}

    @classmethod
    def merged(cls, plain: Iterable[Mapping[str, Any]]) -> "ArrayStatistics":
        """Return the statistics of several collections together."""
        whole = cls()
        for part in plain:
            arrays = (np.array(part[name], dtype=np.float64) for name in ("mean", "squares", "low", "high"))
            whole._merge(int(part["count"]), *arrays)
        return whole

    def _merge(self, count: int, mean: FloatArray, squares: FloatArray, low: FloatArray, high: FloatArray) -> None:
        if not self._count:
            self._count, self._mean, self._squares, self.low, self.high = count, mean, squares, low, high
            return
        total = self._count + count
        apart = mean - self._mean
        self._squares = self._squares + squares + apart**2 * (self._count * count / total)
        self._mean = self._mean + apart * (count / total)
        self._count = total
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
