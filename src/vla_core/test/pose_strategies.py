# SPDX-License-Identifier: Apache-2.0
"""Random poses for property tests, with rotations near pi among them."""

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla_core.geometry import Pose, angle_rad, distance_m


@st.composite
def rotations(draw: st.DrawFn) -> Rotation:
    axis = np.array(draw(st.tuples(*[st.floats(-1.0, 1.0)] * 3)))
    length = np.linalg.norm(axis)
    axis = axis / length if length > 1e-3 else np.array([0.0, 0.0, 1.0])
    angle = draw(st.floats(-np.pi, np.pi) | st.sampled_from([0.0, np.pi, np.pi - 1e-9, -np.pi + 1e-7, 1e-9]))
    return Rotation.from_rotvec(angle * axis)


@st.composite
def poses(draw: st.DrawFn) -> Pose:
    position_m = draw(st.tuples(*[st.floats(-2.0, 2.0)] * 3))
    return Pose(np.array(position_m), draw(rotations()))


def assert_pose_close(found: Pose, wanted: Pose, atol: float = 1e-6) -> None:
    assert distance_m(found, wanted) < atol, (found, wanted)
    assert angle_rad(found, wanted) < atol, (found, wanted)
