# SPDX-License-Identifier: Apache-2.0
"""Commands as somebody outside would measure them: differences of what was sent."""

import numpy as np
from scipy.spatial.transform import Rotation

from vla_core.geometry import FloatArray, Pose
from vla_core.robot_spec import LimitsSpec

ROUNDING = 1e-6
# Rotations do not commute: differences of rotation vectors are off by the product of turn and its change.
ROTATION_ROUNDING = 0.01


class MotionRecord:
    """Poses commanded at times, and the largest differences between them."""

    def __init__(self, pose: Pose) -> None:
        self.poses, self.times_s = [pose], [0.0]

    def add(self, pose: Pose, dt_s: float) -> None:
        self.poses.append(pose)
        self.times_s.append(self.times_s[-1] + dt_s)

    def assert_within(self, limits: LimitsSpec) -> None:
        """Check speed, acceleration, jerk and workspace of the whole record."""
        way_m = np.array([pose.position_m for pose in self.poses])
        assert np.isfinite(way_m).all()
        assert (way_m >= np.array(limits.workspace_min_m) - ROUNDING).all()
        assert (way_m <= np.array(limits.workspace_max_m) + ROUNDING).all()
        rotations = Rotation.concatenate([pose.rotation for pose in self.poses])
        turns_rad = (rotations[1:] * rotations[:-1].inv()).as_rotvec()
        self._assert_smooth(np.diff(way_m, axis=0), limits, "m", ROUNDING)
        self._assert_smooth(turns_rad, limits, "rad", ROTATION_ROUNDING)

    def _assert_smooth(self, ways: FloatArray, limits: LimitsSpec, unit: str, rounding: float) -> None:
        dts_s = np.diff(self.times_s)
        rates, middles_s = ways / dts_s[:, None], np.array(self.times_s[:-1]) + dts_s / 2.0
        for order, name in enumerate(("speed", "acceleration", "jerk"), start=1):
            limit = getattr(limits, f"max_{name}_{unit}_s{order if order > 1 else ''}")
            largest = float(np.linalg.norm(rates, axis=1).max(initial=0.0))
            assert largest <= limit * (1.0 + rounding) + 1e-9, f"{name}: {largest:g} {unit}, limit {limit:g}"
            spans_s = np.diff(middles_s)
            if len(spans_s) == 0 or not np.allclose(dts_s, dts_s[0]):
                return  # divided differences of uneven times are no derivatives of higher order
            rates, middles_s = np.diff(rates, axis=0) / spans_s[:, None], middles_s[:-1] + spans_s / 2.0
