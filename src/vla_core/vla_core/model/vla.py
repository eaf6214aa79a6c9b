# SPDX-License-Identifier: Apache-2.0
"""The whole model: pictures and a sentence at each tick -> [LRN] embedding -> LSTM -> chunk.

``forward`` is the windowed pass of training; ``step`` is one tick of a stream and encodes only the newest
pictures. Both give the same chunks. Ticks never see each other in the language model: only the LSTM joins them.

Shapes: B batch, T ticks (at most the window), C cameras in the order of the configuration, S image side, L tokens,
D embedding, Q [LRN] copies, E what the LSTM reads at a tick (Q * D), N chunk, F frames (B * T).
"""

import torch
from torch import Tensor, nn

from vla_core.model.backbone import Backbone
from vla_core.model.config import ModelConfig
from vla_core.model.heads.lstm_history import History, advance_history
from vla_core.model.token_sequence import LrnSequence, insert_lrn, insert_pictures, take_lrn
from vla_core.model.heads.lstm import LstmHead, PredictedChunks
from vla_core.model.prompt import Tokens


class VlaModel(nn.Module):
    """A vision-language backbone, one learnable token and an LSTM head, trained together.

    Args:
        config: Every choice about the model.
        backbone: The vision-language model; also an ``nn.Module``.

    Raises:
        ValueError: The configuration's image size is not the backbone's.
    """

    def __init__(self, config: ModelConfig, backbone: Backbone) -> None:
        super().__init__()
        if config.image.size_px != backbone.image_size_px:
            raise ValueError(
                f"image.size_px is {config.image.size_px}, but the backbone reads pictures of "
                f"{backbone.image_size_px} px; use that"
            )
        self.config = config
        self.backbone = backbone
        self.lrn_token = nn.Parameter(torch.zeros(backbone.embed_dim))
        self.head = LstmHead(
            config.head,
            embed_dim=backbone.embed_dim,
            chunk_size=config.chunk_size,
            num_lrn_tokens=config.num_lrn_tokens,
        )

    def init_lrn_token(self) -> None:
        """Draw [LRN] from the spread of the word embeddings.

        RoboVLMs starts from zeros, which is exactly what Kosmos-2 embeds padding as; a word-like start tells the
        two apart and has the scale that the language model is used to.
        """
        nn.init.normal_(self.lrn_token, std=self.backbone.embedding_std)

    @property
    def max_text_tokens(self) -> int:
        """Most tokens of text, BOS and EOS included, that leave room for pictures and [LRN]."""
        pictures = len(self.config.cameras) * self.backbone.num_image_tokens
        return self.backbone.max_tokens - pictures - self.config.num_lrn_tokens

    def forward(self, images_BTC3SS: Tensor, tokens: Tokens) -> PredictedChunks:
        """Return the chunk at each tick of a window that starts from the zero state.

        Args:
            images_BTC3SS: Preprocessed pictures; T is at most ``window_size``.
            tokens: One sentence per window.

        Raises:
            ValueError: There are more ticks than the window holds.
        """
        ticks, window = images_BTC3SS.shape[1], self.config.window_size
        if ticks > window:
            raise ValueError(
                f"found {ticks} ticks, the model's window holds {window}; cut the sequence into windows"
            )
        chunks: PredictedChunks
        chunks, _ = self.head(self.encode_ticks(images_BTC3SS, self.embed_tokens(tokens)))
        return chunks

    def step(self, images_BC3SS: Tensor, text: LrnSequence, history: History) -> tuple[PredictedChunks, History]:
        """Return the chunks (T = 1) for the newest pictures of B streams, and the history that includes them.

        Args:
            images_BC3SS: Preprocessed pictures of this tick.
            text: From ``embed_tokens``; the same at every tick of a sentence.
            history: From the previous tick, or ``new_history``.
        """
        return advance_history(self.head, history, self.encode_tick(images_BC3SS, text))

    def new_history(self, num_streams: int = 1) -> History:
        """Return the history of streams that have seen nothing."""
        return History.empty(self.head, self.config.window_size, num_streams)

    def embed_tokens(self, tokens: Tokens) -> LrnSequence:
        """Return sentences as embeddings with [LRN] inserted, before any picture."""
        return insert_lrn(
            self.backbone.embed_text(tokens.ids),
            tokens.mask,
            self.lrn_token,
            num_lrn=self.config.num_lrn_tokens,
            compat=self.config.compat,
        )

    def encode_ticks(self, images_BTC3SS: Tensor, text: LrnSequence) -> Tensor:
        """Return the [LRN] embeddings (B, T, E) of every tick."""
        batch, ticks = images_BTC3SS.shape[:2]
        lrn_FE = self.encode_tick(images_BTC3SS.flatten(0, 1), text.repeat(ticks))
        return lrn_FE.view(batch, ticks, -1)

    def encode_tick(self, images_BC3SS: Tensor, text: LrnSequence) -> Tensor:
        """Return the [LRN] embeddings (B, E) of one tick."""
        batch = images_BC3SS.shape[0]
        tokens_BVD = self.backbone.encode_images(images_BC3SS.flatten(0, 1))
        sequence = insert_pictures(text, tokens_BVD.reshape(batch, -1, tokens_BVD.shape[-1]))
        hidden_BLD = self.backbone.hidden_states(sequence.embeds, sequence.mask)
        return take_lrn(hidden_BLD, sequence)
