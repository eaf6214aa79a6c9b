# SPDX-License-Identifier: Apache-2.0
"""Scalar transforms of the six arm dimensions of an action, each beside its inverse.

``normalize`` maps [low, high] to [-1, 1] and clips; ``unnormalize`` is its inverse on that range. ``standardize``
subtracts a mean and divides by a spread. ``compand`` stretches small values (mu-law). RoboVLMs:
``normalize_action``, ``regularize_action``, ``mu_law_companding`` and their inverses in
``robovlms/data/data_utils.py``.

The gripper is never changed here: the original un-normalises it too and then repairs the damage, with the same
result for ranges above 0.5. Its other two transforms keep the last *row* of an episode as it is where the last
column was meant; that row is dropped before training, so nothing depends on it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vla_core.geometry import FloatArray

ARM_DIM = 6
_STD_OFFSET = 1e-6  # RoboVLMs adds it to each spread


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


@dataclass(frozen=True, kw_only=True)
class StandardizationSpec:
    """Mean and spread of each arm dimension, of actions that are already normalised (RoboVLMs: regular_action).

    Attributes:
        mean: Value that becomes 0, one per arm dimension.
        std: Distance from it that becomes 1, one per arm dimension.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for key in ("mean", "std"):
            if len(getattr(self, key)) != ARM_DIM:
                raise ValueError(f"{key} needs {ARM_DIM} values (dx dy dz droll dpitch dyaw)")
        if min(self.std) < 0:
            raise ValueError(f"std must not be below 0, found {list(self.std)}")


def normalize(arm: ArrayLike, spec: NormalizationSpec) -> FloatArray:
    """Return (..., 6) arm actions mapped from [low, high] to [-1, 1]; values outside are clipped."""
    low, high = np.asarray(spec.low), np.asarray(spec.high)
    clipped = np.clip(np.asarray(arm, dtype=np.float64), low, high)
    return np.asarray(2.0 * (clipped - low) / (high - low) - 1.0)


def unnormalize(arm: ArrayLike, spec: NormalizationSpec) -> FloatArray:
    """Return (..., 6) arm actions mapped from [-1, 1] back to [low, high]; not clipped."""
    low, high = np.asarray(spec.low), np.asarray(spec.high)
    return np.asarray(0.5 * (np.asarray(arm, dtype=np.float64) + 1.0) * (high - low) + low)


def standardize(arm: ArrayLike, spec: StandardizationSpec) -> FloatArray:
    """Return (..., 6) arm actions with ``mean`` at 0 and ``std`` as unit."""
    mean, std = np.asarray(spec.mean), np.asarray(spec.std)
    return np.asarray((np.asarray(arm, dtype=np.float64) - mean) / (std + _STD_OFFSET))


def unstandardize(arm: ArrayLike, spec: StandardizationSpec) -> FloatArray:
    """Return (..., 6) arm actions that ``standardize`` was given."""
    mean, std = np.asarray(spec.mean), np.asarray(spec.std)
    return np.asarray(np.asarray(arm, dtype=np.float64) * (std + _STD_OFFSET) + mean)


def compand(arm: ArrayLike, mu: float) -> FloatArray:
    """Return (..., 6) arm actions on a logarithmic scale of both signs, which keeps -1, 0 and 1 (mu-law)."""
    values = np.asarray(arm, dtype=np.float64)
    return np.asarray(np.sign(values) * np.log1p(mu * np.abs(values)) / np.log1p(mu))


def expand(arm: ArrayLike, mu: float) -> FloatArray:
    """Return (..., 6) arm actions that ``compand`` was given."""
    values = np.asarray(arm, dtype=np.float64)
    return np.asarray(np.sign(values) * np.expm1(np.abs(values) * np.log1p(mu)) / mu)
