# SPDX-License-Identifier: Apache-2.0
"""Episodes of a folder in CALVIN's layout, frames without a sentence included."""

import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_core.geometry import Pose
from vla_training.datasets.calvin_folder import CAMERA_KEYS, CalvinFolder
from vla_training.datasets.dataset_card import DatasetCard
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.frame_store import Annotation
from vla_training.inspection.episode_source import EpisodeNumbers, EpisodeSpan, spans_of_annotations

_ENDS = "ep_start_end_ids.npy"
_SHAPES = {"robot_obs": (15,), "rel_actions": (7,), "actions": (7,), "stamp_ns": ()}
_READERS = 8


class CalvinSource:
    """One split; see ``EpisodeSource``.

    Args:
        folder: ``.../training`` or ``.../validation``.

    Raises:
        DatasetError: It is not CALVIN's layout.
    """

    layout = "CALVIN"

    def __init__(self, folder: Path) -> None:
        self._frames = CalvinFolder(folder, show_progress=False)
        self.folder = folder

    @property
    def card(self) -> DatasetCard:
        """See ``EpisodeSource``."""
        return self._frames.card

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """See ``EpisodeSource``."""
        return self._frames.annotations

    @cached_property
    def cameras(self) -> tuple[str, ...]:
        """See ``EpisodeSource``."""
        if not self.episodes:
            return ()
        held = self._read(self.episodes[0].first, ())
        return tuple(camera for camera, key in CAMERA_KEYS.items() if key in held["files"])

    @cached_property
    def episodes(self) -> tuple[EpisodeSpan, ...]:
        """See ``EpisodeSource``."""
        path = self.folder / _ENDS
        if not path.exists():
            return spans_of_annotations(self.annotations)
        try:
            ends = np.load(path, allow_pickle=False).reshape(-1, 2).tolist()
        except (OSError, ValueError, EOFError) as error:
            raise DatasetError(f"{path}: not readable: {error}. Copy the file again") from error
        return tuple(EpisodeSpan(k, int(first), int(last)) for k, (first, last) in enumerate(ends))

    def numbers(self, episode: EpisodeSpan) -> EpisodeNumbers:
        """See ``EpisodeSource``."""
        ids = episode.ids.tolist()
        with ThreadPoolExecutor(_READERS) as pool:
            frames = list(pool.map(self._numbers_of, ids))
        stamps = [int(frame["stamp_ns"]) for frame in frames if "stamp_ns" in frame]
        actions = np.array([frame["actions"] for frame in frames if "actions" in frame])
        return EpisodeNumbers(
            robot_obs=np.array([frame["robot_obs"] for frame in frames]),
            rel_actions=np.array([frame["rel_actions"] for frame in frames]),
            stamps_ns=np.array(stamps, dtype=np.int64) if len(stamps) == len(ids) else None,
            targets=Pose.from_euler(actions[:, :3], actions[:, 3:6]) if len(actions) == len(ids) else None,
        )

    def pictures(self, camera: str, ids: Sequence[int]) -> list[NDArray[np.uint8]]:
        """See ``EpisodeSource``."""
        return [self._frames.pictures(camera, [frame_id])[0] for frame_id in ids]

    def _numbers_of(self, frame_id: int) -> dict[str, Any]:
        return self._read(frame_id, ("robot_obs", "rel_actions"), optional=frozenset({"stamp_ns", "actions"}))

    def _read(
        self, frame_id: int, keys: tuple[str, ...], optional: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        path = self._frames.frame_path(frame_id)
        try:
            with np.load(path, allow_pickle=False) as frame:
                wanted = [*keys, *(optional & set(frame.files))]
                arrays = {key: frame[key] for key in wanted}
                held = frozenset(frame.files)
        except FileNotFoundError:
            raise DatasetError(f"{path}: no such file, but {_ENDS} names it. Copy the whole dataset") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
            raise DatasetError(f"{path}: damaged: {error}. Copy the file again") from error
        for key, array in arrays.items():
            if array.shape != _SHAPES[key] or array.dtype.kind not in "iuf":
                raise DatasetError(
                    f"{path}: {key} has shape {array.shape} and type {array.dtype}; allowed are numbers of shape "
                    f"{_SHAPES[key]}. Write the frame in CALVIN's order of numbers"
                )
        return {"files": held, **arrays}
