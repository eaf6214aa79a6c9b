# SPDX-License-Identifier: Apache-2.0
"""Episodes of a dataset in LeRobot's layout, as ``bag_to_dataset --format lerobot`` writes it."""

import json
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vla_core.actions.gripper import calvin_from_open
from vla_core.geometry import Pose
from vla_training.conversion.lerobot_features import (
    ACTION,
    GRIPPER_BEFORE,
    PICTURES,
    POSE_NAMES,
    STAMP,
    STATE,
    TARGET,
)
from vla_training.conversion.lerobot_meta import EPISODES, data_file, read_tasks, video_file
from vla_training.datasets.dataset_card import DATASET_FILE, GRIPPER_WIDTH_OPEN_M, DatasetCard
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.frame_store import Annotation
from vla_training.datasets.splits import LEROBOT_INFO
from vla_training.inspection.episode_source import EpisodeNumbers, EpisodeSpan

_COLUMNS = [STATE, ACTION, TARGET, GRIPPER_BEFORE, STAMP]


class LeRobotSource:
    """One split; see ``EpisodeSource``.

    Args:
        folder: Folder of the split, which holds ``meta``.

    Raises:
        DatasetError: The folder is incomplete, or was not written by ``bag_to_dataset``.
    """

    layout = "LeRobot"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / DATASET_FILE).exists():
            raise DatasetError(
                f"{folder}: no {DATASET_FILE}; it says what the actions mean. Only LeRobot datasets that "
                "bag_to_dataset has written can be read here"
            )
        self.card = DatasetCard.load(folder)
        try:
            self._features: dict[str, Any] = json.loads((folder / LEROBOT_INFO).read_text(encoding="utf-8"))[
                "features"
            ]
            self._rows = pq.read_table(
                folder / EPISODES, columns=["episode_index", "dataset_from_index", "dataset_to_index"]
            ).to_pylist()
            missing = sorted(set(_COLUMNS) - set(self._features))
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise DatasetError(
                f"{folder / 'meta'}: not readable: {error}. Convert again, or copy again"
            ) from error
        if missing:
            raise DatasetError(f"{folder / LEROBOT_INFO}: no feature '{missing[0]}'. Convert the bags again")

    @property
    def cameras(self) -> tuple[str, ...]:
        """See ``EpisodeSource``."""
        return tuple(name.removeprefix(PICTURES) for name in self._features if name.startswith(PICTURES))

    @cached_property
    def episodes(self) -> tuple[EpisodeSpan, ...]:
        """See ``EpisodeSource``."""
        return tuple(
            EpisodeSpan(row["episode_index"], row["dataset_from_index"], row["dataset_to_index"] - 1)
            for row in self._rows
        )

    @cached_property
    def annotations(self) -> tuple[Annotation, ...]:
        """See ``EpisodeSource``."""
        sentences, found = read_tasks(self.folder), []
        for episode in self.episodes:
            numbers = self._table(episode, ["task_index"])["task_index"].to_numpy()
            cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
            for start, end in pairwise(cuts):
                last = min(episode.first + end, episode.last)
                found.append(Annotation(episode.first + start, last, sentences[numbers[start]], ""))
        return tuple(found)

    def numbers(self, episode: EpisodeSpan) -> EpisodeNumbers:
        """See ``EpisodeSource``."""
        table = self._table(episode, _COLUMNS)
        state, action, target = (np.stack(table[name].to_numpy()).astype(np.float64) for name in _COLUMNS[:3])
        position_m, first, second = state[:, :3], state[:, 3:6], state[:, 6:9]
        pose = Pose(position_m, Rotation.from_matrix(np.stack([first, second, np.cross(first, second)], axis=-1)))
        joints = state[:, len(POSE_NAMES) :][:, :7]
        robot_obs = np.concatenate(
            [
                *(position_m, pose.euler_xyz_rad, state[:, 9:10] * GRIPPER_WIDTH_OPEN_M),
                np.pad(joints, ((0, 0), (0, 7 - joints.shape[1]))),
                calvin_from_open(table[GRIPPER_BEFORE].to_numpy())[:, None],
            ],
            axis=1,
        )
        return EpisodeNumbers(
            robot_obs=robot_obs,
            rel_actions=np.concatenate([action[:, :6], calvin_from_open(action[:, 6:])], axis=1),
            stamps_ns=table[STAMP].to_numpy(),
            targets=Pose(target[:, :3], Rotation.from_quat(target[:, 3:])),
        )

    def pictures(self, camera: str, ids: Sequence[int]) -> list[NDArray[np.uint8]]:
        """See ``EpisodeSource``; decodes as far as the last of them in each episode."""
        found: dict[int, NDArray[np.uint8]] = {}
        firsts = [episode.first for episode in self.episodes]
        numbers = np.searchsorted(firsts, ids, side="right") - 1
        for number in np.unique(numbers).tolist():
            wanted = {own - firsts[number] for own, k in zip(ids, numbers, strict=True) if k == number}
            path = video_file(self.folder, PICTURES + camera, self.episodes[number].index)
            found |= {firsts[number] + k: picture for k, picture in _decoded(path, wanted).items()}
        return [found[own] for own in ids]

    def _table(self, episode: EpisodeSpan, columns: list[str]) -> pa.Table:
        path = data_file(self.folder, episode.index)
        try:
            table = pq.read_table(path, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(f"{path}: damaged: {error}. Copy the file again") from error
        if len(table) != len(episode):
            raise DatasetError(f"{path}: {len(table)} rows, but meta says {len(episode)}. Copy the dataset again")
        return table


def _decoded(path: Path, wanted: set[int]) -> dict[int, NDArray[np.uint8]]:
    found: dict[int, NDArray[np.uint8]] = {}
    try:
        with av.open(str(path)) as video:
            for number, frame in enumerate(video.decode(video=0)):
                if number in wanted:
                    found[number] = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
                if len(found) == len(wanted):
                    return found
    except (OSError, av.FFmpegError) as error:
        raise DatasetError(f"{path}: damaged: {error}. Copy the file again") from error
    raise DatasetError(f"{path}: the video ends before frame {max(wanted)}. Copy the file again")
