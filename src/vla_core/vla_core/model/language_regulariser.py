# SPDX-License-Identifier: Apache-2.0
"""A pull on the features of each tick towards a text encoder's vector of the sentence; for training alone.

RoboVLMs' ``use_clip_norm``. A model that is trained on few sentences may stop telling them apart; a frozen text
encoder still does. It is no part of the policy, and a checkpoint does not hold it.

Shapes: B batch, T ticks, Q [LRN] copies, D embedding, E what the head reads (Q * D), W width of the text encoder.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from torch import Tensor, nn
from torch.nn import functional

from vla_core.model.text_encoder import TextEncoder


class LanguageRegulariser(nn.Module):
    """A frozen text encoder and one trained linear layer from features to its vectors.

    Give ``projection`` to the optimizer, and keep its weights where a run keeps its optimizer's state.

    Args:
        encoder: The text encoder.
        embed_dim: D, width of the backbone.

    Attributes:
        projection: The trained layer.
    """

    def __init__(self, encoder: TextEncoder, *, embed_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.projection = nn.Linear(embed_dim, encoder.width)

    @classmethod
    def load(cls, folder: Path, *, embed_dim: int) -> Self:
        """Return a regulariser with the text encoder in a folder and a new layer.

        Raises:
            CheckpointError: The folder holds no text encoder that can be used.
        """
        return cls(TextEncoder.load(folder), embed_dim=embed_dim)

    def forward(self, features_BTE: Tensor, sentences: Sequence[str]) -> Tensor:
        """Return the smooth L1 distance, a scalar, of every tick's features to the vector of its sentence.

        Args:
            features_BTE: What the head reads; of several [LRN] copies the largest value of each dimension counts.
            sentences: One per sample.

        Raises:
            ValueError: There is not one sentence per sample.
        """
        if len(sentences) != len(features_BTE):
            raise ValueError(
                f"the language regulariser got {len(sentences)} sentences for {len(features_BTE)} samples; give "
                "one sentence per sample"
            )
        pooled_BTD = features_BTE.unflatten(-1, (-1, self.projection.in_features)).amax(dim=-2)
        found_BTW = self.projection(pooled_BTD.to(self.projection.weight.dtype))
        wanted_BW = self.encoder(sentences).to(found_BTW.dtype)
        return functional.smooth_l1_loss(found_BTW, wanted_BW[:, None].expand_as(found_BTW))
