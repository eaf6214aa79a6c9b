# SPDX-License-Identifier: Apache-2.0
"""``sensor_msgs/JointState`` to positions in a wanted order, looked up by name."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vla_core.errors import CodecError
from vla_core.geometry import FloatArray


def decode_joint_positions(message: Any, names: Sequence[str]) -> FloatArray:
    """Return (len(names),) float64 positions (radians, metres for sliding joints) in the order of ``names``.

    Raises:
        CodecError: A joint is absent, names and positions differ in number, or a position is not finite.
    """
    found = list(message.name)
    if len(found) != len(message.position):
        raise CodecError(f"joint state: {len(found)} names but {len(message.position)} positions")
    positions = dict(zip(found, message.position, strict=True))
    absent = [name for name in names if name not in positions]
    if absent:
        raise CodecError(
            f"joint state: joint '{absent[0]}' is absent; the message holds {found}. Correct the robot spec"
        )
    for name in names:
        if not math.isfinite(positions[name]):
            raise CodecError(f"joint state: position of '{name}' is {positions[name]}, not a finite number")
    return np.array([positions[name] for name in names], dtype=np.float64)
