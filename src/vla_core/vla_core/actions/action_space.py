# SPDX-License-Identifier: Apache-2.0
"""What the seven numbers of a policy action mean: frame, scale, normalisation.

The action space belongs to the checkpoint. ``target_pose`` and ``action_towards`` are inverse to each other for
motions that the normalised range can express; in ``robovlms_tcp`` only away from a pitch of 90 degrees, see there.

From motion to action: scale, normalise, standardise, compand, frame of ``robovlms_tcp``. RoboVLMs trains in this
order, so that its own frame change acts on numbers that are already normalised.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vla_core.actions.frames import (
    apply_base_motion,
    apply_tcp_motion,
    base_motion_between,
    tcp_motion_between,
)
from vla_core.actions.gripper import calvin_from_open
from vla_core.actions.normalization import (
    NormalizationSpec,
    StandardizationSpec,
    compand,
    expand,
    normalize,
    standardize,
    unnormalize,
    unstandardize,
)
from vla_core.actions.robovlms_frame import base_to_robovlms_tcp, robovlms_tcp_to_base
from vla_core.geometry import FloatArray, Pose

ActionFrame = Literal["tcp", "base", "robovlms_tcp"]
MOTION_NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw")
"""The first six numbers of an action; the seventh is the gripper's."""

_CALVIN_SCALE = np.repeat([0.02, 0.05], 3)  # metres, then radians, per unit of CALVIN's rel_actions


@dataclass(frozen=True, kw_only=True)
class ActionSpace:
    """The meaning of a normalised action.

    Attributes:
        frame: ``tcp`` (physical tool frame), ``base`` (CALVIN's rel_actions) or ``robovlms_tcp``.
        translation_m: Metres per unit of translation (CALVIN: 0.02).
        rotation_rad: Radians per unit of rotation (CALVIN: 0.05).
        normalization: Range that maps to [-1, 1], or ``None`` when the policy speaks in units directly.
        standardization: Mean and spread after normalising (RoboVLMs: ``regular_action``), or ``None``.
        mu_law: Strength of the mu-law companding after that (RoboVLMs: 255), or ``None``.
    """

    frame: ActionFrame
    translation_m: float = 0.02
    rotation_rad: float = 0.05
    normalization: NormalizationSpec | None = None
    standardization: StandardizationSpec | None = None
    mu_law: float | None = None

    def __post_init__(self) -> None:
        if self.translation_m <= 0 or self.rotation_rad <= 0:
            raise ValueError(
                "translation_m and rotation_rad must be above 0, found "
                f"{self.translation_m:g} and {self.rotation_rad:g}"
            )
        if self.mu_law is not None and self.mu_law <= 0:
            raise ValueError(f"mu_law must be above 0 or null, found {self.mu_law:g}")

    @property
    def scale(self) -> FloatArray:
        """(6,) SI units per action unit: metres, then radians."""
        return np.repeat([self.translation_m, self.rotation_rad], 3)


def target_pose(space: ActionSpace, pose_tcp_in_base: Pose, arm: ArrayLike) -> Pose:
    """Return the pose, in base, that a normalised arm action asks for.

    Args:
        space: Meaning of the action.
        pose_tcp_in_base: Pose that the action is relative to, or a row of N.
        arm: (6,) or (N, 6) normalised; the first six columns of a longer action are used.
    """
    exact = np.asarray(arm, dtype=np.float64)
    motion = units_from_action(space, exact, pose_tcp_in_base.euler_xyz_rad) * space.scale
    apply = apply_tcp_motion if space.frame == "tcp" else apply_base_motion
    return apply(pose_tcp_in_base, motion)


def action_towards(space: ActionSpace, pose_tcp_in_base: Pose, pose_target_in_base: Pose) -> FloatArray:
    """Return the (6,) or (N, 6) normalised arm action that ``target_pose`` turns into the target.

    Without ``normalization`` the action is not clipped: a far target gives values beyond [-1, 1], which the caller
    limits. With it, values beyond the range are clipped.
    """
    between = tcp_motion_between if space.frame == "tcp" else base_motion_between
    units = between(pose_tcp_in_base, pose_target_in_base) / space.scale
    return encode_motion(space, units, pose_tcp_in_base.euler_xyz_rad)


def encode_motion(space: ActionSpace, units: ArrayLike, euler_xyz_rad: ArrayLike) -> FloatArray:
    """Return normalised arm actions (..., 6) for motions in units of the scale.

    Args:
        space: Meaning of the actions.
        units: (..., 6) motions: seen from the tool for the frame ``tcp``, in base axes for the others.
        euler_xyz_rad: (..., 3) extrinsic x-y-z angles of the TCP in base, for ``robovlms_tcp``.
    """
    encoded = np.asarray(units, dtype=np.float64)
    if space.normalization is not None:
        encoded = normalize(encoded, space.normalization)
    if space.standardization is not None:
        encoded = standardize(encoded, space.standardization)
    if space.mu_law is not None:
        encoded = compand(encoded, space.mu_law)
    if space.frame == "robovlms_tcp":
        encoded = base_to_robovlms_tcp(encoded, euler_xyz_rad)
    return encoded


def calvin_action(space: ActionSpace, action: ArrayLike, euler_xyz_rad: ArrayLike) -> FloatArray:
    """Return an action as CALVIN's environment takes it (``rel_actions``).

    Args:
        space: Meaning of the action.
        action: (7,) normalised arm motion and ``gripper_open``: a row of ``ActionChunk.actions``. In float32 the
            frame ``robovlms_tcp`` is the original's to the bit: its rounding errors of up to 5e-5 grow where
            mu-law is undone after it. In float64 it is exact.
        euler_xyz_rad: (3,) extrinsic x-y-z angles of the TCP in base (``robot_obs[3:6]``).

    Returns:
        (7,) translation in base axes in units of 0.02 m, difference of Euler angles in units of 0.05 rad, and the
        gripper: -1 close, +1 open. Not clipped.
    """
    row = np.asarray(action)
    motion = units_from_action(space, row, euler_xyz_rad) * space.scale
    if space.frame == "tcp":
        pose = Pose.from_euler(np.zeros(3), euler_xyz_rad)
        motion = base_motion_between(pose, apply_tcp_motion(pose, motion))
    return np.append(motion / _CALVIN_SCALE, calvin_from_open(row[6]))


def units_from_action(space: ActionSpace, arm: NDArray[Any], euler_xyz_rad: ArrayLike) -> FloatArray:
    """Return the (..., 6) motion in units of the scale: in the tool frame for ``tcp``, in base for the others.

    The type of ``arm``, (..., 6) or more columns, is the one that ``robovlms_tcp`` is computed in.
    """
    units = arm[..., :6]
    if space.frame == "robovlms_tcp":
        units = robovlms_tcp_to_base(units, euler_xyz_rad)
    units = units.astype(np.float64)
    if space.mu_law is not None:
        units = expand(units, space.mu_law)
    if space.standardization is not None:
        units = unstandardize(units, space.standardization)
    if space.normalization is not None:
        units = unnormalize(units, space.normalization)
    return units
