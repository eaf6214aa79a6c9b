# SPDX-License-Identifier: Apache-2.0
"""A batch of windows of demonstrations: what a model reads in training."""

from dataclasses import dataclass

from torch import Tensor

from vla_core.model.prompt import Tokens


@dataclass(frozen=True, eq=False)
class Windows:
    """Consecutive ticks, one sentence for each row.

    Attributes:
        images: (B, T, C, 3, S, S) preprocessed pictures, cameras in the order of the configuration; T is at most
            ``window_size``.
        tokens: One sentence per window.
        state: (B, T, 10) measured state, for ``use_state`` alone.
        actions: (B, T, 7) action of each tick, six normalised arm numbers and ``gripper_open``, for
            ``use_action_history`` alone.
    """

    images: Tensor
    tokens: Tokens
    state: Tensor | None = None
    actions: Tensor | None = None
