# SPDX-License-Identifier: Apache-2.0
"""A Perceiver resampler: the tokens of a picture to a fixed, smaller number (Flamingo, Alayrac et al. 2022).

Layers and parameter names are those of RoboVLMs (``vision_resampler``), so that its weights load.

Shapes: F pictures, V tokens per picture, M latents, P width, A heads, H width of a head.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_core.model.config import ResamplerConfig

_FEED_FORWARD_FACTOR = 4


class PerceiverResampler(nn.Module):
    """Learned queries that attend to a picture's tokens.

    Args:
        config: Sizes.
        dim: P, width of the tokens.
    """

    def __init__(self, config: ResamplerConfig, dim: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(config.num_latents, dim))
        self.layers = nn.ModuleList(
            nn.ModuleList([_Attention(config, dim), _feed_forward(dim)]) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens_FVP: Tensor) -> Tensor:
        """Return (F, M, P)."""
        latents_FMP = self.latents.to(tokens_FVP.dtype).expand(len(tokens_FVP), -1, -1)
        for layer in self.layers:
            attend, feed_forward = cast(nn.ModuleList, layer)
            latents_FMP = attend(tokens_FVP, latents_FMP) + latents_FMP
            latents_FMP = feed_forward(latents_FMP) + latents_FMP
        return self.norm(latents_FMP)  # type: ignore[no-any-return]


class _Attention(nn.Module):
    """Latents attend to the tokens and to each other."""

    def __init__(self, config: ResamplerConfig, dim: int) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        inner = config.num_heads * config.head_dim
        self.norm_media = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, inner * 2, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(self, tokens_FVP: Tensor, latents_FMP: Tensor) -> Tensor:
        latents = self.norm_latents(latents_FMP)
        key, value = self.to_kv(torch.cat([self.norm_media(tokens_FVP), latents], dim=1)).chunk(2, dim=-1)
        heads = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (self.to_q(latents), key, value)
        )
        attended_FAMH = functional.scaled_dot_product_attention(*heads)
        return self.to_out(attended_FAMH.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _feed_forward(dim: int) -> nn.Sequential:
    inner = dim * _FEED_FORWARD_FACTOR
    return nn.Sequential(
        nn.LayerNorm(dim), nn.Linear(dim, inner, bias=False), nn.GELU(), nn.Linear(inner, dim, bias=False)
    )
