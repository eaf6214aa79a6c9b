# SPDX-License-Identifier: Apache-2.0
"""The values that cross borders between parts of the suite. Frozen; arrays are not to be written to."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_core.geometry import FloatArray, Pose

RgbImage = NDArray[np.uint8]
"""A decoded picture: (H, W, 3) uint8, red, green, blue, the first row on top."""


@dataclass(frozen=True, eq=False)
class Observation:
    """What the robot sees and feels at one tick.

    Attributes:
        stamp_ns: Time of the tick, nanoseconds of the clock that stamped the streams.
        images: Camera name to picture, (H, W, 3) uint8 RGB.
        pose_tcp_in_base: Measured pose of the tool centre point in the base frame.
        joint_positions_rad: (J,) float64, in the order of the robot spec.
        gripper_open: 0 closed, 1 open.
        source_stamps_ns: Stream name to the stamp of the sample that was used.
    """

    stamp_ns: int
    images: Mapping[str, RgbImage]
    pose_tcp_in_base: Pose
    joint_positions_rad: FloatArray
    gripper_open: float
    source_stamps_ns: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """Consecutive policy actions from one inference.

    Attributes:
        stamp_ns: Stamp of the observation that the chunk was computed from; action ``k`` is for ``k * period_s``
            later.
        period_s: Spacing of the actions, seconds.
        actions: (N, 7) float32. Columns 0-5 (dx dy dz droll dpitch dyaw) are normalised relative TCP motion in
            [-1, 1], in the action frame of the checkpoint; column 6 is ``gripper_open`` in [0, 1].
    """

    stamp_ns: int
    period_s: float
    actions: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PosePath:
    """Where the TCP is to be in the next moments; it ends at rest.

    Attributes:
        stamps_ns: (N,) int64, increasing, one command period apart; the first is the moment of the next command.
        poses: N poses of the tool centre point in the base frame.
    """

    stamps_ns: NDArray[np.int64]
    poses: tuple[Pose, ...]


@dataclass(frozen=True, eq=False)
class Command:
    """What the robot is asked to do, in SI units.

    Attributes:
        pose_tcp_in_base: Target pose of the tool centre point in the base frame.
        gripper_open: 0 closed, 1 open, ``None`` to leave the gripper as it is.
    """

    pose_tcp_in_base: Pose
    gripper_open: float | None
