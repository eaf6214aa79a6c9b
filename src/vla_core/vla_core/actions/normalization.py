# SPDX-License-Identifier: Apache-2.0
"""Normalisation of the six arm dimensions of an action.

``normalize`` maps [low, high] to [-1, 1] and clips; ``unnormalize`` is its inverse on that range. RoboVLMs:
``normalize_action`` and ``unnoramalize_action`` in ``robovlms/data/data_utils.py``.

The gripper is never normalised here: the original un-normalises it too and then repairs the damage, with the same
result for ranges above 0.5.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vla_core.geometry import FloatArray

ARM_DIM = 6


@dataclass(frozen=True, kw_only=True)
class NormalizationSpec:
    """Range of each arm dimension, in units of the action scale.

    Attributes:
        low: Value that becomes -1, one per arm dimension.
        high: Value that becomes +1, one per arm dimension.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        for key in ("low", "high"):
            if len(getattr(self, key)) != ARM_DIM:
                raise ValueError(f"{key} needs {ARM_DIM} values (dx dy dz droll dpitch dyaw)")
        for i, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if not low < high:
                raise ValueError(f"low[{i}] {low:g} is not below high[{i}] {high:g}")

    @classmethod
    def symmetric(cls, bound: float) -> "NormalizationSpec":
        """Return the same range [-bound, bound] for each dimension (RoboVLMs: 0.65)."""
        return cls(low=(-bound,) * ARM_DIM, high=(bound,) * ARM_DIM)

    @classmethod
    def from_percentiles(cls, actions: ArrayLike, lower: float = 1.0, upper: float = 99.0) -> "NormalizationSpec":
        """Return the range between two percentiles of each dimension of (T, >=6) actions.

        Raises:
            ValueError: A dimension does not vary, or fewer than six columns are given.
        """
        arm = np.asarray(actions, dtype=np.float64)[:, :ARM_DIM]
        low, high = np.percentile(arm, [lower, upper], axis=0)
        return cls(low=tuple(low.tolist()), high=tuple(high.tolist()))


def normalize(arm: ArrayLike, spec: NormalizationSpec) -> FloatArray:
    """Return (..., 6) arm actions mapped from [low, high] to [-1, 1]; values outside are clipped."""
    low, high = np.asarray(spec.low), np.asarray(spec.high)
    clipped = np.clip(np.asarray(arm, dtype=np.float64), low, high)
    return np.asarray(2.0 * (clipped - low) / (high - low) - 1.0)


def unnormalize(arm: ArrayLike, spec: NormalizationSpec) -> FloatArray:
    """Return (..., 6) arm actions mapped from [-1, 1] back to [low, high]; not clipped."""
    low, high = np.asarray(spec.low), np.asarray(spec.high)
    return np.asarray(0.5 * (np.asarray(arm, dtype=np.float64) + 1.0) * (high - low) + low)
