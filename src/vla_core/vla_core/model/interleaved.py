# SPDX-License-Identifier: Apache-2.0
"""The structure that reads the whole window as one sequence: the ticks' pictures, sentence and [LRN], in order.

RoboVLMs' ``history_type: pre``. With causal attention the [LRN] of a tick sees the ticks before it. A stream keeps
the encoded pictures of the last W ticks and reads the window again at every tick: positions move when the oldest
tick leaves, so nothing that the language model computed can be kept.

Shapes: B batch or streams, T ticks, W window, F frames (B * T), C cameras, V tokens per picture, P width of
picture tokens, K extra tokens, D embedding, E what the head reads.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vla_core.model.chunks import PredictedChunks
from vla_core.model.continuous import ContinuousModel
from vla_core.model.extra_tokens import ACTION_DIM
from vla_core.model.history import History
from vla_core.model.readout import read_features
from vla_core.model.token_sequence import TokenSequence, join_ticks, split_ticks
from vla_core.model.window import push, replace_newest, take_newest
from vla_core.model.windows import Windows
from vla_core.robot_state import STATE_DIM


@dataclass(frozen=True, eq=False, kw_only=True)
class InterleavedHistory(History):
    """What the last ticks showed and did.

    Attributes:
        pictures: (B, W, C, V, P) encoded pictures.
        state: (B, W, 10) measured state, or (B, W, 0).
        actions: (B, W, 7) first action of each prediction, or (B, W, 0).
    """

    pictures: Tensor
    state: Tensor
    actions: Tensor


class InterleavedModel(ContinuousModel):
    """One sequence per window. Arguments as ``VlaModel``."""

    @property
    def _tokens_per_tick(self) -> int:
        if self.config.compat == "robovlms":
            return self.backbone.max_tokens  # the original lets positions grow beyond what it was made for
        return self.backbone.max_tokens // self.config.window_size

    def features(self, windows: Windows) -> Tensor:
        """Return what the head reads (B, T, E) at each tick."""
        self._require_inputs(windows)
        pictures_FCVP = self.encode_pictures(windows.images.flatten(0, 1))
        pictures_BTCVP = pictures_FCVP.reshape(*windows.images.shape[:2], *pictures_FCVP.shape[1:])
        text = self.embed_tokens(windows.tokens, padding_counts=self._padding_counts_in_training)
        return self._read_window(pictures_BTCVP, text, windows.state, windows.actions)

    def step_encoded(
        self, pictures_BCVP: Tensor, text: TokenSequence, history: History, state_BS: Tensor | None = None
    ) -> tuple[PredictedChunks, InterleavedHistory]:
        """Return the chunks (T = 1) for the newest pictures, and the history that includes them."""
        assert isinstance(history, InterleavedHistory)
        ticks_B = history.num_ticks
        pictures = push(history.pictures, pictures_BCVP, ticks_B)
        state = history.state
        if self.state_token is not None:
            state = push(state, self._require_state(state_BS), ticks_B)
        # The oldest action leaves with its tick; what lies at the newest is not read before it is known.
        shifted = push(history.actions, torch.zeros_like(history.actions[:, 0]), ticks_B)
        features_BWE = self._read_window(pictures, text, state, shifted)
        newest: PredictedChunks = self.head(take_newest(features_BWE, ticks_B)[:, None])
        action_B7 = torch.cat([newest.arm[:, 0, 0], newest.gripper_logit[:, 0, :1].sigmoid()], dim=-1)
        actions = replace_newest(shifted, action_B7, ticks_B) if self.past_action_token is not None else shifted
        after = InterleavedHistory(num_ticks=ticks_B + 1, pictures=pictures, state=state, actions=actions)
        return newest, after

    def new_history(self, num_streams: int = 1) -> InterleavedHistory:
        """Return the history of streams that have seen nothing."""
        config, backbone = self.config, self.backbone
        shape = (num_streams, config.window_size)
        zeros = next(self.parameters()).new_zeros
        return InterleavedHistory(
            num_ticks=torch.zeros(num_streams, dtype=torch.long, device=self.device),
            pictures=zeros(*shape, len(config.cameras), self.tokens_per_picture, backbone.picture_dim),
            state=zeros(*shape, STATE_DIM if self.state_token is not None else 0),
            actions=zeros(*shape, ACTION_DIM if self.past_action_token is not None else 0),
        )

    def _read_window(
        self,
        pictures_BTCVP: Tensor,
        text: TokenSequence,
        state_BTS: Tensor | None,
        actions_BT7: Tensor | None,
    ) -> Tensor:
        batch, ticks = pictures_BTCVP.shape[:2]
        extra_FKD = self._extra_tokens(state_BTS, actions_BT7)
        tick = self.compose(text.repeat(ticks), pictures_BTCVP.flatten(0, 1), extra_FKD)
        hidden_FLD = split_ticks(self.backbone.hidden_states(join_ticks(tick, ticks)), ticks)
        return read_features(hidden_FLD, tick, self.config).reshape(batch, ticks, -1)

    def _extra_tokens(self, state_BTS: Tensor | None, actions_BT7: Tensor | None) -> Tensor | None:
        tokens = [self._state_tokens(None if state_BTS is None else state_BTS.flatten(0, 1))]
        if self.past_action_token is not None:
            assert actions_BT7 is not None, "_require_inputs or the history has seen to it"
            tokens.append(self.past_action_token.of_previous(actions_BT7).flatten(0, 1)[:, None])
        present = [token for token in tokens if token is not None]
        return torch.cat(present, dim=1) if present else None
