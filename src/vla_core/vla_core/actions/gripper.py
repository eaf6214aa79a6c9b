# SPDX-License-Identifier: Apache-2.0
"""The gripper in each party's words. The only file that converts between them.

Ours is ``gripper_open`` in [0, 1]. CALVIN says -1 close and +1 open. RoboVLMs' network gives a logit whose sigmoid
above 0.5 means open. A robot's gripper joint and command have their own values for closed and open.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def open_from_calvin(calvin: ArrayLike) -> NDArray[np.float64]:
    """Return ``gripper_open`` for CALVIN's value (-1 close, +1 open)."""
    return (np.asarray(calvin, dtype=np.float64) + 1.0) / 2.0


def calvin_from_open(gripper_open: ArrayLike) -> NDArray[np.float64]:
    """Return CALVIN's value, -1 or +1; the environment accepts nothing between."""
    return np.where(np.asarray(gripper_open, dtype=np.float64) > 0.5, 1.0, -1.0)


def open_from_logit(logit: Any) -> NDArray[np.float64]:
    """Return ``gripper_open`` as the sigmoid of the network's logit."""
    clipped = np.clip(np.asarray(logit, dtype=np.float64), -60.0, 60.0)
    return np.asarray(1.0 / (1.0 + np.exp(-clipped)))


def open_from_joint(position: float, *, closed: float, opened: float) -> float:
    """Return ``gripper_open``, clipped to [0, 1], for a joint position (metres or radians)."""
    return float(np.clip(share_open(position, closed=closed, opened=opened), 0.0, 1.0))


def share_open(value: float, *, closed: float, opened: float) -> float:
    """Return how far a joint position or a command value is open: 0 ``closed``, 1 ``opened``, not clipped."""
    return float((value - closed) / (opened - closed))


def command_from_open(gripper_open: float, *, closed: float, opened: float) -> float:
    """Return the command value (the driver's unit) for ``gripper_open`` in [0, 1]."""
    return closed + float(np.clip(gripper_open, 0.0, 1.0)) * (opened - closed)
