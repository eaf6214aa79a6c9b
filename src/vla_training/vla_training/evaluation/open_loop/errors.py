# SPDX-License-Identifier: Apache-2.0
"""How far predictions lie from what was recorded, summed up so that episodes can be added.

The prediction of tick t for step k of its chunk is compared with the action recorded at tick t + k, where there is
one and the sentence is still that of tick t.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vla_core.actions.action_space import ActionSpace
from vla_core.geometry import FloatArray
from vla_training.evaluation.open_loop.episode import EpisodeOutcome
from vla_training.evaluation.open_loop.targets import offsets, targets_of

AXES = ("x", "y", "z", "roll", "pitch", "yaw")

Chunks = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ErrorSums:
    """Sums over predictions, for each step of the chunk (N).

    Attributes:
        count: (N,) predictions.
        absolute: (N, 6) of absolute differences of normalised actions.
        squared: (N, 6) of their squares.
        offset: (N, 6) of absolute distances between the poses asked for, along the tool's axes: mm, degrees.
        distance: (N, 2) of distances between those poses: mm, degrees.
        gripper: (N, 2, 2) counts [recorded][predicted], 0 closed, 1 open.
    """

    count: FloatArray
    absolute: FloatArray
    squared: FloatArray
    offset: FloatArray
    distance: FloatArray
    gripper: FloatArray

    def __add__(self, other: Self) -> "ErrorSums":
        return ErrorSums(*(getattr(self, own.name) + getattr(other, own.name) for own in fields(self)))

    @property
    def first(self) -> "ErrorSums":
        """Only the first step of each chunk: what is executed at once."""
        return ErrorSums(*(getattr(self, own.name)[:1] for own in fields(self)))

    @property
    def l1(self) -> float:
        """Mean absolute difference of normalised arm actions."""
        return float(self._mean(self.absolute).mean())

    @property
    def mse(self) -> float:
        """Mean squared difference of normalised arm actions."""
        return float(self._mean(self.squared).mean())

    @property
    def l1_per_axis(self) -> FloatArray:
        """(6,) mean absolute difference of normalised actions."""
        return self._mean(self.absolute)

    @property
    def offset_per_axis(self) -> FloatArray:
        """(6,) mean distance along each of the tool's axes: mm, degrees."""
        return self._mean(self.offset)

    @property
    def distance_mm_deg(self) -> FloatArray:
        """(2,) mean distance between the poses asked for: mm, degrees."""
        return self._mean(self.distance)

    @property
    def l1_per_step(self) -> FloatArray:
        """(N,) mean absolute difference of normalised arm actions; NaN where there is none."""
        return self._ratio(self.absolute.mean(axis=1), self.count)

    @property
    def distance_per_step(self) -> FloatArray:
        """(N, 2) mean distance between the poses asked for: mm, degrees."""
        return self._ratio(self.distance, self.count[:, None])

    @property
    def gripper_accuracy(self) -> float:
        """Share of right decisions of the gripper."""
        table = self.gripper.sum(axis=0)
        return float(self._ratio(np.trace(table), table.sum()))

    @property
    def gripper_f1(self) -> float:
        """F1 of the gripper: the mean of that of closing and that of opening, of those that occur."""
        table = self.gripper.sum(axis=0)
        said, done = table.sum(axis=0), table.sum(axis=1)
        scores = [2 * table[k, k] / (said[k] + done[k]) for k in (0, 1) if said[k] + done[k] > 0]
        return float(np.mean(scores)) if scores else float("nan")

    def _mean(self, sums: FloatArray) -> FloatArray:
        return self._ratio(sums.sum(axis=0), self.count.sum())

    @staticmethod
    def _ratio(sums: Any, counts: Any) -> FloatArray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.asarray(sums) / np.asarray(counts), dtype=np.float64)

    def to_plain(self) -> dict[str, Any]:
        """Return the numbers as plain data for JSON."""
        return {
            "l1": self.l1,
            "mse": self.mse,
            "distance_mm": float(self.distance_mm_deg[0]),
            "distance_deg": float(self.distance_mm_deg[1]),
            "l1_per_axis": dict(zip(AXES, self.l1_per_axis.tolist(), strict=True)),
            "mm_deg_per_axis": dict(zip(AXES, self.offset_per_axis.tolist(), strict=True)),
            "l1_per_step": self.l1_per_step.tolist(),
            "mm_deg_per_step": self.distance_per_step.tolist(),
            "gripper_f1": self.gripper_f1,
            "gripper_accuracy": self.gripper_accuracy,
            "predictions": int(self.count.sum()),
        }


def errors_of(outcome: EpisodeOutcome, predicted: Chunks, space: ActionSpace) -> ErrorSums:
    """Return the errors of chunks in an episode.

    Args:
        outcome: The episode.
        predicted: (T, N, 7) the policy's chunks, or those of a baseline.
        space: Meaning of the actions.
    """
    num_steps = predicted.shape[1]
    rows, is_valid = _targets(outcome, num_steps)
    tick, step = np.nonzero(is_valid)
    there = rows[tick, step]
    found, wanted = predicted[tick, step].astype(np.float64), outcome.recorded[there].astype(np.float64)
    poses = outcome.poses[there]
    offset = _offsets(space, poses, found[:, :6], wanted[:, :6])
    difference = np.abs(found[:, :6] - wanted[:, :6])
    distance = np.stack([np.linalg.norm(offset[:, :3], axis=1), np.linalg.norm(offset[:, 3:], axis=1)], axis=1)
    gripper = np.zeros((num_steps, 2, 2))
    np.add.at(gripper, (step, (wanted[:, 6] > 0.5).astype(int), (found[:, 6] > 0.5).astype(int)), 1.0)

    def summed(values: FloatArray) -> FloatArray:
        sums = np.zeros((num_steps, *values.shape[1:]))
        np.add.at(sums, step, values)
        return sums

    return ErrorSums(
        count=summed(np.ones(len(step))),
        absolute=summed(difference),
        squared=summed(difference**2),
        offset=summed(offset),
        distance=summed(distance),
        gripper=gripper,
    )


def total(errors: Iterable[ErrorSums]) -> ErrorSums:
    """Return the sum over episodes, of which there is at least one."""
    return reduce(lambda a, b: a + b, errors)


def _offsets(space: ActionSpace, poses: FloatArray, found: FloatArray, wanted: FloatArray) -> FloatArray:
    """Return (M, 6) absolute distances between the poses that actions ask for, along the tool's axes."""
    if not len(poses):
        return np.zeros((0, 6))
    return np.abs(offsets(targets_of(space, poses, found), targets_of(space, poses, wanted)))


def _targets(outcome: EpisodeOutcome, num_steps: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return (T, N) the tick that each prediction is for, and whether it counts."""
    num_ticks = len(outcome)
    wanted = np.arange(num_ticks)[:, None] + np.arange(num_steps)
    rows = np.minimum(wanted, num_ticks - 1)
    sentences = np.array(outcome.sentences, dtype=object)
    said = np.cumsum(np.append(0, sentences[1:] != sentences[:-1]))
    is_valid = (wanted < num_ticks) & outcome.is_valid[rows] & (said[rows] == said[:, None])
    return rows, is_valid
