# SPDX-License-Identifier: Apache-2.0
"""What the seven numbers of a policy action mean: frame, scale, normalisation.

The action space belongs to the checkpoint. ``target_pose`` and ``action_towards`` are inverse to each other for
motions that the normalised range can express.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from vla_core.actions.frames import (
    apply_base_motion,
    apply_tcp_motion,
    base_motion_between,
    tcp_motion_between,
)
from vla_core.actions.normalization import NormalizationSpec, normalize, unnormalize
from vla_core.actions.robovlms_frame import base_to_robovlms_tcp, robovlms_tcp_to_base
from vla_core.geometry import FloatArray, Pose

ActionFrame = Literal["tcp", "base", "robovlms_tcp"]


@dataclass(frozen=True, kw_only=True)
class ActionSpace:
    """The meaning of a normalised action.

    Attributes:
        frame: ``tcp`` (physical tool frame), ``base`` (CALVIN's rel_actions) or ``robovlms_tcp``.
        translation_m: Metres per unit of translation (CALVIN: 0.02).
        rotation_rad: Radians per unit of rotation (CALVIN: 0.05).
        normalization: Range that maps to [-1, 1], or ``None`` when the policy speaks in units directly.
    """

    frame: ActionFrame
    translation_m: float = 0.02
    rotation_rad: float = 0.05
    normalization: NormalizationSpec | None = None

    def __post_init__(self) -> None:
        if self.translation_m <= 0 or self.rotation_rad <= 0:
            raise ValueError(
                "translation_m and rotation_rad must be above 0, found "
                f"{self.translation_m:g} and {self.rotation_rad:g}"
            )

    @property
    def scale(self) -> FloatArray:
        """(6,) SI units per action unit: metres, then radians."""
        return np.repeat([self.translation_m, self.rotation_rad], 3)


def target_pose(space: ActionSpace, pose_tcp_in_base: Pose, arm: ArrayLike) -> Pose:
    """Return the pose, in base, that a normalised arm action asks for.

    Args:
        space: Meaning of the action.
        pose_tcp_in_base: Pose that the action is relative to.
        arm: (6,) normalised; the first six columns of a longer action are used.
    """
    units = np.asarray(arm, dtype=np.float64)[:6]
    if space.frame == "robovlms_tcp":
        # The original changes the frame while the action is still normalised.
        units = robovlms_tcp_to_base(units, pose_tcp_in_base.euler_xyz_rad)
    if space.normalization is not None:
        units = unnormalize(units, space.normalization)
    motion = units * space.scale
    apply = apply_tcp_motion if space.frame == "tcp" else apply_base_motion
    return apply(pose_tcp_in_base, motion)


def action_towards(space: ActionSpace, pose_tcp_in_base: Pose, pose_target_in_base: Pose) -> FloatArray:
    """Return the (6,) normalised arm action that ``target_pose`` turns into the target.

    Without ``normalization`` the action is not clipped: a far target gives values beyond [-1, 1], which the caller
    limits. With it, values beyond the range are clipped.
    """
    between = tcp_motion_between if space.frame == "tcp" else base_motion_between
    units = between(pose_tcp_in_base, pose_target_in_base) / space.scale
    if space.normalization is not None:
        units = normalize(units, space.normalization)
    if space.frame == "robovlms_tcp":
        units = base_to_robovlms_tcp(units, pose_tcp_in_base.euler_xyz_rad)
    return units
