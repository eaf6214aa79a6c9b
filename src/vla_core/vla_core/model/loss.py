# SPDX-License-Identifier: Apache-2.0
"""The training loss: regression of the arm, cross-entropy of the gripper, padded actions left out.

Every action of the chunk counts the same, and every tick of the window unless ``tick_weights`` says otherwise.

Shapes: B batch, T ticks, N chunk.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional

from vla_core.model.chunks import PredictedChunks
from vla_core.model.config import LossConfig


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
    """The loss and its parts; scalars but for the features.

    Attributes:
        total: What is minimised: ``arm + gripper_weight * gripper``, and with a language regulariser also
            ``language_weight * language``.
        arm: Mean over valid actions and six dimensions; of the discrete structure the cross-entropy of tokens.
        gripper: Mean over valid actions; 0 of the discrete structure, whose tokens hold the gripper.
        gripper_accuracy: Share of valid actions whose gripper is on the right side of 0.5.
        metrics: Further numbers to watch; ``language`` is the language regulariser's.
        features: (B, T, E) what the head has read, for losses beside this one; ``None`` of the discrete structure.
    """

    total: Tensor
    arm: Tensor
    gripper: Tensor
    gripper_accuracy: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    features: Tensor | None = None


def policy_loss(predicted: PredictedChunks, target: TargetChunks, config: LossConfig) -> PolicyLoss:
    """Return the loss of predicted chunks; zero where no action is valid."""
    weight_BTN = target.is_valid.to(predicted.arm.dtype)
    is_valid_BTN = weight_BTN
    if config.tick_weights is not None:
        ticks = weight_BTN.shape[1]
        weight_BTN = weight_BTN * weight_BTN.new_tensor(config.tick_weights[-ticks:])[:, None]
    regression = functional.huber_loss if config.arm == "huber" else functional.mse_loss
    arm_BTN6 = regression(predicted.arm, target.arm, reduction="none")
    arm = _mean(arm_BTN6.mean(-1), weight_BTN)
    labels_BTN = target.gripper_open.to(predicted.gripper_logit.dtype)
    entropy_BTN = functional.binary_cross_entropy_with_logits(
        predicted.gripper_logit, labels_BTN, reduction="none"
    )
    gripper = _mean(entropy_BTN, weight_BTN)
    is_right_BTN = (predicted.gripper_logit > 0) == (labels_BTN > 0.5)
    accuracy = _mean(is_right_BTN.to(weight_BTN.dtype), is_valid_BTN)
    return PolicyLoss(arm + config.gripper_weight * gripper, arm, gripper, accuracy.detach())


def _mean(value_BTN: Tensor, weight_BTN: Tensor) -> Tensor:
    """Return the weighted mean; zero where nothing has weight."""
    total = weight_BTN.sum()
    return (value_BTN * weight_BTN).sum() / total.where(total > 0, 1.0)
