# SPDX-License-Identifier: Apache-2.0
"""What a step minimises, as one module: model, language regulariser, and auxiliary losses beside them.

It takes and gives plain dictionaries of tensors, because that is what precision and parallel wrappers handle.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vla_core.model.config import ModelConfig
from vla_core.model.extra_tokens import ACTION_DIM
from vla_core.model.language_regulariser import LanguageRegulariser
from vla_core.model.loss import TargetChunks
from vla_core.model.prompt import Tokens
from vla_core.model.vla import VlaModel
from vla_core.model.windows import Windows
from vla_training.training.cotraining import answer_loss
from vla_training.training.grounding import GroundingLoss
from vla_training.training.pointing import PointingLoss


class Objective(nn.Module):
    """The loss of a batch.

    Args:
        model: The policy's model.
        regulariser: For ``loss.language_weight``.
        answer_weight: Weight of the cross-entropy of answers, where questions are given.
        grounding: Loss of the named points, which every batch must have then.
        pointing: A further one, beside ``grounding``.
    """

    def __init__(
        self,
        model: VlaModel,
        regulariser: LanguageRegulariser | None = None,
        answer_weight: float = 0.0,
        grounding: GroundingLoss | None = None,
        pointing: PointingLoss | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.regulariser = regulariser
        self.grounding, self.pointing = grounding, pointing
        self._answer_weight = answer_weight

    def forward(
        self,
        batch: Mapping[str, Tensor],
        sentences: Sequence[str],
        has_padding: bool,
        questions: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Tensor]:
        """Return the loss and its parts, scalars.

        Args:
            batch: ``ModelInputs.tensors``.
            sentences: B sentences.
            has_padding: Whether sentences have different lengths.
            questions: Arguments of the transformers model for each question, with ``labels``.
        """
        config = self.model.config
        tokens = Tokens(batch["ids"], batch["mask"], tuple(sentences), has_padding=has_padding)
        windows = Windows(
            batch["images"],
            tokens,
            state=batch["state"] if config.use_state else None,
            actions=batch["actions"] if config.use_action_history else None,
        )
        target = TargetChunks(batch["arm"], batch["gripper_open"], batch["is_valid"])
        loss = self.model.loss(windows, target, self.regulariser)
        # The policy's part is a mean over this batch; its share of the whole step is what counts.
        policy = loss.arm + config.loss.gripper_weight * loss.gripper
        total = loss.total + (batch["share"] - 1.0) * policy
        parts = {
            "loss": total,
            "arm": loss.arm.detach(),
            "gripper": loss.gripper.detach(),
            "gripper_accuracy": loss.gripper_accuracy.detach(),
            **{name: value.detach() for name, value in loss.metrics.items()},
        }
        if self.grounding is not None:
            parts |= self._grounding(total, loss.features, batch)
        if questions:
            losses = [answer_loss(self.model.backbone, inputs) for inputs in questions]
            answers = torch.stack(losses).mean()
            parts |= {"loss": parts["loss"] + self._answer_weight * answers, "answers": answers.detach()}
        return parts

    def _grounding(
        self, total: Tensor, features_BTE: Tensor | None, batch: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the loss with the named points' part, and that part as its share of the whole step's mean."""
        assert self.grounding is not None and features_BTE is not None, "TrainConfig refuses this"
        found, share = self.grounding(features_BTE, batch["points"]), batch["points_share"]
        numbers = {"grounding": (share * found.loss).detach(), "grounding_hits": share * found.hits}
        loss = found.loss
        if self.pointing is not None:
            pointed = self.pointing(features_BTE, batch["points"])
            loss, numbers["pointing"] = loss + pointed, (share * pointed).detach()
        return {"loss": total + self.grounding.weight * share * loss, **numbers}


def weight_of(is_valid: Tensor, config: ModelConfig) -> float:
    """Return the weight of all that the policy's loss of a batch is a mean over.

    Args:
        is_valid: (B, T, N) where the demonstration goes on.
        config: Of the model.
    """
    if config.structure == "one_step_discrete":
        ends = len(is_valid) if config.prompt.tokens_after_lrn else 0
        return float(ACTION_DIM * is_valid.sum() + ends)
    weights = is_valid.float()
    if config.loss.tick_weights is not None:
        ticks = is_valid.shape[1]
        weights = weights * torch.tensor(config.loss.tick_weights[-ticks:])[:, None]
    return float(weights.sum())
