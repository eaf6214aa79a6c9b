# SPDX-License-Identifier: Apache-2.0
"""A split in CALVIN's layout to the packed layout: resumable, and there only when it is whole."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from vla_core.model.resize import resize
from vla_core.whole_file import write_json
from vla_training.datasets.calvin_folder import CAMERA_KEYS, CalvinFolder
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.frame_store import Ids
from vla_training.datasets.named_points import NamedPoints
from vla_training.datasets.packed_folder import PACKED_FILE, packed_header

_BATCH = 64
_READERS = 8
_PROGRESS = "progress.json"


def pack_split(source: CalvinFolder, target: Path, *, size_px: int | None = None) -> Path:
    """Write a split in the packed layout; return its folder. What an interrupted run has packed is kept.

    Args:
        source: The split to read; only frames that a sentence reaches are packed.
        target: Folder to make.
        size_px: Side of square pictures, resized exactly as a model would; ``None`` keeps them as they are.

    Raises:
        DatasetError: A frame cannot be read, or the target holds another dataset.
    """
    numbers = source.numbers
    if (target / PACKED_FILE).exists():
        _require_same(target, source, size_px)
        _carry_points(source, target)
        return target
    if not len(numbers.ids):
        raise DatasetError(f"{source.folder}: no sentence reaches a frame; there is nothing to pack")
    cameras = _cameras_of(source, int(numbers.ids[0]))
    partial = target.with_name(f".{target.name}.packing")
    partial.mkdir(parents=True, exist_ok=True)
    done = _frames_done(partial, source, size_px)
    arrays = {camera: _open_array(partial, camera, source, size_px, resumes=done > 0) for camera in cameras}
    with tqdm(total=len(numbers.ids), initial=done, desc=f"packing {source.folder}", unit="frame") as bar:
        for rows in _batches(done, len(numbers.ids)):
            for camera, array in arrays.items():
                array[rows] = _planes(_read(source, camera, numbers.ids[rows]), size_px)
                array.flush()
            _note_progress(partial, source, size_px, rows.stop)
            bar.update(rows.stop - rows.start)
    for name in ("ids", "robot_obs", "rel_actions"):
        np.save(partial / f"{name}.npy", getattr(numbers, name))
    _carry_points(source, partial)
    (partial / PACKED_FILE).write_text(packed_header(cameras, source.annotations), encoding="utf-8")
    (partial / _PROGRESS).unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    return partial.rename(target)


def _carry_points(source: CalvinFolder, target: Path) -> None:
    """Write the named points of packed frames, where the source has some; they may come after the packing."""
    points = NamedPoints.load(source.folder)
    if points is not None:
        points.of(source.numbers.ids).save(target)


def _require_same(packed: Path, source: CalvinFolder, size_px: int | None) -> None:
    """Refuse a packed split of other frames, or of pictures of another size."""
    for name in ("ids", "robot_obs", "rel_actions"):
        if not np.array_equal(np.load(packed / f"{name}.npy"), getattr(source.numbers, name)):
            raise DatasetError(f"{packed}: holds another dataset than {source.folder}. Give another --out")
    first = source.numbers.ids[:1]
    for camera in _cameras_of(source, int(first[0])):
        found = np.load(packed / f"{camera}.npy", mmap_mode="r").shape[2:]
        wanted = source.pictures(camera, first).shape[1:3] if size_px is None else (size_px, size_px)
        if found != wanted:
            raise DatasetError(
                f"{packed}: holds pictures '{camera}' of {found[1]}x{found[0]} pixels, asked for are "
                f"{wanted[1]}x{wanted[0]}. Give another --out"
            )


def _cameras_of(source: CalvinFolder, frame_id: int) -> list[str]:
    path = source.frame_path(frame_id)
    try:
        with np.load(path, allow_pickle=False) as frame:
            return [camera for camera, key in CAMERA_KEYS.items() if key in frame.files]
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read: {error}. Copy the file again") from error


def _batches(first: int, total: int) -> Iterator[slice]:
    for begin in range(first, total, _BATCH):
        yield slice(begin, min(begin + _BATCH, total))


def _read(source: CalvinFolder, camera: str, ids: Ids) -> NDArray[np.uint8]:
    with ThreadPoolExecutor(_READERS) as pool:
        return np.concatenate(list(pool.map(lambda frame_id: source.pictures(camera, [frame_id]), ids)))


def _planes(pictures: NDArray[np.uint8], size_px: int | None) -> NDArray[np.uint8]:
    """Return pictures (n, H, W, 3) as planes (n, 3, H, W), resized if a size is given."""
    count, height, width, _ = pictures.shape
    planes = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    if size_px is None or (height, width) == (size_px, size_px):
        return planes.numpy()
    squares = resize(planes.flatten(0, 1), size_px, "bicubic").to(torch.uint8)
    return squares.view(count, 3, size_px, size_px).numpy()


def _open_array(
    folder: Path, camera: str, source: CalvinFolder, size_px: int | None, *, resumes: bool
) -> "np.memmap[Any, Any]":
    path = folder / f"{camera}.npy"
    if resumes:
        return np.lib.format.open_memmap(path, mode="r+")
    ids = source.numbers.ids
    _, height, width, _ = source.pictures(camera, ids[:1]).shape
    side = (height, width) if size_px is None else (size_px, size_px)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(ids), 3, *side))


def _state(source: CalvinFolder, size_px: int | None) -> dict[str, Any]:
    ids: Sequence[int] = source.numbers.ids.tolist()
    return {"source": str(source.folder.resolve()), "size_px": size_px, "frames": len(ids), "first": ids[0]}


def _note_progress(folder: Path, source: CalvinFolder, size_px: int | None, done: int) -> None:
    write_json(folder / _PROGRESS, {**_state(source, size_px), "done": done})


def _frames_done(folder: Path, source: CalvinFolder, size_px: int | None) -> int:
    path = folder / _PROGRESS
    if not path.exists():
        return 0
    found = json.loads(path.read_text())
    done = int(found.pop("done"))
    if found != _state(source, size_px):
        raise DatasetError(
            f"{folder}: holds the beginning of another packing ({found}). Remove it, or pack the same dataset"
        )
    return done
