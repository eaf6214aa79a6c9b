# SPDX-License-Identifier: Apache-2.0
"""LeRobot's statistics: bounds, mean, spread, count and five quantiles of each feature.

Those of numbers are exact. Those of pictures are per colour over all pixels, in [0, 1]; of several episodes
together their quantiles are means weighted by frames, as LeRobot's own are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_LEVELS = np.arange(256) / 255.0

Statistics = dict[str, Any]


class PictureStatistics:
    """How often each grey level came, per colour."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), dtype=np.int64)
        self._num_pictures = 0

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Take a (H, W, 3) picture."""
        for colour in range(3):
            self._counts[colour] += np.bincount(picture[..., colour].ravel(), minlength=256)
        self._num_pictures += 1

    def to_plain(self) -> Statistics:
        """Return the statistics as plain data of shape (3, 1, 1)."""
        shares = self._counts / self._counts.sum(axis=1, keepdims=True)
        mean = shares @ _LEVELS
        seen = shares > 0
        values = {
            "min": _LEVELS[seen.argmax(axis=1)],
            "max": _LEVELS[255 - seen[:, ::-1].argmax(axis=1)],
            "mean": mean,
            "std": np.sqrt(np.maximum(shares @ _LEVELS**2 - mean**2, 0.0)),
        }
        cumulated = np.cumsum(shares, axis=1)
        values |= {name: _LEVELS[(cumulated >= q - 1e-12).argmax(axis=1)] for name, q in QUANTILES.items()}
        plain: Statistics = {name: value.reshape(3, 1, 1).tolist() for name, value in values.items()}
        return plain | {"count": [self._num_pictures]}


def statistics_of_numbers(values: NDArray[Any]) -> Statistics:
    """Return the statistics of (n, D) numbers, or of (n,) as D = 1."""
    exact = values.reshape(len(values), -1)
    wide = exact.astype(np.float64)
    quantiles = np.quantile(wide, list(QUANTILES.values()), axis=0)
    return {
        "min": exact.min(axis=0).tolist(),
        "max": exact.max(axis=0).tolist(),
        "mean": wide.mean(axis=0).tolist(),
        "std": wide.std(axis=0).tolist(),
        "count": [len(values)],
        **{name: row.tolist() for name, row in zip(QUANTILES, quantiles, strict=True)},
    }


def merged_statistics(parts: Sequence[Mapping[str, Any]]) -> Statistics:
    """Return the statistics of several episodes together (Chan, Golub and LeVeque, 1979, for mean and spread)."""
    weights = np.array([part["count"][0] for part in parts], dtype=np.float64)
    shares = weights / weights.sum()

    def each(name: str) -> NDArray[Any]:
        return np.array([part[name] for part in parts], dtype=np.float64)

    def mean_of(values: NDArray[Any]) -> NDArray[Any]:
        return np.tensordot(shares, values, axes=1)

    mean = mean_of(each("mean"))
    merged = {
        "min": each("min").min(axis=0),
        "max": each("max").max(axis=0),
        "mean": mean,
        "std": np.sqrt(mean_of(each("std") ** 2 + (each("mean") - mean) ** 2)),
        **{name: mean_of(each(name)) for name in QUANTILES},
    }
    plain: Statistics = {name: value.tolist() for name, value in merged.items()}
    return plain | {"count": [int(weights.sum())]}
