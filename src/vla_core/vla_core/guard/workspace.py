# SPDX-License-Identifier: Apache-2.0
"""Where the TCP may be: inside one box and outside others, for points and for whole ways."""

import numpy as np

from vla_core.geometry import FloatArray
from vla_core.robot_spec import LimitsSpec

_EPSILON_M = 1e-9


class Workspace:
    """The workspace box and the keep-out boxes of one robot; all points are in the base frame, metres.

    Args:
        limits: Limits of the robot.
    """

    def __init__(self, limits: LimitsSpec) -> None:
        self._min_m, self._max_m = np.array(limits.workspace_min_m), np.array(limits.workspace_max_m)
        self._keep_out = [(np.array(box.min_m), np.array(box.max_m)) for box in limits.keep_out]

    def outside_m(self, position_m: FloatArray) -> float:
        """Return how far a (3,) point is outside the workspace box; negative inside."""
        return float(np.maximum(self._min_m - position_m, position_m - self._max_m).max())

    def nearest_m(self, position_m: FloatArray, start_m: FloatArray) -> FloatArray:
        """Return the (3,) point near ``position_m`` that a motion from ``start_m`` may have as its goal.

        From outside the box a motion may come back in; it never goes further out.
        """
        low_m, high_m = np.minimum(self._min_m, start_m), np.maximum(self._max_m, start_m)
        nearest_m: FloatArray = np.minimum(np.maximum(position_m, low_m), high_m)
        for box_min_m, box_max_m in self._keep_out:
            if np.all((nearest_m > box_min_m) & (nearest_m < box_max_m)):
                nearest_m = _pushed_out(nearest_m, box_min_m, box_max_m, low_m, high_m)
        return nearest_m

    def allows(self, hull_m: FloatArray) -> bool:
        """Return whether the convex hull of (n, 3) points is allowed; the first is where a motion starts."""
        low_m = np.minimum(self._min_m, hull_m[0]) - _EPSILON_M
        high_m = np.maximum(self._max_m, hull_m[0]) + _EPSILON_M
        if (hull_m < low_m).any() or (hull_m > high_m).any():
            return False
        return all(_passes(hull_m, box_min_m, box_max_m) for box_min_m, box_max_m in self._keep_out)


def _passes(hull_m: FloatArray, box_min_m: FloatArray, box_max_m: FloatArray) -> bool:
    """Return whether one side of the box has the hull beyond it; who starts inside may only come out."""
    start_m = hull_m[0]
    depths_m = np.array([start_m - box_min_m, box_max_m - start_m])
    if (depths_m > _EPSILON_M).all():
        side, axis = np.unravel_index(np.argmin(depths_m), depths_m.shape)
        ways_m = hull_m[:, axis] - start_m[axis]
        return bool((ways_m <= _EPSILON_M).all() if side == 0 else (ways_m >= -_EPSILON_M).all())
    below = (hull_m <= box_min_m + _EPSILON_M).all(axis=0)
    above = (hull_m >= box_max_m - _EPSILON_M).all(axis=0)
    return bool(below.any() or above.any())


def _pushed_out(
    position_m: FloatArray, box_min_m: FloatArray, box_max_m: FloatArray, low_m: FloatArray, high_m: FloatArray
) -> FloatArray:
    """Return the nearest point on a side of the keep-out box that lies inside the workspace."""
    candidates = []
    for axis in range(3):
        for side_m in (box_min_m[axis], box_max_m[axis]):
            if low_m[axis] <= side_m <= high_m[axis]:
                moved_m = position_m.copy()
                moved_m[axis] = side_m
                candidates.append((abs(side_m - position_m[axis]), axis, moved_m))
    return min(candidates, key=lambda candidate: candidate[:2])[2] if candidates else position_m
