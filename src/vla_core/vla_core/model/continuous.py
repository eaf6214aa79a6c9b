# SPDX-License-Identifier: Apache-2.0
"""What the structures with a regressing head share: features of each tick, the head, and the loss."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from vla_core.model.backbone import Backbone
from vla_core.model.config import ModelConfig
from vla_core.model.heads import build_head
from vla_core.model.heads.head import PredictedChunks
from vla_core.model.language_regulariser import LanguageRegulariser
from vla_core.model.loss import PolicyLoss, TargetChunks, policy_loss
from vla_core.model.prompt import Tokens
from vla_core.model.vla import VlaModel


class ContinuousModel(VlaModel):
    """A model whose head regresses actions from features of each tick. Arguments as ``VlaModel``."""

    def __init__(self, config: ModelConfig, backbone: Backbone) -> None:
        super().__init__(config, backbone)
        self.head = build_head(
            config.head,
            embed_dim=backbone.embed_dim,
            chunk_size=config.chunk_size,
            num_lrn_tokens=config.num_lrn_tokens,
            window_size=config.window_size,
        )

    @abstractmethod
    def features(
        self,
        images_BTC3SS: Tensor,
        tokens: Tokens,
        *,
        state_BTS: Tensor | None = None,
        actions_BT7: Tensor | None = None,
    ) -> Tensor:
        """Return what the head reads (B, T, E) at each tick; arguments as ``loss``."""

    def forward(
        self,
        images_BTC3SS: Tensor,
        tokens: Tokens,
        *,
        state_BTS: Tensor | None = None,
        actions_BT7: Tensor | None = None,
    ) -> PredictedChunks:
        """Return the chunk at each tick of a window that starts with nothing remembered; arguments as ``loss``."""
        features_BTE = self.features(images_BTC3SS, tokens, state_BTS=state_BTS, actions_BT7=actions_BT7)
        chunks: PredictedChunks = self.head(features_BTE)
        return chunks

    def loss(
        self,
        images_BTC3SS: Tensor,
        tokens: Tokens,
        target: TargetChunks,
        *,
        state_BTS: Tensor | None = None,
        actions_BT7: Tensor | None = None,
        language: LanguageRegulariser | None = None,
        sentences: Sequence[str] = (),
    ) -> PolicyLoss:
        """Return the training loss of a batch of windows, with the language regulariser's part if one is given."""
        weight = self.config.loss.language_weight
        if weight > 0 and language is None:
            raise ValueError(f"loss.language_weight is {weight:g}: give the regulariser and the sentences")
        features_BTE = self.features(images_BTC3SS, tokens, state_BTS=state_BTS, actions_BT7=actions_BT7)
        loss = policy_loss(self.head(features_BTE), target, self.config.loss)
        if language is None:
            return loss
        distance = language(features_BTE, sentences)
        metrics = {**loss.metrics, "language": distance.detach()}
        return replace(loss, total=loss.total + weight * distance, metrics=metrics)
