# SPDX-License-Identifier: Apache-2.0
"""What all structures share: pictures and a sentence become the sequence that the language model reads.

``forward`` is the windowed pass of training; ``step`` is one tick of a stream and encodes only the newest
pictures. Both give the same chunks. The structures are ``policy_head.py``, ``interleaved.py`` and
``one_step_discrete.py``.

Shapes: B batch or streams, T ticks (at most the window), F frames (B * T), C cameras in the order of the
configuration, S image side, L tokens, V tokens per picture, K extra tokens, D embedding, P width of picture
tokens, Q [LRN] copies, N chunk.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from vla_core.model.backbone import Backbone
from vla_core.model.chunks import PredictedChunks
from vla_core.model.config import ModelConfig
from vla_core.model.extra_tokens import PastActionToken, StateToken
from vla_core.model.history import History
from vla_core.model.language_regulariser import LanguageRegulariser
from vla_core.model.loss import PolicyLoss, TargetChunks
from vla_core.model.prompt import Tokens
from vla_core.model.resampler import PerceiverResampler
from vla_core.model.token_sequence import TokenSequence, insert_before_lrn, insert_lrn, insert_pictures
from vla_core.model.windows import Windows


class VlaModel(nn.Module, ABC):
    """A vision-language backbone, learnable tokens and what turns hidden states into actions, trained together.

    Attributes:
        has_fixed_shapes: Whether a step reads sequences of one length, so that it is worth compiling.

    Args:
        config: Every choice about the model.
        backbone: The vision-language model; also an ``nn.Module``.

    Raises:
        ValueError: The configuration does not fit the backbone.
    """

    has_fixed_shapes: ClassVar[bool] = True

    def __init__(self, config: ModelConfig, backbone: Backbone) -> None:
        super().__init__()
        if config.image.size_px != backbone.image_size_px:
            raise ValueError(
                f"image.size_px is {config.image.size_px}, but the backbone reads pictures of "
                f"{backbone.image_size_px} px; use that"
            )
        if config.readout == "pictures" and not backbone.pictures_in_sequence:
            raise ValueError(
                f"readout pictures needs a backbone with pictures in its sequence, but {config.backbone} attends "
                "to them beside it; use lrn, text or all"
            )
        self.config = config
        self.backbone = backbone
        has_lrn = config.readout == "lrn" and config.action_tokens is None
        self.lrn_token = nn.Parameter(torch.zeros(backbone.embed_dim)) if has_lrn else None
        self.resampler = (
            PerceiverResampler(config.resampler, backbone.picture_dim) if config.resampler is not None else None
        )
        self.state_token = StateToken(backbone.embed_dim) if config.use_state else None
        self.past_action_token = PastActionToken(backbone.embed_dim) if config.use_action_history else None

    def init_new_tokens(self) -> None:
        """Draw [LRN] from the spread of the word embeddings, and scale the other tokens to it.

        RoboVLMs starts [LRN] from zeros, which is exactly what Kosmos-2 embeds padding as; a word-like start tells
        the two apart and has the scale that the language model is used to.
        """
        std = self.backbone.embedding_std
        if self.lrn_token is not None:
            nn.init.normal_(self.lrn_token, std=std)
        for token in (self.state_token, self.past_action_token):
            if token is not None:
                token.init_scale(std)

    @property
    def reads_past_lrn(self) -> bool:
        """Whether what is behind [LRN] can change a step; otherwise text may be padded there without a mask."""
        return True

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.parameters()).dtype

    @property
    def max_text_tokens(self) -> int:
        """Most tokens of text, with those that the tokenizer adds, that leave room for everything else."""
        num_lrn = self.config.num_lrn_tokens if self.lrn_token is not None else 0
        extra = sum(token is not None for token in (self.state_token, self.past_action_token))
        return self._tokens_per_tick - self._num_picture_tokens - num_lrn - extra

    @property
    def _tokens_per_tick(self) -> int:
        return self.backbone.max_tokens

    @property
    def tokens_per_picture(self) -> int:
        """V, tokens that a picture becomes, behind the resampler if there is one."""
        resampler = self.config.resampler
        return resampler.num_latents if resampler is not None else self.backbone.num_image_tokens

    @property
    def _num_picture_tokens(self) -> int:
        return len(self.config.cameras) * self.tokens_per_picture if self.backbone.pictures_in_sequence else 0

    @abstractmethod
    def loss(
        self, windows: Windows, target: TargetChunks, language: LanguageRegulariser | None = None
    ) -> PolicyLoss:
        """Return the training loss of a batch of windows.

        Args:
            windows: What the model reads.
            target: What the demonstration did.
            language: Regulariser for ``loss.language_weight``.

        Raises:
            ValueError: There are more ticks than the window holds, an input is missing, or one does not belong to
                the structure.
        """

    @abstractmethod
    def step_encoded(
        self, pictures_BCVP: Tensor, text: TokenSequence, history: History, state_BS: Tensor | None = None
    ) -> tuple[PredictedChunks, History]:
        """As ``step``, for pictures that ``encode_pictures`` has encoded."""

    @abstractmethod
    def new_history(self, num_streams: int = 1) -> History:
        """Return the history of streams that have seen nothing."""

    def step(
        self, images_BC3SS: Tensor, text: TokenSequence, history: History, state_BS: Tensor | None = None
    ) -> tuple[PredictedChunks, History]:
        """Return the chunks (T = 1) for the newest pictures of B streams, and the history that includes them.

        Args:
            images_BC3SS: Preprocessed pictures of this tick.
            text: From ``embed_tokens``; the same at every tick of a sentence.
            history: From the previous tick, or ``new_history``.
            state_BS: (B, 10) measured state, for ``use_state``.
        """
        return self.step_encoded(self.encode_pictures(images_BC3SS), text, history, state_BS)

    def embed_tokens(self, tokens: Tokens, *, padding_counts: bool = False) -> TokenSequence:
        """Return sentences as embeddings with [LRN] inserted, before any picture.

        Args:
            tokens: The sentences.
            padding_counts: Treat padding as a part of its row, as RoboVLMs' training does. A stream never does: it
                must not depend on other streams.
        """
        text = TokenSequence(
            self.backbone.embed_text(tokens.ids),
            tokens.mask,
            lrn_position=tokens.mask.sum(dim=1),
            num_lrn=0,
            has_padding=tokens.has_padding,
            padding_counts=padding_counts,
        )
        after = self.config.prompt.tokens_after_lrn
        return insert_lrn(text, self.lrn_token, num_lrn=self.config.num_lrn_tokens, tokens_after=after)

    def encode_pictures(self, images_FC3SS: Tensor) -> Tensor:
        """Return the tokens of pictures (F, C, V, P); all cameras go through the vision tower together."""
        tokens_FVP = self.backbone.encode_images(images_FC3SS.flatten(0, 1))
        if self.resampler is not None:
            tokens_FVP = self.resampler(tokens_FVP)
        return tokens_FVP.reshape(*images_FC3SS.shape[:2], *tokens_FVP.shape[1:])

    def compose(
        self, text: TokenSequence, pictures_FCVP: Tensor, extra_FKD: Tensor | None = None
    ) -> TokenSequence:
        """Return the sequence of single ticks: text with extra tokens and pictures in their places."""
        sequence = text if extra_FKD is None else insert_before_lrn(text, extra_FKD)
        if not self.backbone.pictures_in_sequence:
            return replace(sequence, pictures=pictures_FCVP.flatten(1, 2))
        return insert_pictures(sequence, pictures_FCVP, after=self.config.prompt.tokens_before_pictures)

    def _state_tokens(self, state_FS: Tensor | None) -> Tensor | None:
        if self.state_token is None:
            return None
        return self.state_token(self._require_state(state_FS))[:, None]  # type: ignore[no-any-return]

    @staticmethod
    def _require_state(state: Tensor | None) -> Tensor:
        if state is None:
            raise ValueError("the model was made with use_state: give the robot's state of each tick")
        return state

    @property
    def _padding_counts_in_training(self) -> bool:
        return self.config.compat == "robovlms"

    def _require_inputs(self, windows: Windows) -> None:
        """Refuse windows that are too long, or that hold less or more than the model reads."""
        ticks, window = windows.images.shape[1], self.config.window_size
        if ticks > window:
            raise ValueError(
                f"found {ticks} ticks, the model's window holds {window}; cut the sequence into windows"
            )
        inputs = (
            ("use_state", "the robot's state of each tick", windows.state, self.state_token),
            ("use_action_history", "the action of each tick", windows.actions, self.past_action_token),
        )
        for key, what, found, part in inputs:
            if part is not None and found is None:
                raise ValueError(f"the model was made with {key}: give {what}")
            if part is None and found is not None:
                raise ValueError(f"the model was made without {key}: leave out {what}")
