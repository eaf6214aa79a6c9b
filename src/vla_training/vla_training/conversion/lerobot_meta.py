# SPDX-License-Identifier: Apache-2.0
"""The folder ``meta`` of a LeRobot dataset (version 3.0), and where the files of its episodes lie."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vla_core.checkpoint_card import RobotSnapshot
from vla_core.config import to_plain
from vla_core.whole_file import write_json, write_yaml
from vla_training.conversion.episode_writer import DatasetFacts, StoredEpisode
from vla_training.conversion.lerobot_features import COUNTERS, features_of
from vla_training.conversion.lerobot_statistics import Statistics, merged_statistics, statistics_of_numbers
from vla_training.datasets.dataset_card import DATASET_FILE, DatasetCard
from vla_training.datasets.splits import LEROBOT_INFO

VERSION = "v3.0"
TASKS = Path("meta") / "tasks.parquet"
EPISODES = Path("meta") / "episodes" / "chunk-000" / "file-000.parquet"
FILES_PER_CHUNK = 1000
_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_SENTENCE = "__index_level_0__"


def data_file(root: Path, episode: int) -> Path:
    """Return the file of an episode's numbers."""
    return root / _DATA.format(**_place(episode))


def video_file(root: Path, key: str, episode: int) -> Path:
    """Return the file of an episode's pictures of one camera."""
    return root / _VIDEO.format(video_key=key, **_place(episode))


def read_tasks(root: Path) -> list[str]:
    """Return the sentences of a dataset by their number; none where there is no file yet."""
    path = root / TASKS
    if not path.exists():
        return []
    table = pq.read_table(path).to_pydict()
    order = np.argsort(table["task_index"])
    return [str(table[_SENTENCE][k]) for k in order]


def add_tasks(root: Path, sentences: Iterable[str]) -> dict[str, int]:
    """Return sentence to number, after giving numbers to new sentences; the old ones keep theirs."""
    known = read_tasks(root)
    all_of_them = list(dict.fromkeys([*known, *sentences]))
    if len(all_of_them) > len(known):
        numbers = pa.array(range(len(all_of_them)), type=pa.int64())
        # The index of the table that pandas makes of it is the sentence: so LeRobot looks for it.
        table = pa.table({"task_index": numbers, _SENTENCE: pa.array(all_of_them)})
        write_parquet(table.replace_schema_metadata({"pandas": _PANDAS_INDEX}), root / TASKS)
    return {sentence: number for number, sentence in enumerate(all_of_them)}


def write_meta(root: Path, facts: DatasetFacts, fps: int, episodes: Sequence[StoredEpisode]) -> None:
    """Write everything of ``meta`` but the sentences, ``info.json`` last.

    Args:
        root: Folder of the dataset.
        facts: What is the same for every frame.
        fps: Frames per second.
        episodes: All its episodes, in order.
    """
    features = features_of(facts.spec, fps)
    videos = [name for name, feature in features.items() if feature["dtype"] == "video"]
    tasks = read_tasks(root)
    counters = [_counter_statistics(episode, tasks) for episode in episodes]
    rows = [_episode_row(own, fps, videos, more) for own, more in zip(episodes, counters, strict=True)]
    write_parquet(pa.Table.from_pylist(rows), root / EPISODES)
    write_json(root / "meta" / "stats.json", _whole_statistics(root, features, episodes, counters))
    card = DatasetCard(
        robot=RobotSnapshot.of(facts.spec), action_space=facts.action_space, period_s=facts.period_s
    )
    write_yaml(root / DATASET_FILE, to_plain(card))
    info = {
        "codebase_version": VERSION,
        "robot_type": facts.spec.name,
        "total_episodes": len(episodes),
        "total_frames": sum(episode.num_frames for episode in episodes),
        "total_tasks": len(tasks),
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": _DATA,
        "video_path": _VIDEO,
        "features": features,
    }
    write_json(root / LEROBOT_INFO, info)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table, at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    pq.write_table(table, draft)
    draft.replace(path)


def _place(episode: int) -> dict[str, int]:
    return {"chunk_index": episode // FILES_PER_CHUNK, "file_index": episode % FILES_PER_CHUNK}


def _episode_row(
    episode: StoredEpisode, fps: int, videos: Sequence[str], counters: dict[str, Statistics]
) -> dict[str, Any]:
    place = _place(episode.index)
    row: dict[str, Any] = {
        "episode_index": episode.index,
        "tasks": list(dict.fromkeys(stretch.instruction for stretch in episode.stretches)),
        "length": episode.num_frames,
        **{f"data/{name}": number for name, number in place.items()},
        "dataset_from_index": episode.first_frame,
        "dataset_to_index": episode.first_frame + episode.num_frames,
    }
    for key in videos:
        row |= {f"videos/{key}/{name}": number for name, number in place.items()}
        row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": episode.num_frames / fps}
    for feature, own in (episode.facts | counters).items():
        row |= {f"stats/{feature}/{name}": value for name, value in own.items()}
    return row | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}


def _counter_statistics(episode: StoredEpisode, tasks: Sequence[str]) -> dict[str, Statistics]:
    """Return the statistics of what is numbered when an episode is put into its place."""
    numbers = {
        "episode_index": np.full(episode.num_frames, episode.index),
        "index": np.arange(episode.first_frame, episode.first_frame + episode.num_frames),
        "task_index": np.concatenate(
            [np.full(own.last - own.first + 1, tasks.index(own.instruction)) for own in episode.stretches]
        ),
    }
    return {name: statistics_of_numbers(values) for name, values in numbers.items()}


def _whole_statistics(
    root: Path,
    features: dict[str, dict[str, Any]],
    episodes: Sequence[StoredEpisode],
    counters: Sequence[dict[str, Statistics]],
) -> dict[str, Statistics]:
    """Return the statistics of all frames; quantiles of vectors are exact, one feature in memory at a time."""
    whole: dict[str, Statistics] = {}
    for name, feature in features.items():
        if feature["dtype"] == "float32" and name not in COUNTERS:
            columns = (pq.read_table(data_file(root, own.index), columns=[name])[name] for own in episodes)
            values = np.concatenate([_values(column, feature["shape"][0]) for column in columns])
            whole[name] = statistics_of_numbers(values)
        else:
            parts = [(own.facts | more)[name] for own, more in zip(episodes, counters, strict=True)]
            whole[name] = merged_statistics(parts)
    return whole


def _values(column: pa.ChunkedArray, width: int) -> Any:
    flat = column.combine_chunks()
    return (flat.flatten() if width > 1 else flat).to_numpy(zero_copy_only=False).reshape(-1, width)


_PANDAS_INDEX = (
    '{"index_columns": ["__index_level_0__"], "column_indexes": [{"name": null, "field_name": null, '
    '"pandas_type": "unicode", "numpy_type": "object", "metadata": {"encoding": "UTF-8"}}], "columns": '
    '[{"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64", '
    '"metadata": null}, {"name": null, "field_name": "__index_level_0__", "pandas_type": "unicode", '
    '"numpy_type": "object", "metadata": null}], "creator": {"library": "pyarrow", "version": "1"}, '
    '"pandas_version": "2.0.0"}'
)
