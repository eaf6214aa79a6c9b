# SPDX-License-Identifier: Apache-2.0
"""The training loss: regression of the arm, cross-entropy of the gripper, padded actions left out.

Every tick of the window and every action of the chunk counts the same.

Shapes: B batch, T ticks, N chunk.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from vla_core.model.config import LossConfig
from vla_core.model.heads.lstm import PredictedChunks


@dataclass(frozen=True, eq=False)
class TargetChunks:
    """What the demonstration did.

    Attributes:
        arm: (B, T, N, 6) normalised relative TCP motion.
        gripper_open: (B, T, N) 0 closed, 1 open.
        is_valid: (B, T, N) False (or 0) where the chunk reaches beyond the episode.
    """

    arm: Tensor
    gripper_open: Tensor
    is_valid: Tensor


@dataclass(frozen=True, eq=False)
class PolicyLoss:
    """The loss and its parts; scalars.

    Attributes:
        total: What is minimised: ``arm + gripper_weight * gripper``.
        arm: Mean over valid actions and six dimensions.
        gripper: Mean over valid actions.
        gripper_accuracy: Share of valid actions whose gripper is on the right side of 0.5.
    """

    total: Tensor
    arm: Tensor
    gripper: Tensor
    gripper_accuracy: Tensor


def policy_loss(predicted: PredictedChunks, target: TargetChunks, config: LossConfig) -> PolicyLoss:
    """Return the loss of predicted chunks; zero where no action is valid."""
    valid_BTN = target.is_valid.to(predicted.arm.dtype)
    num_valid = valid_BTN.sum().clamp(min=1.0)
    regression = functional.huber_loss if config.arm == "huber" else functional.mse_loss
    arm_BTN6 = regression(predicted.arm, target.arm, reduction="none")
    arm = (arm_BTN6.mean(-1) * valid_BTN).sum() / num_valid
    labels_BTN = target.gripper_open.to(predicted.gripper_logit.dtype)
    entropy_BTN = functional.binary_cross_entropy_with_logits(
        predicted.gripper_logit, labels_BTN, reduction="none"
    )
    gripper = (entropy_BTN * valid_BTN).sum() / num_valid
    is_right_BTN = (predicted.gripper_logit > 0) == (labels_BTN > 0.5)
    accuracy = (is_right_BTN * valid_BTN).sum() / num_valid
    return PolicyLoss(arm + config.gripper_weight * gripper, arm, gripper, accuracy.detach())
