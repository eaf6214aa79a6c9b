# SPDX-License-Identifier: Apache-2.0
"""How far a path is from a recorded one, along the path; and how late it is.

An arm follows a little late, and late is not wrong: the lag is found first, then each pose is compared with the
nearest point of the recorded path within two ticks of the same time.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from vla_core.geometry import FloatArray, Pose

TICKS_AROUND = 2.0
_LAGS_S = np.arange(-0.1, 0.4001, 0.005)
_POINTS_PER_TICK = 64
_POSES_AT_ONCE = 256


@dataclass(frozen=True, eq=False, kw_only=True)
class Apart:
    """Distances of M poses from a path.

    Attributes:
        metres: (M,) distances.
        radians: (M,) angles.
    """

    metres: FloatArray
    radians: FloatArray


class RecordedPath:
    """A recorded path: poses at ticks, straight ways between them.

    Args:
        poses: n >= 2 poses at equal spacing.
        period_s: Their spacing, seconds.
        metre_per_rad: Distance that counts as much as one radian where the nearest point is looked for.
    """

    def __init__(self, poses: Pose, period_s: float, metre_per_rad: float) -> None:
        self._period_s, self._metre_per_rad = period_s, metre_per_rad
        self._ticks_s = np.arange(len(poses.position_m)) * period_s
        self._positions_m, self._turns = poses.position_m, Slerp(self._ticks_s, poses.rotation)
        num = (len(self._ticks_s) - 1) * _POINTS_PER_TICK + 1
        self._fine = self._at(np.linspace(0.0, self._ticks_s[-1], num))

    def lag_s(self, times_s: FloatArray, poses: Pose) -> float:
        """Return by how much a path must be moved back in time to fit best at equal times.

        Args:
            times_s: (M,) times of its poses, from the first recorded one on.
            poses: Its M poses.
        """
        costs = []
        for lag_s in _LAGS_S:
            same = self._at(times_s - lag_s)
            apart_m = np.linalg.norm(same.position_m - poses.position_m, axis=-1)
            apart_rad = _angles(same.rotation.as_quat(), poses.rotation.as_quat())
            costs.append(float(np.hypot(apart_m, self._metre_per_rad * apart_rad).mean()))
        return float(_LAGS_S[int(np.argmin(costs))])

    def distances(self, times_s: FloatArray, poses: Pose) -> Apart:
        """Return how far each pose is from the path near its time; arguments as ``lag_s``."""
        fine_m, fine_xyzw = self._fine.position_m, self._fine.rotation.as_quat()
        own_m, own_xyzw = poses.position_m, poses.rotation.as_quat()
        reach = round(TICKS_AROUND * _POINTS_PER_TICK)
        around = np.arange(-reach, reach + 1)
        # Far behind the end the end itself is near.
        centres = np.rint(times_s / self._period_s * _POINTS_PER_TICK).clip(0, len(fine_m) - 1).astype(np.int64)
        metres, radians = np.zeros(len(times_s)), np.zeros(len(times_s))
        for begin in range(0, len(times_s), _POSES_AT_ONCE):
            part = slice(begin, begin + _POSES_AT_ONCE)
            near = np.clip(centres[part, None] + around, 0, len(fine_m) - 1)
            apart_m = np.linalg.norm(fine_m[near] - own_m[part, None], axis=-1)
            apart_rad = _angles(fine_xyzw[near], own_xyzw[part, None])
            best = np.argmin(np.hypot(apart_m, self._metre_per_rad * apart_rad), axis=1)[:, None]
            metres[part] = np.take_along_axis(apart_m, best, axis=1)[:, 0]
            radians[part] = np.take_along_axis(apart_rad, best, axis=1)[:, 0]
        return Apart(metres=metres, radians=radians)

    def _at(self, times_s: FloatArray) -> Pose:
        """Return the poses at times, clipped to the path's own."""
        at_s = np.clip(times_s, 0.0, self._ticks_s[-1])
        columns = [np.interp(at_s, self._ticks_s, column) for column in self._positions_m.T]
        rotation: Rotation = self._turns(at_s)
        return Pose(np.stack(columns, axis=-1), rotation)


def _angles(a_xyzw: FloatArray, b_xyzw: FloatArray) -> FloatArray:
    """Return the angles between quaternions (..., 4), accurate for small ones."""
    aligned = np.where((a_xyzw * b_xyzw).sum(axis=-1, keepdims=True) < 0.0, -b_xyzw, b_xyzw)
    return np.asarray(4.0 * np.arcsin(np.clip(np.linalg.norm(a_xyzw - aligned, axis=-1) / 2.0, 0.0, 1.0)))
