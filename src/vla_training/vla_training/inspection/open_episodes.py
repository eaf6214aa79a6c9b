# SPDX-License-Identifier: Apache-2.0
"""A dataset's folder and the name of a split to the reader of its episodes."""

from pathlib import Path

from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.packed_folder import PACKED_FILE
from vla_training.datasets.splits import LEROBOT_INFO, Split, has_frames
from vla_training.inspection.calvin_source import CalvinSource
from vla_training.inspection.episode_source import EpisodeSource
from vla_training.inspection.lerobot_source import LeRobotSource
from vla_training.inspection.packed_source import PackedSource


def open_episodes(dataset: Path, split: Split) -> EpisodeSource:
    """Return the reader of a split in CALVIN's, the packed or LeRobot's layout.

    Raises:
        DatasetError: There is no such split, or it cannot be read.
    """
    if not has_episodes(dataset, split):
        raise DatasetError(
            f"{dataset}: no frames of the split '{split}'. Give the folder of a dataset: one that holds "
            "'training' and 'validation' in CALVIN's, the packed or LeRobot's layout"
        )
    folder = dataset / split
    if (folder / LEROBOT_INFO).exists():
        return LeRobotSource(folder)
    return PackedSource(folder) if (folder / PACKED_FILE).exists() else CalvinSource(folder)


def has_episodes(dataset: Path, split: Split) -> bool:
    """Return whether a dataset holds frames of a split."""
    return has_frames(dataset, split) or (dataset / split / LEROBOT_INFO).exists()
