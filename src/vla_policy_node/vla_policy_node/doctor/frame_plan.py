# SPDX-License-Identifier: Apache-2.0
"""The motions of the frame test: 2 cm along and 5 degrees about axes, as actions of the suite, and in words.

Words are those of REP-103: of the base, x is forward, y left, z up.
"""

import math
from dataclasses import dataclass

import numpy as np

from vla_core.actions.action_space import ActionFrame, ActionSpace, target_pose
from vla_core.geometry import FloatArray, Pose

WAY_M, TURN_RAD = 0.02, math.radians(5.0)
_AXIS_NAMES = ("x", "y", "z", "rx", "ry", "rz")
# Components below this share of the whole are not worth a word.
_WORTH_A_WORD = 0.4
_WORDS = (("forward", "back"), ("left", "right"), ("up", "down"))


@dataclass(frozen=True)
class FrameMotion:
    """One motion of the frame test.

    Attributes:
        name: For example ``base_x`` or ``tcp_rz``.
        frame: Frame of the axis.
        index: Which of dx dy dz droll dpitch dyaw it is.
    """

    name: str
    frame: ActionFrame
    index: int

    @property
    def is_rotation(self) -> bool:
        """Whether it turns; otherwise it shifts."""
        return self.index >= 3

    @property
    def space(self) -> ActionSpace:
        """Meaning of its actions: one unit is the whole motion."""
        return ActionSpace(frame=self.frame, translation_m=WAY_M, rotation_rad=TURN_RAD)

    def action(self, share: float) -> FloatArray:
        """Return the (7,) action that is a share of the motion; the gripper keeps what it has."""
        action = np.zeros(7)
        action[self.index], action[6] = share, 0.5
        return action

    def target(self, pose: Pose) -> Pose:
        """Return where the whole motion leads from a pose of the TCP in base."""
        return target_pose(self.space, pose, self.action(1.0))


_TRIED: dict[ActionFrame, tuple[str, ...]] = {"base": _AXIS_NAMES[:3], "tcp": _AXIS_NAMES}
MOTIONS: dict[str, FrameMotion] = {
    f"{frame}_{name}": FrameMotion(f"{frame}_{name}", frame, index)
    for frame, names in _TRIED.items()
    for index, name in enumerate(names)
}
AXES = tuple(MOTIONS)
"""Names of all motions, in their order."""


def displacement(before: Pose, after: Pose, *, is_rotation: bool) -> FloatArray:
    """Return the (3,) shift (metres) or turn (rotation vector, radians) between two poses, in base axes."""
    if is_rotation:
        return np.asarray((after.rotation * before.rotation.inv()).as_rotvec())
    return np.asarray(after.position_m - before.position_m)


def in_words(vector: FloatArray) -> str:
    """Return the direction of a (3,) vector in base axes as words, for example ``forward and down``."""
    length = float(np.linalg.norm(vector))
    if length < 1e-9:
        return "nowhere"
    order = np.argsort(-np.abs(vector))
    words = [_WORDS[axis][int(vector[axis] < 0)] for axis in order if abs(vector[axis]) > _WORTH_A_WORD * length]
    return " and ".join(words)
