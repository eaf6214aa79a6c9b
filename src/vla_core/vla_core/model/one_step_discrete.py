# SPDX-License-Identifier: Apache-2.0
"""The structure that writes actions as words: one tick, then a chunk of 7 N action tokens, one after the other.

The sequence is ``[BOS][pictures][text][action tokens][EOS]``. Training reads the whole of it at once; a step
decodes greedily with a cache of keys and values. Under ``compat="robovlms"`` any word may win, and one that is no
action counts as the nearest bin; otherwise only action tokens compete.

Shapes: B batch or streams, C cameras, V tokens per picture, P width of picture tokens, N chunk, A tokens of a
chunk (7 N), L tokens, D embedding, Y words of the vocabulary.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from vla_core.model.action_tokens import actions_of, token_ids_of
from vla_core.model.backbone import Backbone
from vla_core.model.chunks import PredictedChunks
from vla_core.model.config import ActionTokenConfig, ModelConfig
from vla_core.model.extra_tokens import ACTION_DIM
from vla_core.model.history import History
from vla_core.model.language_regulariser import LanguageRegulariser
from vla_core.model.loss import PolicyLoss, TargetChunks
from vla_core.model.token_sequence import TokenSequence, insert_before_lrn
from vla_core.model.vla import VlaModel
from vla_core.model.windows import Windows

_IGNORED = -100


class OneStepDiscreteModel(VlaModel):
    """Actions as tokens of the language model; there is no head. Arguments as ``VlaModel``.

    Raises:
        ValueError: The vocabulary has no such tokens.
    """

    has_fixed_shapes = False  # it reads one word more at every word that it writes

    def __init__(self, config: ModelConfig, backbone: Backbone) -> None:
        super().__init__(config, backbone)
        vocabulary, end = backbone.vocabulary_size, self._action_tokens.end_token_id
        if end > vocabulary:
            raise ValueError(
                f"action_tokens.end_token_id is {end}, but the backbone knows {vocabulary} words; it must not be "
                "above that"
            )

    @property
    def max_text_tokens(self) -> int:
        """Most tokens of text that leave room for pictures and the chunk."""
        return super().max_text_tokens - ACTION_DIM * self.config.chunk_size

    @property
    def _action_tokens(self) -> ActionTokenConfig:
        assert self.config.action_tokens is not None, "ModelConfig refuses this"
        return self.config.action_tokens

    def loss(
        self, windows: Windows, target: TargetChunks, language: LanguageRegulariser | None = None
    ) -> PolicyLoss:
        """Return the cross-entropy of the action tokens, and of the token that ends them where there is one."""
        if language is not None:
            raise ValueError(
                "structure one_step_discrete has no features to pull towards a sentence; leave the language "
                "regulariser out"
            )
        ids_BA = token_ids_of(_normalized(target), self._action_tokens)
        scores_BAY = self.token_scores(windows, ids_BA)
        is_valid_BA = target.is_valid[:, 0].bool().repeat_interleave(ACTION_DIM, dim=1)
        labels_BA = ids_BA.masked_fill(~is_valid_BA, _IGNORED)
        scored_BAY, after, tokens = scores_BAY[:, :-1], self.config.prompt.tokens_after_lrn, windows.tokens
        if after:
            end_B1 = tokens.ids.gather(1, (tokens.mask.sum(dim=1) - after)[:, None])
            scored_BAY, labels_BA = scores_BAY, torch.cat([labels_BA, end_B1], dim=1)
        entropy = functional.cross_entropy(
            scored_BAY.flatten(0, 1).float(), labels_BA.flatten(), ignore_index=_IGNORED
        )
        return self._with_metrics(entropy, scores_BAY[:, :-1], ids_BA, is_valid_BA)

    def token_scores(self, windows: Windows, ids_BA: Tensor) -> Tensor:
        """Return the scores (B, A + 1, Y) of every word in the place of each action token and of the next one.

        Args:
            windows: What the model reads; T is 1.
            ids_BA: Action tokens that are read (teacher forcing).
        """
        self._require_inputs(windows)
        text = self.embed_tokens(windows.tokens)
        state_BS = None if windows.state is None else windows.state[:, 0]
        pictures_BCVP = self.encode_pictures(windows.images[:, 0])
        sequence = self.compose(text, pictures_BCVP, self._state_tokens(state_BS))
        sequence = insert_before_lrn(sequence, self.backbone.embed_text(ids_BA))
        # insert_before_lrn leaves lrn_position behind the actions; the token before the first one predicts it.
        first_B = sequence.lrn_position - ids_BA.shape[1] - 1
        index_BA = first_B[:, None] + torch.arange(ids_BA.shape[1] + 1, device=ids_BA.device)
        hidden_BLD = self.backbone.hidden_states(sequence)
        hidden_BAD = hidden_BLD.gather(1, index_BA[..., None].expand(-1, -1, hidden_BLD.shape[-1]))
        return self.backbone.logits(hidden_BAD)

    def step_encoded(
        self, pictures_BCVP: Tensor, text: TokenSequence, history: History, state_BS: Tensor | None = None
    ) -> tuple[PredictedChunks, History]:
        """Return the decoded chunks (T = 1) of this tick."""
        sequence = self.compose(text, pictures_BCVP, self._state_tokens(state_BS))
        ids_BA = torch.cat([self._decode(row) for row in _rows_of_equal_length(sequence)])
        values_BN7 = actions_of(ids_BA, self._action_tokens).unflatten(1, (self.config.chunk_size, ACTION_DIM))
        gripper_logit_BN = torch.logit((values_BN7[..., 6] + 1.0) / 2.0)
        chunks = PredictedChunks(values_BN7[:, None, :, :6], gripper_logit_BN[:, None])
        return chunks, History(num_ticks=history.num_ticks + 1)

    def new_history(self, num_streams: int = 1) -> History:
        """Return an empty history."""
        return History(num_ticks=torch.zeros(num_streams, dtype=torch.long, device=self.device))

    def _decode(self, sequence: TokenSequence) -> Tensor:
        """Return the action tokens (B, A) that follow sequences of one length."""
        cache = self.backbone.new_cache()
        length = int(sequence.lrn_position[0])
        read = replace(sequence, embeds=sequence.embeds[:, :length], mask=sequence.mask[:, :length])
        ids = []
        for _ in range(ACTION_DIM * self.config.chunk_size):
            hidden_BLD = self.backbone.hidden_states(read, cache)
            ids.append(self._best(self.backbone.logits(hidden_BLD[:, -1:])[:, 0]))
            mask_BL = torch.cat([read.mask, read.mask.new_ones(len(read.mask), 1)], dim=1)
            read = replace(sequence, embeds=self.backbone.embed_text(ids[-1][:, None]), mask=mask_BL)
        return torch.stack(ids, dim=1)

    def _best(self, scores_BY: Tensor) -> Tensor:
        if self.config.compat == "robovlms":
            return scores_BY.argmax(dim=-1)
        end, num_bins = self._action_tokens.end_token_id, self._action_tokens.num_bins
        return scores_BY[:, end - num_bins : end].argmax(dim=-1) + end - num_bins

    def _with_metrics(
        self, entropy: Tensor, scores_BAY: Tensor, ids_BA: Tensor, is_valid_BA: Tensor
    ) -> PolicyLoss:
        with torch.no_grad():
            best_BA = scores_BAY.argmax(dim=-1)
            is_right_BA = (best_BA == ids_BA).float()
            is_gripper_A = torch.arange(ids_BA.shape[1], device=ids_BA.device) % ACTION_DIM == ACTION_DIM - 1
            best, right = (actions_of(ids, self._action_tokens) for ids in (best_BA, ids_BA))
            metrics = {
                "arm_accuracy": _mean(is_right_BA, is_valid_BA & ~is_gripper_A),
                "action_l1": _mean((best - right).abs(), is_valid_BA),
            }
            gripper_accuracy = _mean(is_right_BA, is_valid_BA & is_gripper_A)
        return PolicyLoss(entropy, entropy, torch.zeros_like(entropy), gripper_accuracy, metrics)


def _normalized(target: TargetChunks) -> Tensor:
    """Return (B, A): the chunk of the only tick, the gripper as -1 (close) to +1 (open)."""
    gripper_BN1 = target.gripper_open[:, 0, :, None].to(target.arm.dtype) * 2.0 - 1.0
    return torch.cat([target.arm[:, 0], gripper_BN1], dim=-1).flatten(1)


def _mean(value: Tensor, is_counted: Tensor) -> Tensor:
    return (value * is_counted).sum() / is_counted.sum().clamp(min=1)


def _rows_of_equal_length(sequence: TokenSequence) -> list[TokenSequence]:
    """Return the batch as it is where all rows are equally long, otherwise row by row: a cache knows no gaps."""
    positions_B = sequence.lrn_position
    if bool((positions_B == positions_B[0]).all()):
        return [sequence]
    return [
        replace(
            sequence,
            embeds=sequence.embeds[i : i + 1],
            mask=sequence.mask[i : i + 1],
            lrn_position=positions_B[i : i + 1],
            pictures=None if sequence.pictures is None else sequence.pictures[i : i + 1],
        )
        for i in range(len(positions_B))
    ]
