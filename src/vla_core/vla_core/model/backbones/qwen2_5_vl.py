# SPDX-License-Identifier: Apache-2.0
"""Qwen2.5-VL: a vision transformer with windows, a merger of 2 x 2 patches, Qwen2.5.

The model reads pictures of any size; here a picture is square, of 224 px like those of the other backbones (or
of the next smaller size that whole merged patches fill): 64 tokens. ``<|vision_start|>`` and ``<|vision_end|>``
stand around it and count among its tokens. Rotary positions have three axes: a picture takes one step of time,
its merged patches lie on rows and columns from there, and the next word comes behind the last row.

Shapes: B batch, L tokens, A tokens of sequence and cache, V tokens per picture, D embedding, S image side, M
merged patches, N merged patches on a side.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from vla_core.model.backbones.hugging_face import HuggingFaceBackbone
from vla_core.model.config import PromptConfig
from vla_core.model.question import QuestionFormat
from vla_core.model.token_sequence import TokenSequence

_IMAGE_SIZE_PX = 224


class Qwen25VlBackbone(HuggingFaceBackbone):
    """Wraps ``transformers.Qwen2_5_VLForConditionalGeneration``."""

    title = "Qwen2.5-VL"
    model_types = ("qwen2_5_vl",)
    config_class = Qwen2_5_VLConfig
    model_class = Qwen2_5_VLForConditionalGeneration
    # 14 tokens up to and with the line break after "user" come before the pictures.
    prompt: ClassVar[PromptConfig] = PromptConfig(
        text="<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n{instruction}<|im_end|>\n<|im_start|>assistant\n",
        special_tokens=False,
        tokens_before_pictures=14,
        tokens_after_lrn=0,
    )
    question: ClassVar[QuestionFormat] = QuestionFormat(
        text="<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n{picture}{question}<|im_end|>\n<|im_start|>assistant\n",
        before=("<|vision_start|>",),
        place="<|image_pad|>",
        after=("<|vision_end|>",),
    )

    @staticmethod
    def _image_size_px(config: Any) -> int:
        step_px = int(config.vision_config.patch_size * config.vision_config.spatial_merge_size)
        return max(_IMAGE_SIZE_PX // step_px, 1) * step_px

    @property
    def _patches_per_side(self) -> int:
        return self.image_size_px // int(self._config.vision_config.patch_size)

    @property
    def _merged_per_side(self) -> int:
        return self._patches_per_side // int(self._config.vision_config.spatial_merge_size)

    @property
    def num_image_tokens(self) -> int:
        """V, tokens that one picture becomes: merged patches, start and end."""
        return self._merged_per_side**2 + 2

    @property
    def vision_tower(self) -> nn.Module:
        """The vision transformer with its merger."""
        return self.model.model.visual  # type: ignore[no-any-return]

    def encode_images(self, images_B3SS: Tensor) -> Tensor:
        """Return picture tokens (B, V, D)."""
        merged = self.vision_tower(self._flat_patches(images_B3SS), grid_thw=self._grid(images_B3SS)).pooler_output
        tokens_BMD = merged.unflatten(0, (images_B3SS.shape[0], -1))
        config = self._config
        return self._with_markers([config.vision_start_token_id], tokens_BMD, [config.vision_end_token_id])

    def native_inputs(self, ids_BL: Tensor, is_place_BL: Tensor, images_BC3SS: Tensor) -> dict[str, Any]:
        """Return what the transformers model calls words and the pictures whose places are among them."""
        images_B3SS = images_BC3SS.flatten(0, 1)
        return {
            "input_ids": ids_BL,
            "pixel_values": self._flat_patches(images_B3SS),
            "image_grid_thw": self._grid(images_B3SS),
            "mm_token_type_ids": is_place_BL.int(),
        }

    def _grid(self, images_B3SS: Tensor) -> Tensor:
        """Return frames, rows and columns (B, 3) of patches."""
        side = self._patches_per_side
        return torch.tensor([[1, side, side]] * images_B3SS.shape[0], device=images_B3SS.device)

    def _flat_patches(self, images_B3SS: Tensor) -> Tensor:
        """Return one row per patch, as the native processor orders them: patches that are merged come together."""
        vision = self._config.vision_config
        merge, patch, frames = vision.spatial_merge_size, vision.patch_size, vision.temporal_patch_size
        side = (self._merged_per_side, merge, patch)
        # B, channel, row of merged, row in merged, row in patch, and the same for columns
        split = images_B3SS.unflatten(3, side).unflatten(2, side)
        patches = split.permute(0, 2, 5, 3, 6, 1, 4, 7).flatten(0, 4)
        # A picture is a film of equal frames.
        return patches[:, :, None].expand(-1, -1, frames, -1, -1).flatten(1)  # type: ignore[no-any-return]

    def _positions(self, sequence: TokenSequence) -> Tensor:
        """Return positions (3, B, L) in time, rows and columns."""
        num_all, num_new, n = sequence.mask.shape[1], sequence.embeds.shape[1], self._merged_per_side
        index_M = torch.arange(n * n)
        # Behind a resampler, the tokens of a picture lie on no grid.
        is_grid = sequence.tokens_per_picture == self.num_image_tokens
        ends = [start + 1 + n * n for start in sequence.picture_starts if is_grid]
        # A cache that is fed piece by piece may end within a picture.
        steps_A = torch.ones(max([num_all, *ends]), dtype=torch.long)
        offsets_3A = torch.zeros(3, len(steps_A), dtype=torch.long)
        for end in ends:
            picture = slice(end - n * n, end)
            offsets_3A[1, picture], offsets_3A[2, picture] = index_M // n, index_M % n
            steps_A[picture] = 0
            steps_A[end - 1] = n
        is_counted_BA = torch.ones_like(sequence.mask) if sequence.positions is None else sequence.mask
        steps_BA = is_counted_BA.long() * steps_A[:num_all].to(is_counted_BA.device)
        positions_BA = steps_BA.cumsum(dim=1) - steps_BA
        positions_3BA = positions_BA + offsets_3A[:, None, :num_all].to(positions_BA.device)
        return positions_3BA[..., num_all - num_new :]


BACKBONE = Qwen25VlBackbone
