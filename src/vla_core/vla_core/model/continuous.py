# SPDX-License-Identifier: Apache-2.0
"""What the structures with a regressing head share: features of each tick, the head, and the loss."""

from abc import abstractmethod
from dataclasses import replace

from torch import Tensor

from vla_core.model.backbone import Backbone
from vla_core.model.chunks import PredictedChunks
from vla_core.model.config import ModelConfig
from vla_core.model.heads import build_head
from vla_core.model.language_regulariser import LanguageRegulariser
from vla_core.model.loss import PolicyLoss, TargetChunks, policy_loss
from vla_core.model.vla import VlaModel
from vla_core.model.windows import Windows


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
    def features(self, windows: Windows) -> Tensor:
        """Return what the head reads (B, T, E) at each tick."""

    def forward(self, windows: Windows) -> PredictedChunks:
        """Return the chunk at each tick of windows that start with nothing remembered."""
        chunks: PredictedChunks = self.head(self.features(windows))
        return chunks

    def loss(
        self, windows: Windows, target: TargetChunks, language: LanguageRegulariser | None = None
    ) -> PolicyLoss:
        """Return the training loss, with the language regulariser's part if one is given."""
        weight = self.config.loss.language_weight
        if weight > 0 and language is None:
            raise ValueError(f"loss.language_weight is {weight:g}: give the regulariser")
        features_BTE = self.features(windows)
        loss = policy_loss(self.head(features_BTE), target, self.config.loss)
        loss = replace(loss, features=features_BTE)
        if language is None:
            return loss
        distance = language(features_BTE, windows.tokens.sentences)
        metrics = {**loss.metrics, "language": distance.detach()}
        return replace(loss, total=loss.total + weight * distance, metrics=metrics)
