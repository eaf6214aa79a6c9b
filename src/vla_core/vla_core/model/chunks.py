# SPDX-License-Identifier: Apache-2.0
"""What a model predicts."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class PredictedChunks:
    """A chunk of actions for each tick. Shapes: B batch or streams, T ticks, N chunk.

    Attributes:
        arm: (B, T, N, 6) normalised relative TCP motion in [-1, 1].
        gripper_logit: (B, T, N) logit of "open".
    """

    arm: Tensor
    gripper_logit: Tensor
