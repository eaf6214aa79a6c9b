# SPDX-License-Identifier: Apache-2.0
"""What a skill says: where the tool should go now, how fast, and with which gripper."""

from collections.abc import Callable
from dataclasses import dataclass

from vla_core.geometry import Pose
from vla_sim.task_state import TabletopState

OPEN, CLOSED = 1.0, 0.0


@dataclass(frozen=True, eq=False)
class Aim:
    """What a skill wants now.

    Attributes:
        pose: Where the TCP should go, in base.
        gripper_open: 0 or 1.
        speed: Fraction of the largest translation per action.
    """

    pose: Pose
    gripper_open: float
    speed: float = 1.0


Skill = Callable[[TabletopState, Pose], Aim]
"""From the present state and the measured TCP pose to an aim."""
