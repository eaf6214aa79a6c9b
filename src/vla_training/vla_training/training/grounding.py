# SPDX-License-Identifier: Apache-2.0
"""An auxiliary loss: the features of each tick must tell in which cell of the picture the named things lie.

Why it helps: from actions alone a policy is slow to learn which thing a word means. As long as it cannot tell
several candidates apart, the motion that costs least leads to the middle of them, and around the middle a small
step towards one of them hardly changes the loss. A coordinate that is regressed beside the motion rests in the
same place. A choice between cells has no middle: probability lies on every candidate, and to take it from the
wrong ones pays from the first step on. (On the simulated table, same trunk and data, on layouts not trained on: a
regressed coordinate put two colours 0.6 cm apart, a choice of cells found 91 % of the blocks. There it was read
from a map of picture features, not from the features of a tick.)

It is no part of the policy, and a checkpoint does not hold it. Labels: ``datasets/named_points.py``.

Shapes: B batch, T ticks, C cameras, K slots, E what the head reads, G cells along a side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_NEAR = 1.5
"""Cells between the guess and the point of a hit: the point's cell and its eight neighbours."""


@dataclass(frozen=True, eq=False)
class Grounding:
    """How well the named things are found; scalars, means over the points that lie in their picture.

    Attributes:
        loss: Cross-entropy of the point's cell; 0 where no point lies in its picture.
        hits: Share of points whose likeliest cell is within 1.5 cells of their own.
    """

    loss: Tensor
    hits: Tensor


class GroundingLoss(nn.Module):
    """One linear layer from features to the cells of every picture and slot.

    Its weights belong to the optimizer, and where a run keeps its optimizer's state.

    Args:
        in_size: E, width of the features.
        num_cameras: C.
        num_slots: K.
        cells: G.
        weight: Of the loss beside the policy's.

    Attributes:
        weight: As given.
    """

    def __init__(self, *, in_size: int, num_cameras: int, num_slots: int, cells: int, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self._cells = cells
        self._shape = (num_cameras, num_slots, cells * cells)
        self.projection = nn.Linear(in_size, num_cameras * num_slots * cells * cells)

    def forward(self, features_BTE: Tensor, points_BTCK2: Tensor) -> Grounding:
        """Return the loss of a batch.

        Args:
            features_BTE: What the head reads.
            points_BTCK2: Shares (u, v) of width and height; NaN and points outside are left out.
        """
        logits_BTCKG = self.projection(features_BTE.to(self.projection.weight.dtype)).unflatten(-1, self._shape)
        labels, count = cell_labels(points_BTCK2, self._cells)
        entropy = functional.cross_entropy(
            logits_BTCKG.flatten(0, -2).float(), labels.flatten(), ignore_index=-100, reduction="sum"
        )
        guess = logits_BTCKG.detach().argmax(dim=-1)
        columns, rows = guess % self._cells - labels % self._cells, guess // self._cells - labels // self._cells
        is_near = torch.hypot(columns.float(), rows.float()) <= _NEAR
        hits = (is_near & (labels >= 0)).sum() / count
        return Grounding(entropy / count, hits)


def cell_labels(points: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Return the number (...) of the cell that each point lies in, row by row, and how many points that are.

    Args:
        points: (..., 2) shares of width and height; a point that is not in the picture gets the label -100.
        cells: Along a side of the picture.
    """
    is_shown = is_in_picture(points)
    column, row = (points.nan_to_num() * cells).long().clamp(0, cells - 1).unbind(-1)
    return (row * cells + column).masked_fill(~is_shown, -100), is_shown.sum().clamp(min=1)


def is_in_picture(points: Tensor) -> Tensor:
    """Return which points (..., 2) lie in their picture, (...) bool; NaN does not."""
    return ((points >= 0) & (points <= 1)).all(dim=-1)
