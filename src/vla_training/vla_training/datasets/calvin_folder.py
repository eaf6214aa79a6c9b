# SPDX-License-Identifier: Apache-2.0
"""A split in CALVIN's layout: one ``episode_XXXXXXX.npz`` per frame, sentences in ``auto_lang_ann.npy``.

Only the arrays that somebody uses are read from a frame. The numbers of all annotated frames are read once and
kept beside the run's other caches, because a frame per file makes them slow to reach.
"""

import hashlib
import os
import re
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vla_training.datasets.dataset_card import DatasetCard
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.frame_store import Annotation, FrameNumbers, Ids, annotated_ids
from vla_training.datasets.object_array import read_object

ANNOTATIONS = Path("lang_annotations") / "auto_lang_ann.npy"
CAMERA_KEYS = {"static": "rgb_static", "wrist": "rgb_gripper"}
_FRAME = re.compile(r"(.*?)(\d+)\.npz")
_READERS = 8
# All frames of a recorded dataset; of CALVIN a sample, because asking for a million files takes minutes.
_SAMPLED_FRAMES = 8192


class CalvinFolder:
    """One split of a dataset in CALVIN's layout.

    Args:
        folder: ``.../training`` or ``.../validation``.
        show_progress: Show a bar while numbers are read for the first time.

    Raises:
        DatasetError: The folder holds no frames or no sentences.
    """

    def __init__(self, folder: Path | str, *, show_progress: bool = True) -> None:
        self.folder = Path(folder)
        self.card = DatasetCard.load(self.folder.parent)
        self._prefix, self._digits = _name_pattern(self.folder)
        self._show_progress = show_progress
        self.annotations = read_annotations(self.folder)

    def frame_path(self, frame_id: int) -> Path:
        """Return the file of a frame."""
        return self.folder / f"{self._prefix}{frame_id:0{self._digits}d}.npz"

    def pictures(self, camera: str, ids: Sequence[int] | Ids) -> NDArray[np.uint8]:
        """Return the (n, H, W, 3) pictures of a camera; see ``FrameStore``."""
        key = CAMERA_KEYS[camera]
        pictures = [self._read(int(frame_id), (key,))[0] for frame_id in ids]
        for frame_id, picture in zip(ids, pictures, strict=True):
            if picture.shape != pictures[0].shape or picture.ndim != 3:
                raise DatasetError(
                    f"{self.frame_path(int(frame_id))}: {key} has shape {picture.shape}, frame {ids[0]} has "
                    f"{pictures[0].shape}; all pictures of a camera must be alike"
                )
        return np.stack(pictures)

    @cached_property
    def numbers(self) -> FrameNumbers:
        """Numbers of every annotated frame; see ``FrameStore``."""
        ids = annotated_ids(self.annotations)
        cache = _cache_folder() / f"numbers-{self._fingerprint(ids)}.npz"
        if cache.exists():
            with np.load(cache) as arrays:
                return FrameNumbers(ids, arrays["robot_obs"], arrays["rel_actions"])
        numbers = self._read_numbers(ids)
        _save_atomically(cache, robot_obs=numbers.robot_obs, rel_actions=numbers.rel_actions)
        return numbers

    def _read_numbers(self, ids: Ids) -> FrameNumbers:
        robot_obs, rel_actions = np.zeros((len(ids), 15)), np.zeros((len(ids), 7))

        def read(row: int) -> None:
            tables = {"robot_obs": robot_obs, "rel_actions": rel_actions}
            for (key, table), found in zip(tables.items(), self._read(int(ids[row]), tuple(tables)), strict=True):
                if found.shape != table[row].shape or not np.isfinite(found).all():
                    raise DatasetError(
                        f"{self.frame_path(int(ids[row]))}: {key} must be {table.shape[1]} finite numbers, found "
                        f"{found.tolist() if found.size < 32 else found.shape}. Leave its episode out, or copy "
                        "the file again"
                    )
                table[row] = found

        hidden = not self._show_progress or len(ids) < 10_000
        with ThreadPoolExecutor(_READERS) as pool:
            rows = pool.map(read, range(len(ids)))
            for _ in tqdm(rows, total=len(ids), desc=f"numbers of {self.folder}", disable=hidden):
                pass
        return FrameNumbers(ids, robot_obs, rel_actions)

    def _read(self, frame_id: int, keys: tuple[str, ...]) -> list[NDArray[np.uint8]]:
        path = self.frame_path(frame_id)
        try:
            with np.load(path, allow_pickle=False) as frame:
                missing = sorted(set(keys) - set(frame.files))
                if missing:
                    raise DatasetError(
                        f"{path}: '{missing[0]}' is missing; the file holds {sorted(frame.files)}. Leave out "
                        "what needs it (of pictures: model.cameras), or this source"
                    )
                return [frame[key] for key in keys]
        except FileNotFoundError:
            raise DatasetError(
                f"{path}: no such file, but an annotation names frame {frame_id}. Copy the whole dataset"
            ) from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
            if isinstance(error, DatasetError):
                raise
            raise DatasetError(f"{path}: damaged: {error}. Copy the file again") from error

    def _fingerprint(self, ids: Ids) -> str:
        """Return a word that changes when the folder, its sentences or its frames are others."""
        digest = hashlib.sha256(str(self.folder.resolve()).encode())
        digest.update(ids.tobytes())
        for frame_id in ids[:: max(len(ids) // _SAMPLED_FRAMES, 1)]:
            path = self.frame_path(int(frame_id))
            status = path.stat() if path.exists() else None
            digest.update(f"{status.st_mtime_ns} {status.st_size}".encode() if status else b"-")
        return digest.hexdigest()[:24]


def read_annotations(folder: Path) -> tuple[Annotation, ...]:
    """Return the sentences of a split, in the order of the file.

    Raises:
        DatasetError: There is no file of sentences, or it does not fit CALVIN's layout.
    """
    paths = [folder / ANNOTATIONS, folder / ANNOTATIONS.name]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        raise DatasetError(f"{folder}: no {ANNOTATIONS}; it holds the sentences. Copy the whole dataset")
    data = read_object(path)
    try:
        ranges, words = data["info"]["indx"], data["language"]
        rows = list(zip(ranges, words["ann"], words["task"], strict=True))
        found = tuple(Annotation(int(s), int(e), str(ann), str(task)) for (s, e), ann, task in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: does not fit CALVIN's layout ({error!r})") from error
    for annotation in found:
        if not 0 <= annotation.start <= annotation.end:
            raise DatasetError(
                f"{path}: '{annotation.instruction}' reaches from {annotation.start} to {annotation.end}; "
                "allowed are frames from 0 on, the first before the last. Copy the file again"
            )
    return found


def _name_pattern(folder: Path) -> tuple[str, int]:
    """Return prefix and number of digits of the frames' file names."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder. Give the folder that holds 'training' and 'validation'")
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _FRAME.fullmatch(entry.name)
            if match:
                return match[1], len(match[2])
    raise DatasetError(f"{folder}: holds no frames (episode_0000000.npz and so on)")


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "vla_training"


def _save_atomically(path: Path, **arrays: NDArray[np.float64]) -> None:
    """Keep arrays; a cache that cannot be written is done without."""
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(partial, **arrays)  # type: ignore[arg-type]
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
