# SPDX-License-Identifier: Apache-2.0
"""Plain objects with the fields of ROS messages: codecs read fields and nothing else."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from vla_core.geometry import Pose


def header(stamp_ns: int, frame_id: str = "") -> Any:
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return SimpleNamespace(stamp=stamp, frame_id=frame_id)


def image(pixels: np.ndarray, encoding: str, /, *, padding: int = 0, stamp_ns: int = 0, **fields: Any) -> Any:
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    known = {
        "header": header(stamp_ns),
        "width": width,
        "height": height,
        "step": padded.shape[1],
        "encoding": encoding,
        "is_bigendian": 0,
        "data": padded.tobytes(),
    }
    return SimpleNamespace(**(known | fields))


def joint_state(names: list[str], positions: list[float], stamp_ns: int = 0) -> Any:
    return SimpleNamespace(header=header(stamp_ns), name=names, position=positions, velocity=[], effort=[])


def pose_stamped(pose: Pose, frame_id: str, stamp_ns: int = 0) -> Any:
    x, y, z = pose.position_m
    qx, qy, qz, qw = pose.quat_xyzw
    return SimpleNamespace(
        header=header(stamp_ns, frame_id),
        pose=SimpleNamespace(
            position=SimpleNamespace(x=x, y=y, z=z),
            orientation=SimpleNamespace(x=qx, y=qy, z=qz, w=qw),
        ),
    )
