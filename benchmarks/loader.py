# SPDX-License-Identifier: Apache-2.0
"""How many samples a second reach the model, against RoboVLMs' loader on the same dataset, in the same run.

Usage: python benchmarks/loader.py [--batch-size 8] [--seconds 15] [--workers 1]

Window 8, chunk 10, 224 px, two cameras, random shifts; ``--workers`` processes read, one trains (here: waits). A
sample counts when its pictures are normalised and augmented float32 tensors on the device. First it is checked
that both loaders give equal tensors without augmentation.
"""

import argparse
import functools
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from calvin_like import write_calvin_like
from machine import machine
from robovlms_loader import RoboVlmsDataset
from robovlms_loader import collate as robovlms_collate
from torch.utils.data import DataLoader

from vla_core.actions.action_space import ActionSpace
from vla_core.actions.normalization import NormalizationSpec
from vla_core.images import ImageSpec
from vla_training.datasets.augmentation import Augmentation, AugmentationConfig
from vla_training.datasets.batches import collate, pictures_to_device, target_chunks
from vla_training.datasets.frame_store import FrameStore
from vla_training.datasets.splits import open_split
from vla_training.datasets.window_dataset import WindowDataset
from vla_training.pack_dataset import pack_dataset

WINDOW, CHUNK = 8, 10
SPEC = ImageSpec(size_px=224)
SPACE = ActionSpace(frame="base", normalization=NormalizationSpec.symmetric(0.65))
CAMERAS = ("static", "wrist")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
AUGMENTATION = Augmentation(AugmentationConfig(shift_px={"static": 10, "wrist": 4}), seed=0)


def windows(store: FrameStore) -> WindowDataset:
    """Return our windows of a split."""
    return WindowDataset(store, SPACE, cameras=CAMERAS, window_size=WINDOW, chunk_size=CHUNK)


def orders(count: int) -> Iterator[int]:
    """Return an endless row of samples in a random order."""
    generator = torch.Generator().manual_seed(0)
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


class EndlessBatches(torch.utils.data.Sampler[list[int]]):
    """Random batches without an end."""

    def __init__(self, count: int, size: int) -> None:
        self._count, self._size = count, size

    def __iter__(self) -> Iterator[list[int]]:
        row = orders(self._count)
        while True:
            yield list(itertools.islice(row, self._size))


def samples_per_second(
    dataset: Any, collate_fn: Callable[[Any], Any], to_device: Callable[[Any], Any], options: argparse.Namespace
) -> float:
    """Return the rate of a loader, after the first batches."""
    batches = DataLoader(
        dataset,
        batch_sampler=EndlessBatches(len(dataset), options.batch_size),
        collate_fn=collate_fn,
        num_workers=options.workers,
        multiprocessing_context="forkserver" if options.workers else None,
    )
    row = iter(batches)
    for _ in range(2):
        to_device(next(row))
    count, began = 0, time.monotonic()
    while time.monotonic() - began < options.seconds:
        to_device(next(row))
        count += options.batch_size
    return count / (time.monotonic() - began)


def ours_to_device(batch: Any) -> Any:
    """Return what the model reads of our batch."""
    return (
        pictures_to_device(batch, CAMERAS, SPEC, AUGMENTATION, device=DEVICE),
        target_chunks(batch, WINDOW, CHUNK, DEVICE),
    )


def robovlms_to_device(batch: Any) -> Any:
    """Move everything, as RoboVLMs does: the strided view of future pictures becomes memory of its own."""
    return {
        key: value.contiguous().to(DEVICE, copy=True)
        for key, value in batch.items()
        if isinstance(value, torch.Tensor)
    }


def require_equal(folder: Path, ours: WindowDataset) -> None:
    """Check that both loaders give equal tensors."""
    theirs = RoboVlmsDataset(folder, SPEC, WINDOW, CHUNK, augment=False)
    picked = [0, 40, 56, len(ours) - 1]
    batch = collate([ours[i] for i in picked])
    expected = robovlms_collate([theirs[i] for i in picked], WINDOW, CHUNK)
    pictures = pictures_to_device(batch, CAMERAS, SPEC, None, device=torch.device("cpu"))
    target = target_chunks(batch, WINDOW, CHUNK, torch.device("cpu"))
    torch.testing.assert_close(pictures[:, :, 0], expected["rgb_static"], rtol=0, atol=0)
    torch.testing.assert_close(pictures[:, :, 1], expected["rgb_gripper"], rtol=0, atol=0)
    torch.testing.assert_close(target.is_valid, expected["mask"])
    chunks = torch.cat([target.arm, target.gripper_open[..., None]], dim=-1)
    torch.testing.assert_close(chunks, expected["actions"], rtol=0, atol=1e-6)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    print(f"{machine()}; torch {torch.__version__}, device {DEVICE.type}, {options.workers} worker")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folder = write_calvin_like(root / "plain" / "training")
        pack_dataset(root / "plain", root / "packed")
        pack_dataset(root / "plain", root / "small", size_px=SPEC.size_px)
        ours = {name: windows(open_split(root / name, "training")) for name in ("plain", "packed", "small")}
        for each in ours.values():
            require_equal(folder, each)
        theirs = functools.partial(robovlms_collate, window_size=WINDOW, chunk_size=CHUNK)
        baseline = samples_per_second(
            RoboVlmsDataset(folder, SPEC, WINDOW, CHUNK), theirs, robovlms_to_device, options
        )
        print("\n| loader | samples/s | faster |\n|---|---:|---:|")
        print(f"| RoboVLMs' | {baseline:.2f} | 1.0 x |")
        labels = {"plain": "ours, CALVIN's files", "packed": "ours, packed", "small": "ours, packed at 224 px"}
        for name, label in labels.items():
            rate = samples_per_second(ours[name], collate, ours_to_device, options)
            print(f"| {label} | {rate:.1f} | {rate / baseline:.0f} x |", flush=True)


if __name__ == "__main__":
    main()
