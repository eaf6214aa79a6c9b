# SPDX-License-Identifier: Apache-2.0
"""The pinhole camera: intrinsics from the field of view, projection, and the optical frame."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from vla_core.geometry import FloatArray, Pose, compose, invert

# MuJoCo's camera looks along -z with y up; an optical frame looks along z with y down.
_OPTICAL_IN_MUJOCO = Pose(np.zeros(3), Rotation.from_euler("x", math.pi))


@dataclass(frozen=True)
class PinholeCamera:
    """An ideal camera without distortion.

    Attributes:
        width_px: Width of the picture.
        height_px: Height of the picture.
        focal_px: Focal length, the same along both axes.
    """

    width_px: int
    height_px: int
    focal_px: float

    @classmethod
    def from_field_of_view(cls, width_px: int, height_px: int, vertical_deg: float) -> "PinholeCamera":
        """Return the camera with a vertical field of view, as MuJoCo and OpenGL define it."""
        return cls(width_px, height_px, 0.5 * height_px / math.tan(math.radians(vertical_deg) / 2.0))

    @property
    def matrix(self) -> FloatArray:
        """(3, 3) intrinsic matrix; pixel centres are at whole numbers, as OpenCV and ROS have it."""
        centre_x, centre_y = (self.width_px - 1) / 2.0, (self.height_px - 1) / 2.0
        return np.array([[self.focal_px, 0.0, centre_x], [0.0, self.focal_px, centre_y], [0.0, 0.0, 1.0]])

    def project(self, pose_camera_in_base: Pose, point_m: FloatArray) -> FloatArray:
        """Return the (2,) pixel, column then row, of a (3,) point in base.

        Args:
            pose_camera_in_base: Pose of the optical frame.
            point_m: Point in base.
        """
        in_camera = compose(invert(pose_camera_in_base), Pose(point_m, Rotation.identity())).position_m
        pixel: FloatArray = (self.matrix @ (in_camera / in_camera[2]))[:2]
        return pixel


def optical_pose(position_m: FloatArray, matrix: FloatArray) -> Pose:
    """Return the pose of the optical frame for a MuJoCo camera's position and (3, 3) orientation."""
    return compose(Pose(position_m.copy(), Rotation.from_matrix(matrix)), _OPTICAL_IN_MUJOCO)
