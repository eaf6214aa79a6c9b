# SPDX-License-Identifier: Apache-2.0
"""Lessons gathered into a packed split: one file per lesson first, so that an interrupted run goes on."""

import io
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vla_core.whole_file import write_whole
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.frame_store import Annotation
from vla_training.datasets.named_points import NamedPoints
from vla_training.datasets.packed_folder import PACKED_FILE, packed_header
from vla_training.tabletop.school import LessonRows

_NUMBERS = ("robot_obs", "rel_actions", "points")


class LessonShelf:
    """The lessons of a split that are there already, a file each.

    Args:
        split: The split's folder; lessons wait in a hidden folder beside it until all are there.
    """

    def __init__(self, split: Path) -> None:
        self.split = split
        self._folder = split.with_name(f".{split.name}.lessons")

    def missing(self, seeds: Iterable[int]) -> list[int]:
        """Return the seeds whose lessons are not there."""
        return [] if (self.split / PACKED_FILE).exists() else [s for s in seeds if not self._path(s).exists()]

    def put(self, rows: LessonRows) -> None:
        """Keep a lesson; it is there whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {name: getattr(rows, name) for name in _NUMBERS}
        arrays |= {f"picture_{name}": planes for name, planes in rows.pictures.items()}
        arrays["annotations"] = np.array(json.dumps([asdict(each) for each in rows.annotations]))
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_whole(self._path(rows.seed), buffer.getvalue())

    def gather(self, seeds: Sequence[int]) -> Path:
        """Return the packed split of all lessons, in the order of their seeds.

        Raises:
            DatasetError: A lesson is missing, or none holds a sentence.
        """
        if (self.split / PACKED_FILE).exists():
            return self.split
        if self.missing(seeds):
            raise DatasetError(f"{self._folder}: {len(self.missing(seeds))} lessons are missing; run again")
        draft = self.split.with_name(f".{self.split.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        self._write(draft, seeds)
        draft.rename(self.split)
        shutil.rmtree(self._folder)
        return self.split

    def _write(self, draft: Path, seeds: Sequence[int]) -> None:
        numbers: dict[str, list[Any]] = {name: [] for name in _NUMBERS}
        annotations: list[Annotation] = []
        count = 0
        for lesson in self._read(seeds):
            for name in _NUMBERS:
                numbers[name].append(lesson[name])
            annotations.extend(
                Annotation(**{**row, "start": row["start"] + count, "end": row["end"] + count})
                for row in json.loads(str(lesson["annotations"]))
            )
            count += len(lesson["robot_obs"])
        if not annotations:
            raise DatasetError(f"{self.split}: no lesson holds a sentence; ask for more lessons")
        cameras = self._write_pictures(draft, seeds, count)
        ids = np.arange(count, dtype=np.int64)
        np.save(draft / "ids.npy", ids)
        for name in ("robot_obs", "rel_actions"):
            np.save(draft / f"{name}.npy", np.concatenate(numbers[name]))
        NamedPoints(ids, cameras, np.concatenate(numbers["points"])).save(draft)
        (draft / PACKED_FILE).write_text(packed_header(cameras, annotations), encoding="utf-8")

    def _write_pictures(self, draft: Path, seeds: Sequence[int], count: int) -> tuple[str, ...]:
        arrays: dict[str, Any] = {}
        at = 0
        for lesson in self._read(seeds):
            length = len(lesson["robot_obs"])
            for key in (name for name in lesson.files if name.startswith("picture_")):
                planes = lesson[key]
                camera = key.removeprefix("picture_")
                if camera not in arrays:
                    arrays[camera] = np.lib.format.open_memmap(
                        draft / f"{camera}.npy", mode="w+", dtype=np.uint8, shape=(count, *planes.shape[1:])
                    )
                arrays[camera][at : at + length] = planes
            at += length
        for array in arrays.values():
            array.flush()
        return tuple(arrays)

    def _read(self, seeds: Sequence[int]) -> Iterator[Any]:
        for seed in seeds:
            with np.load(self._path(seed), allow_pickle=False) as lesson:
                yield lesson

    def _path(self, seed: int) -> Path:
        return self._folder / f"lesson_{seed:08d}.npz"
