# SPDX-License-Identifier: Apache-2.0
"""A dataset's folder and the name of a split to the reader of its layout."""

from pathlib import Path
from typing import Literal, get_args

from vla_training.datasets.calvin_folder import CalvinFolder
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.frame_store import FrameStore
from vla_training.datasets.named_points import POINTS_FILE
from vla_training.datasets.packed_folder import PACKED_FILE, PackedFolder

Split = Literal["training", "validation"]
SPLITS: tuple[Split, ...] = get_args(Split)
LEROBOT_INFO = Path("meta") / "info.json"
"""What tells LeRobot's layout."""


def has_frames(dataset: Path | str, split: Split) -> bool:
    """Return whether a dataset holds frames of a split; of few episodes none may be for validation."""
    folder = Path(dataset) / split
    frames = (path for path in folder.glob("*.npz") if path.name != POINTS_FILE)
    return (folder / PACKED_FILE).exists() or next(frames, None) is not None


def open_split(dataset: Path | str, split: Split) -> FrameStore:
    """Return the reader of one split of a dataset (CALVIN's layout or the packed one).

    Args:
        dataset: The folder that holds ``training`` and ``validation``.
        split: Which of them.

    Raises:
        DatasetError: The folder holds no such split, or one that cannot be read.
    """
    folder = Path(dataset) / split
    if not folder.is_dir():
        raise DatasetError(
            f"{dataset}: no folder '{split}'. Give the folder of a dataset: one that holds 'training' and "
            "'validation' (CALVIN's task_D_D, task_ABC_D, task_ABCD_D, or what bag_to_dataset has written)"
        )
    if (folder / LEROBOT_INFO).exists():
        raise DatasetError(f"{folder}: is LeRobot's layout; training reads CALVIN's: convert with --format calvin")
    return PackedFolder(folder) if (folder / PACKED_FILE).exists() else CalvinFolder(folder)
