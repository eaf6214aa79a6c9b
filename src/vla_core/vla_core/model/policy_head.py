# SPDX-License-Identifier: Apache-2.0
"""The structures that read each tick for itself; only the head joins the ticks.

This is ``policy_head_continuous``, and with a window of one tick ``one_step_continuous``.

Shapes: B batch or streams, T ticks, F frames (B * T), C cameras, V tokens per picture, P width of picture tokens,
E what the head reads.
"""

from torch import Tensor

from vla_core.model.chunks import PredictedChunks
from vla_core.model.continuous import ContinuousModel
from vla_core.model.history import History
from vla_core.model.readout import read_features
from vla_core.model.token_sequence import TokenSequence
from vla_core.model.windows import Windows


class PolicyHeadModel(ContinuousModel):
    """One sequence per tick, then the head over the ticks. Arguments as ``VlaModel``."""

    @property
    def reads_past_lrn(self) -> bool:
        """Only pooled readouts do: attention is causal, and each tick is a sequence of its own."""
        return self.config.readout != "lrn"

    def features(self, windows: Windows) -> Tensor:
        """Return what the head reads (B, T, E) at each tick."""
        self._require_inputs(windows)
        batch, ticks = windows.images.shape[:2]
        pictures_FCVP = self.encode_pictures(windows.images.flatten(0, 1))
        state_FS = None if windows.state is None else windows.state.flatten(0, 1)
        text = self.embed_tokens(windows.tokens, padding_counts=self._padding_counts_in_training)
        return self.read_tick(pictures_FCVP, text.repeat(ticks), state_FS).reshape(batch, ticks, -1)

    def read_tick(self, pictures_FCVP: Tensor, text: TokenSequence, state_FS: Tensor | None = None) -> Tensor:
        """Return what the head reads (F, E) of single ticks."""
        sequence = self.compose(text, pictures_FCVP, self._state_tokens(state_FS))
        return read_features(self.backbone.hidden_states(sequence), sequence, self.config)

    def step_encoded(
        self, pictures_BCVP: Tensor, text: TokenSequence, history: History, state_BS: Tensor | None = None
    ) -> tuple[PredictedChunks, History]:
        """Return the chunks (T = 1) for the newest pictures, and the history that includes them."""
        return self.head.step(self.read_tick(pictures_BCVP, text, state_BS), history)

    def new_history(self, num_streams: int = 1) -> History:
        """Return the history of streams that have seen nothing."""
        return self.head.new_history(num_streams)
