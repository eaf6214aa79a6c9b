# SPDX-License-Identifier: Apache-2.0
"""LeRobot's layout, version 3.0: ``training`` and ``validation`` are each a dataset that ``LeRobotDataset`` loads.

Parquet for numbers, MP4 for pictures, both one file per episode: an episode is in place by two renames, and a
dataset is appended to without touching what is there. The format allows several episodes per file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_core.errors import ConfigError
from vla_training.conversion.episode_writer import (
    DatasetFacts,
    DemonstrationFrame,
    EpisodeWriter,
    FramesBegin,
    StoredEpisode,
)
from vla_training.conversion.lerobot_features import PICTURES, numbers_of
from vla_training.conversion.lerobot_meta import add_tasks, data_file, video_file, write_meta, write_parquet
from vla_training.conversion.lerobot_statistics import PictureStatistics, statistics_of_numbers
from vla_training.conversion.lerobot_video import VideoWriter
from vla_training.datasets.splits import SPLITS

_DRAFT = "frames.parquet"


class LeRobotFormat:
    """A folder with a LeRobot dataset per split.

    Args:
        facts: What is the same for every frame.

    Raises:
        ConfigError: The rate is not a whole number, as LeRobot demands.
    """

    def __init__(self, facts: DatasetFacts) -> None:
        fps = 1.0 / facts.period_s
        if abs(fps - round(fps)) > 1e-6:
            raise ConfigError(f"rate_hz is {fps:g}; LeRobot's layout has whole numbers only. Choose one")
        self._facts, self._fps = facts, round(fps)

    def writer(self) -> EpisodeWriter:
        """Return a new writer."""
        return _LeRobotWriter(self._facts, self._fps)

    def place(self, folder: Path, out: Path, episode: StoredEpisode) -> None:
        """Number the frames of an episode and move its files; what was moved before is left as it is."""
        root = out / episode.split
        draft = folder / _DRAFT
        if draft.exists():
            tasks = add_tasks(root, [stretch.instruction for stretch in episode.stretches])
            target = data_file(root, episode.index)
            write_parquet(_numbered(pq.read_table(draft), episode, tasks), target)
        for name in self._facts.spec.cameras:
            source = folder / f"{name}.mp4"
            if source.exists():
                target = video_file(root, PICTURES + name, episode.index)
                target.parent.mkdir(parents=True, exist_ok=True)
                source.rename(target)

    def write_index(self, out: Path, episodes: Sequence[StoredEpisode]) -> None:
        """Write ``meta`` of both splits; a split without episodes has none."""
        for split in SPLITS:
            own = [episode for episode in episodes if episode.split == split]
            if own:
                write_meta(out / split, self._facts, self._fps, own)


class _LeRobotWriter:
    """Writes the frames of one episode at a time."""

    def __init__(self, facts: DatasetFacts, fps: int) -> None:
        self._spec, self._fps = facts.spec, fps
        self._videos: dict[str, VideoWriter] = {}

    def begin(self, folder: Path, episode: FramesBegin) -> None:
        """Start an episode."""
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self._pictures = {name: PictureStatistics() for name in self._spec.cameras}
        self._videos = {
            name: VideoWriter(folder / f"{name}.mp4", self._fps, camera.width_px, camera.height_px)
            for name, camera in self._spec.cameras.items()
        }

    def add(self, frame: DemonstrationFrame) -> None:
        """Encode the pictures, keep the numbers."""
        for name, picture in frame.observation.images.items():
            self._videos[name].add(picture)
            self._pictures[name].add(picture)
        self._rows.append(numbers_of(frame))

    def finish(self) -> Mapping[str, Any]:
        """Close the files; return the statistics of the episode."""
        self._close_videos()
        columns = {name: np.stack([row[name] for row in self._rows]) for name in self._rows[0]}
        frame_index = np.arange(len(self._rows), dtype=np.int64)
        columns |= {"timestamp": (frame_index / self._fps).astype(np.float32), "frame_index": frame_index}
        table = {name: _column(values) for name, values in columns.items()}
        pq.write_table(pa.table(table), self._folder / _DRAFT)
        statistics = {PICTURES + name: own.to_plain() for name, own in self._pictures.items()}
        return statistics | {name: statistics_of_numbers(values) for name, values in columns.items()}

    def abort(self) -> None:
        """Close the videos, whatever they hold."""
        self._close_videos()

    def _close_videos(self) -> None:
        for video in self._videos.values():
            video.close()
        self._videos = {}


def _column(values: Any) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _numbered(table: pa.Table, episode: StoredEpisode, tasks: Mapping[str, int]) -> pa.Table:
    """Return the frames with the numbers of their episode, of themselves in the split, and of their sentence."""
    task_index = np.concatenate(
        [
            np.full(stretch.last - stretch.first + 1, tasks[stretch.instruction], dtype=np.int64)
            for stretch in episode.stretches
        ]
    )
    counters = {
        "episode_index": np.full(episode.num_frames, episode.index, dtype=np.int64),
        "index": np.arange(episode.first_frame, episode.first_frame + episode.num_frames, dtype=np.int64),
        "task_index": task_index,
    }
    for name, values in counters.items():
        table = table.append_column(name, pa.array(values))
    return table
