# SPDX-License-Identifier: Apache-2.0
"""The baseline of loader.py: RoboVLMs' CALVIN loader, re-implemented plainly.

What it does for every sample (``robovlms/data/calvin_dataset.py``): opens W + N frames, decodes every array that
it knows of each, takes all W + N pictures of both cameras through PIL one by one, normalises, and shifts each on a
grid; the batch holds the future pictures of every tick, which no loss reads.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from vla_core.images import ImageSpec

KEYS = ("rgb_static", "rgb_gripper", "robot_obs", "rel_actions", "scene_obs")
PADS = {"rgb_static": 10, "rgb_gripper": 4}


class RoboVlmsDataset(Dataset[dict[str, Any]]):
    """Windows of a split, as RoboVLMs reads them."""

    def __init__(
        self, folder: Path, spec: ImageSpec, window_size: int, chunk_size: int, *, augment: bool = True
    ) -> None:
        self._folder, self._spec, self._augment = folder, spec, augment
        self._window_size, self._chunk_size = window_size, chunk_size
        path = folder / "lang_annotations" / "auto_lang_ann.npy"
        data = np.load(path, allow_pickle=True).item()
        self._samples = [
            (start, end, sentence)
            for (first, end), sentence in zip(data["info"]["indx"], data["language"]["ann"], strict=True)
            for start in range(first, end + 1 - window_size)
        ]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int) -> dict[str, Any]:
        start, end, sentence = self._samples[number]
        wanted = np.arange(start, start + self._window_size + self._chunk_size)
        frames = [self._load(int(min(frame, end))) for frame in wanted]
        sample: dict[str, Any] = {key: self._pictures([frame[key] for frame in frames], key) for key in PADS}
        actions = np.stack([frame["rel_actions"] for frame in frames])
        arm = 2 * (np.clip(actions[:, :6], -0.65, 0.65) + 0.65) / 1.3 - 1
        gripper = (actions[:, 6:] + 1) // 2
        sample["actions"] = torch.from_numpy(np.concatenate([arm, gripper], axis=1)).float()
        sample["mask"] = torch.from_numpy(wanted < end)
        return {**sample, "sentence": sentence}

    def _load(self, frame: int) -> dict[str, np.ndarray]:
        with np.load(self._folder / f"episode_{frame:07d}.npz") as stored:
            return {key: stored[key] for key in KEYS}

    def _pictures(self, pictures: list[np.ndarray], key: str) -> Tensor:
        side = self._spec.size_px
        mean, std = (torch.tensor(values)[:, None, None] for values in (self._spec.mean, self._spec.std))
        tensors = []
        for picture in pictures:
            resized = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
            levels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float().div(255)
            tensors.append((levels - mean) / std)
        stacked = torch.stack(tensors)
        return _shifted(stacked, PADS[key]) if self._augment else stacked


def collate(samples: list[dict[str, Any]], window_size: int, chunk_size: int) -> dict[str, Any]:
    """Return a batch, with the future pictures of every tick."""
    batch: dict[str, Any] = {"sentences": [sample["sentence"] for sample in samples]}
    for key in PADS:
        pictures = torch.stack([sample[key] for sample in samples])
        batch[key] = pictures[:, :window_size]
        future = pictures.unfold(1, chunk_size, 1).permute(0, 1, 5, 2, 3, 4)[:, 1:]
        batch[f"future_{key}"] = future[:, :window_size]
    actions = torch.stack([sample["actions"] for sample in samples])[:, :-1]
    batch["actions"] = actions.unfold(1, chunk_size, 1).permute(0, 1, 3, 2)
    batch["mask"] = torch.stack([sample["mask"] for sample in samples])[:, :-1].unfold(1, chunk_size, 1)
    return batch


def _shifted(pictures: Tensor, pad: int) -> Tensor:
    """Return pictures (T, 3, S, S), each shifted for itself, through a sampling grid."""
    count, _, side, _ = pictures.shape
    padded = functional.pad(pictures, (pad,) * 4, "replicate")
    whole = side + 2 * pad
    along = torch.linspace(-1 + 1 / whole, 1 - 1 / whole, whole)[:side]
    grid = torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1).expand(count, -1, -1, -1)
    shift = torch.randint(1, 2 * pad + 1, (count, 1, 1, 2)).float() * 2 / whole
    return functional.grid_sample(padded, grid + shift, padding_mode="zeros", align_corners=False)
