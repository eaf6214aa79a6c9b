# SPDX-License-Identifier: Apache-2.0
"""The structures that read each tick for itself; only the head joins the ticks.

This is ``policy_head_continuous``, and with a window of one tick ``one_step_continuous``.

Shapes: B batch or streams, T ticks, F frames (B * T), C cameras, V tokens per picture, P width of picture tokens,
E what the head reads.
"""

from torch import Tensor

from vla_core.model.config import Compat
from vla_core.model.continuous import ContinuousModel
from vla_core.model.heads.head import History, PredictedChunks
from vla_core.model.prompt import Tokens
from vla_core.model.readout import read_features
from vla_core.model.token_sequence import TokenSequence


class PolicyHeadModel(ContinuousModel):
    """One sequence per tick, then the head over the ticks. Arguments as ``VlaModel``."""

    def features(
        self,
        images_BTC3SS: Tensor,
        tokens: Tokens,
        *,
        state_BTS: Tensor | None = None,
        actions_BT7: Tensor | None = None,
    ) -> Tensor:
        """Return what the head reads (B, T, E) at each tick."""
        self._require_window(images_BTC3SS)
        batch, ticks = images_BTC3SS.shape[:2]
        pictures_FCVP = self.encode_pictures(images_BTC3SS.flatten(0, 1))
        state_FS = None if state_BTS is None else state_BTS.flatten(0, 1)
        compat = self.config.compat
        text = self.embed_tokens(tokens, compat=compat).repeat(ticks)
        features_FE = self.read_tick(pictures_FCVP, text, state_FS, compat=compat)
        return features_FE.reshape(batch, ticks, -1)

    def read_tick(
        self,
        pictures_FCVP: Tensor,
        text: TokenSequence,
        state_FS: Tensor | None = None,
        *,
        compat: Compat | None = None,
    ) -> Tensor:
        """Return what the head reads (F, E) of single ticks."""
        sequence = self.compose(text, pictures_FCVP, self._state_tokens(state_FS))
        return read_features(self.backbone.hidden_states(sequence), sequence, self.config, compat=compat)

    def step_encoded(
        self, pictures_BCVP: Tensor, text: TokenSequence, history: History, state_BS: Tensor | None = None
    ) -> tuple[PredictedChunks, History]:
        """Return the chunks (T = 1) for the newest pictures, and the history that includes them."""
        return self.head.step(self.read_tick(pictures_BCVP, text, state_BS), history)

    def new_history(self, num_streams: int = 1) -> History:
        """Return the history of streams that have seen nothing."""
        return self.head.new_history(num_streams)
