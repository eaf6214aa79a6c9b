# SPDX-License-Identifier: Apache-2.0
"""Where in the pictures the things are that a sentence names: labels of a split, for training alone.

```
named_points.npz in .../training or .../validation
ids      (F,) int64, ascending: frames that have labels; of the others nothing is known
cameras  (C,) names, as the robot's
points   (F, C, K, 2) float32: shares (u, v) of width and height, from the upper left corner of the picture
```

A point in the picture has 0 <= u, v <= 1; one beside it lies outside; NaN says that there is nothing to tell (not
visible, no such thing). Each of the K slots means the same in the whole dataset: for example 0 the thing that is
acted on, 1 where it goes. Shares stay right when pictures are resized.

Shapes: F frames, n frames that are asked for, C cameras, K slots.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_core.whole_file import write_whole
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.frame_store import Ids

POINTS_FILE = "named_points.npz"
_KEYS = ("ids", "cameras", "points")


@dataclass(frozen=True, eq=False)
class NamedPoints:
    """The labels of a split.

    Attributes:
        ids: (F,) int64, ascending.
        cameras: C names.
        points: (F, C, K, 2) float32 shares of width and height; NaN where there is nothing to tell.

    Raises:
        ValueError: Shapes do not fit, or the ids do not ascend.
    """

    ids: Ids
    cameras: tuple[str, ...]
    points: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = self.points.shape
        if len(shape) != 4 or shape[:2] != (len(self.ids), len(self.cameras)) or shape[2] < 1 or shape[3] != 2:
            raise ValueError(
                f"points has shape {shape}; {len(self.ids)} frames and {len(self.cameras)} cameras need "
                f"({len(self.ids)}, {len(self.cameras)}, K, 2) with at least one slot K"
            )
        if self.points.dtype != np.float32 or self.ids.dtype != np.int64 or self.ids.ndim != 1:
            raise ValueError(
                f"ids must be (F,) int64 and points float32, found {self.ids.shape} {self.ids.dtype} and "
                f"{self.points.dtype}"
            )
        if (np.diff(self.ids) <= 0).any():
            row = int((np.diff(self.ids) <= 0).argmax())
            raise ValueError(f"ids must ascend, found {self.ids[row]} in front of {self.ids[row + 1]}")
        if len(set(self.cameras)) != len(self.cameras):
            raise ValueError(f"cameras must name each camera once, found {list(self.cameras)}")

    @classmethod
    def nothing(cls, num_slots: int) -> "NamedPoints":
        """Return the labels of a split that has none."""
        return cls(np.zeros(0, np.int64), (), np.zeros((0, 0, num_slots, 2), np.float32))

    @classmethod
    def load(cls, folder: Path | str) -> "NamedPoints | None":
        """Return the labels in the folder of a split, ``None`` where there is no file.

        Raises:
            DatasetError: The file is damaged or does not fit the layout.
        """
        path = Path(folder) / POINTS_FILE
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                missing = [key for key in _KEYS if key not in arrays.files]
                if missing:
                    raise ValueError(f"'{missing[0]}' is missing; the file holds {sorted(arrays.files)}")
                return cls(arrays["ids"], tuple(str(name) for name in arrays["cameras"]), arrays["points"])
        except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise DatasetError(
                f"{path}: cannot be read: {error}. Write the labels again, or remove the file to go without"
            ) from error

    @property
    def num_slots(self) -> int:
        """K."""
        return int(self.points.shape[2])

    def save(self, folder: Path | str) -> Path:
        """Write the labels into the folder of a split, at once or not at all; return the file."""
        buffer, path = io.BytesIO(), Path(folder) / POINTS_FILE
        arrays: dict[str, NDArray[Any]] = {
            "ids": self.ids,
            "cameras": np.array(self.cameras, dtype=np.str_),
            "points": self.points,
        }
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_whole(path, buffer.getvalue())
        return path

    def at(self, ids: Ids, cameras: Sequence[str]) -> NDArray[np.float32]:
        """Return the points (n, C, K, 2) of some frames in some cameras; NaN where the file says nothing.

        Args:
            ids: (n,) frames.
            cameras: C names, in the order of the result.
        """
        found = np.full((len(ids), len(cameras), self.num_slots, 2), np.nan, np.float32)
        if len(self.ids):
            rows = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            is_known = self.ids[rows] == ids
            for place, camera in enumerate(cameras):
                if camera in self.cameras:
                    found[is_known, place] = self.points[rows[is_known], self.cameras.index(camera)]
        return found

    def of(self, ids: Ids) -> "NamedPoints":
        """Return the labels of some frames (n,) alone."""
        is_wanted = np.isin(self.ids, ids)
        return NamedPoints(self.ids[is_wanted], self.cameras, self.points[is_wanted])
