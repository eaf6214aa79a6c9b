# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch import Tensor

from vla_core.model.chunks import PredictedChunks
from vla_core.model.config import LossConfig
from vla_core.model.loss import PolicyLoss, TargetChunks, policy_loss


def loss_of(error: float, logit: float, valid: list[int], config: LossConfig | None = None) -> PolicyLoss:
    shape = (1, 1, len(valid))
    predicted = PredictedChunks(torch.full((*shape, 6), error), torch.full(shape, logit))
    target = TargetChunks(torch.zeros(*shape, 6), torch.ones(shape), torch.tensor(valid)[None, None])
    return policy_loss(predicted, target, config or LossConfig())


@pytest.mark.parametrize(("error", "expected"), [(0.5, 0.125), (2.0, 1.5)])
def test_huber_is_quadratic_up_to_one_and_linear_beyond(error: float, expected: float) -> None:
    assert float(loss_of(error, 0.0, [1, 1]).arm) == pytest.approx(expected)


def test_mse_is_the_square_of_the_error() -> None:
    assert float(loss_of(0.5, 0.0, [1], LossConfig(arm="mse")).arm) == pytest.approx(0.25)


def test_gripper_is_cross_entropy_and_total_weighs_it() -> None:
    loss = loss_of(0.5, 0.0, [1], LossConfig(gripper_weight=0.5))
    assert float(loss.gripper) == pytest.approx(math.log(2.0))
    assert float(loss.total) == pytest.approx(0.125 + 0.5 * math.log(2.0))


@pytest.mark.parametrize(("logit", "accuracy"), [(3.0, 1.0), (-3.0, 0.0)])
def test_accuracy_counts_the_right_side(logit: float, accuracy: float) -> None:
    assert float(loss_of(0.0, logit, [1, 1]).gripper_accuracy) == accuracy


def test_invalid_actions_change_nothing() -> None:
    arm = torch.zeros(1, 1, 3, 6)
    arm[0, 0, 2] = 0.9
    target = TargetChunks(torch.zeros(1, 1, 3, 6), torch.ones(1, 1, 3), torch.tensor([[[True, True, False]]]))
    loss = policy_loss(PredictedChunks(arm, torch.tensor([[[2.0, 2.0, -9.0]]])), target, LossConfig())
    assert float(loss.arm) == 0.0 and float(loss.gripper_accuracy) == 1.0


def test_no_valid_action_gives_zero_and_a_gradient_of_zero() -> None:
    arm: Tensor = torch.ones(1, 1, 2, 6, requires_grad=True)
    target = TargetChunks(torch.zeros(1, 1, 2, 6), torch.ones(1, 1, 2), torch.zeros(1, 1, 2))
    loss = policy_loss(PredictedChunks(arm, torch.zeros(1, 1, 2)), target, LossConfig()).total
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert arm.grad is not None and float(arm.grad.abs().max()) == 0.0


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="gripper_weight must not be below 0"):
        LossConfig(gripper_weight=-1.0)
