# SPDX-License-Identifier: Apache-2.0
"""Where the TCP may be: inside one box and outside others, for points and for whole ways."""

import numpy as np

from vla_core.geometry import FloatArray
from vla_core.robot_spec import LimitsSpec

_EPSILON_M = 1e-9
# Keep-out boxes that touch leave no gap between them for a point without size.
_SKIN_M = 1e-4
_Box = tuple[FloatArray, FloatArray]


class Workspace:
    """The workspace box and the keep-out boxes of one robot; all points are in the base frame, metres.

    Args:
        limits: Limits of the robot.
    """

    def __init__(self, limits: LimitsSpec) -> None:
        self._min_m, self._max_m = np.array(limits.workspace_min_m), np.array(limits.workspace_max_m)
        self._keep_out: list[_Box] = [
            (np.array(box.min_m) - _SKIN_M, np.array(box.max_m) + _SKIN_M) for box in limits.keep_out
        ]

    def outside_m(self, position_m: FloatArray) -> float:
        """Return how far a (3,) point is outside the workspace box; negative inside."""
        return float(np.maximum(self._min_m - position_m, position_m - self._max_m).max())

    def nearest_m(self, position_m: FloatArray, start_m: FloatArray) -> FloatArray:
        """Return the (3,) point near ``position_m`` that a motion from ``start_m`` may have as its goal.

        From outside the box a motion may come back in; it never goes further out.
        """
        low_m, high_m = np.minimum(self._min_m, start_m), np.maximum(self._max_m, start_m)
        nearest_m: FloatArray = np.minimum(np.maximum(position_m, low_m), high_m)
        if any(_holds(box, nearest_m) for box in self._keep_out):
            ways_out = _ways_out(nearest_m, self._keep_out, low_m, high_m)
            if ways_out:
                _, axis, side_m = min(ways_out)
                nearest_m[axis] = side_m
        return nearest_m

    def allows(self, hull_m: FloatArray) -> bool:
        """Return whether the convex hull of (n, 3) points is allowed; the first is where a motion starts."""
        start_m = hull_m[0]
        low_m, high_m = np.minimum(self._min_m, start_m), np.maximum(self._max_m, start_m)
        if (hull_m < low_m - _EPSILON_M).any() or (hull_m > high_m + _EPSILON_M).any():
            return False
        around = [box for box in self._keep_out if _holds(box, start_m)]
        others = [box for box in self._keep_out if not _holds(box, start_m)]
        if not all(_is_beside(box, hull_m) for box in others):
            return False
        return not around or self._leads_out(hull_m, around, others)

    def _leads_out(self, hull_m: FloatArray, around: list[_Box], others: list[_Box]) -> bool:
        """Return whether a motion that starts inside boxes never goes back on the shortest free way out."""
        start_m, ways_out = hull_m[0], []
        for way_m, axis, side_m in _ways_out(start_m, around, self._min_m, self._max_m):
            way = np.array([start_m, start_m])
            way[1, axis] = side_m
            if all(_is_beside(box, way) for box in others):
                ways_out.append((way_m, axis, side_m))
        if not ways_out:
            return False
        _, axis, side_m = min(ways_out)
        return bool((np.sign(side_m - start_m[axis]) * (hull_m[:, axis] - start_m[axis]) >= -_EPSILON_M).all())


def _holds(box: _Box, position_m: FloatArray) -> bool:
    return bool(((position_m > box[0] + _EPSILON_M) & (position_m < box[1] - _EPSILON_M)).all())


def _is_beside(box: _Box, hull_m: FloatArray) -> bool:
    """Return whether one side of the box has the hull beyond it."""
    below = (hull_m <= box[0] + _EPSILON_M).all(axis=0)
    above = (hull_m >= box[1] - _EPSILON_M).all(axis=0)
    return bool(below.any() or above.any())


def _ways_out(
    position_m: FloatArray, boxes: list[_Box], low_m: FloatArray, high_m: FloatArray
) -> list[tuple[float, int, float]]:
    """Return length, axis and end of each straight way out of all boxes that ends between two corners."""
    found = []
    for axis in range(3):
        for side in (0, 1):
            end_m = position_m.copy()
            while around := [box for box in boxes if _holds(box, end_m)]:
                end_m[axis] = around[0][side][axis]
            if low_m[axis] <= end_m[axis] <= high_m[axis]:
                found.append((abs(float(end_m[axis] - position_m[axis])), axis, float(end_m[axis])))
    return found
