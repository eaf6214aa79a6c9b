# SPDX-License-Identifier: Apache-2.0
"""A checkpoint as the model that CALVIN's evaluator asks: ``reset()`` and ``step(obs, goal)``.

It fits mees/calvin's own ``evaluate_policy.py`` in the place of its ``CustomModel``. The policy is stepped at each
step of the environment, as in training, also when several actions of a chunk are executed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from vla_core.actions.action_space import calvin_action
from vla_core.errors import CheckpointError
from vla_core.geometry import FloatArray, Pose
from vla_core.policy import VlaPolicy
from vla_core.policy_contract import Policy, PolicyContract
from vla_core.schedules import make_schedule
from vla_core.streams import StreamOptions
from vla_core.types import ActionChunk, Observation
from vla_core.units import NS_PER_S
from vla_training.datasets.calvin_folder import CAMERA_KEYS
from vla_training.datasets.dataset_card import CALVIN, GRIPPER_WIDTH_OPEN_M


class CalvinModel:
    """Answers CALVIN's evaluator.

    Args:
        policy: The policy; the model owns it from now on.
        num_executed: Actions of each chunk that are executed. 1: the first of the newest, as in RoboVLMs.

    Raises:
        CheckpointError: The policy was made for other cameras or another rate than CALVIN's.
    """

    def __init__(self, policy: Policy, num_executed: int = 1) -> None:
        require_calvin(policy.contract)
        if not 1 <= num_executed <= policy.contract.chunk_size:
            raise CheckpointError(
                f"num_executed is {num_executed}; the checkpoint predicts {policy.contract.chunk_size} actions, "
                "so 1 to that many can be executed"
            )
        self._policy = policy
        self._space = policy.contract.action_space
        self._schedule = make_schedule("first_action" if num_executed == 1 else "receding_horizon", num_executed)
        self._step = 0

    @classmethod
    def load(
        cls,
        checkpoint: Path | str,
        device: str | torch.device = "cpu",
        *,
        num_executed: int = 1,
        options: StreamOptions | None = None,
    ) -> Self:
        """Return the model of a checkpoint directory.

        Raises:
            CheckpointError: The checkpoint is incomplete, or does not fit CALVIN.
        """
        return cls(VlaPolicy.load(checkpoint, device, options=options), num_executed)

    def reset(self) -> None:
        """Forget all history: a new subtask begins."""
        self._policy.reset()
        self._schedule.clear()
        self._step = 0

    def step(self, obs: Mapping[str, Any], goal: str) -> FloatArray:
        """Return the action at one step of the environment.

        Args:
            obs: ``rgb_obs`` with ``rgb_static`` and ``rgb_gripper``, (H, W, 3) uint8 RGB, and ``robot_obs`` (15,):
                TCP position (m) and extrinsic x-y-z angles (rad), gripper width (m), seven joints (rad), gripper.
            goal: The sentence.

        Returns:
            (7,) ``rel_actions``: translation in units of 0.02 m, Euler angles in units of 0.05 rad, both in base
            axes, and the gripper: -1 close, +1 open.
        """
        now_ns = round(self._step * self._policy.contract.period_s * NS_PER_S)
        observation = calvin_observation(obs, now_ns)
        action = self._due(self._policy.infer(observation, goal), now_ns)
        self._step += 1
        return calvin_action(self._space, action, np.asarray(obs["robot_obs"], dtype=np.float64)[3:6])

    def _due(self, chunk: ActionChunk, now_ns: int) -> NDArray[np.float32]:
        self._schedule.push(chunk)
        action = self._schedule.due(now_ns)
        assert action is not None, "a step lies exactly on the grid of the chunks"
        return action


def calvin_observation(obs: Mapping[str, Any], stamp_ns: int) -> Observation:
    """Return what CALVIN's environment shows as an observation; its base frame is CALVIN's world.

    Args:
        obs: As ``CalvinModel.step``.
        stamp_ns: Time of the step.
    """
    robot = np.asarray(obs["robot_obs"], dtype=np.float64)
    pictures = {name: obs["rgb_obs"].get(key) for name, key in CAMERA_KEYS.items()}
    return Observation(
        stamp_ns=stamp_ns,
        images={name: np.asarray(picture) for name, picture in pictures.items() if picture is not None},
        pose_tcp_in_base=Pose.from_euler(robot[:3], robot[3:6]),
        joint_positions_rad=robot[7:14],
        gripper_open=float(np.clip(robot[6] / GRIPPER_WIDTH_OPEN_M, 0.0, 1.0)),
        source_stamps_ns={},
    )


def require_calvin(contract: PolicyContract) -> None:
    """Check that a policy was made for CALVIN's cameras and rate.

    Raises:
        CheckpointError: It was not; the sentence holds both values.
    """
    if not set(contract.cameras) <= set(CAMERA_KEYS):
        raise CheckpointError(
            f"the checkpoint was trained with cameras {sorted(contract.cameras)}, CALVIN has "
            f"{sorted(CAMERA_KEYS)}. Use a checkpoint for these cameras"
        )
    for name, aspect in zip(contract.cameras, contract.image_aspects, strict=True):
        if abs(aspect - 1.0) > 0.01:
            raise CheckpointError(
                f"camera '{name}': the checkpoint was trained with pictures of aspect {aspect:.3f}, CALVIN's are "
                "square. Use a checkpoint for square pictures"
            )
    if abs(contract.period_s / CALVIN.period_s - 1.0) > 0.01:
        raise CheckpointError(
            f"the checkpoint was trained at {1 / contract.period_s:g} Hz, CALVIN runs at "
            f"{1 / CALVIN.period_s:g} Hz. Use a checkpoint that was trained on CALVIN's data"
        )
