# SPDX-License-Identifier: Apache-2.0
"""Recorded actions of any source in the action space of the policy that learns from them."""

import numpy as np
from numpy.typing import NDArray

from vla_core.actions.action_space import ActionSpace, action_towards, encode_motion, target_pose
from vla_core.actions.gripper import open_from_calvin
from vla_core.geometry import FloatArray, Pose
from vla_core.robot_state import state_of
from vla_training.datasets.dataset_card import GRIPPER_WIDTH_OPEN_M
from vla_training.datasets.frame_store import FrameNumbers


def policy_actions(numbers: FrameNumbers, recorded: ActionSpace, space: ActionSpace) -> NDArray[np.float32]:
    """Return (F, 7) float32: six arm numbers of the policy, and ``gripper_open`` 0 or 1.

    The action of a frame is expressed relative to the pose measured at that frame. Where the recorded frame is the
    policy's, numbers are only scaled; otherwise each becomes the pose that it asks for, and that pose an action.

    Args:
        numbers: Of the frames.
        recorded: Meaning of their ``rel_actions``.
        space: Meaning of the policy's actions.
    """
    units = units_of_actions(numbers, recorded, space)
    arm = encode_motion(space, units, numbers.robot_obs[:, 3:6])
    gripper_open = open_from_calvin(np.where(numbers.rel_actions[:, 6:] > 0, 1.0, -1.0))
    return np.concatenate([arm, gripper_open], axis=1).astype(np.float32)


def units_of_actions(numbers: FrameNumbers, recorded: ActionSpace, space: ActionSpace) -> FloatArray:
    """Return (F, 6) motions in units of the policy's scale, before any normalisation.

    They are seen from the tool for the frame ``tcp`` and in base axes for the others. Arguments as
    ``policy_actions``.
    """
    arm = numbers.rel_actions[:, :6]
    if (recorded.frame == "tcp") == (space.frame == "tcp"):
        return np.asarray(arm * (recorded.scale / space.scale))
    plain = ActionSpace(
        frame="tcp" if space.frame == "tcp" else "base",
        translation_m=space.translation_m,
        rotation_rad=space.rotation_rad,
    )
    poses = _poses(numbers)
    return action_towards(plain, poses, target_pose(recorded, poses, arm))


def robot_states(numbers: FrameNumbers) -> NDArray[np.float32]:
    """Return (F, 10) float32, what ``use_state`` reads; see ``vla_core.robot_state``."""
    gripper_open = np.clip(numbers.robot_obs[:, 6:7] / GRIPPER_WIDTH_OPEN_M, 0.0, 1.0)
    return state_of(_poses(numbers), gripper_open)


def _poses(numbers: FrameNumbers) -> Pose:
    """Return the measured TCP poses of all frames."""
    return Pose.from_euler(numbers.robot_obs[:, :3], numbers.robot_obs[:, 3:6])
