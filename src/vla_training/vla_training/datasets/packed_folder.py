# SPDX-License-Identifier: Apache-2.0
"""A split in the packed layout: all pictures of a camera in one file that is mapped into memory.

A window of pictures is one contiguous read, without a file per frame and without decompression.

```
packed.json       frames, cameras, size of the pictures, sentences
ids.npy           (F,) ids of the frames in the dataset that was packed
robot_obs.npy     (F, 15)      rel_actions.npy  (F, 7)
static.npy        (F, 3, H, W) uint8      wrist.npy  the same
named_points.npz  where the dataset had it (named_points.py)
```
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_training.datasets.dataset_card import DatasetCard
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.frame_store import Annotation, FrameNumbers, Ids

PACKED_FILE = "packed.json"


class PackedFolder:
    """One split of a packed dataset.

    Args:
        folder: ``.../training`` or ``.../validation``.

    Raises:
        DatasetError: The folder is incomplete or damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.card = DatasetCard.load(self.folder.parent)
        try:
            header = json.loads((self.folder / PACKED_FILE).read_text(encoding="utf-8"))
            self.annotations = tuple(Annotation(**row) for row in header["annotations"])
            self.cameras: tuple[str, ...] = tuple(header["cameras"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{self.folder / PACKED_FILE}: not readable: {error}. Pack the dataset again"
            ) from error
        self.numbers = FrameNumbers(*(self._array(name) for name in ("ids", "robot_obs", "rel_actions")))
        self._pictures = {camera: self._array(camera, mapped=True) for camera in self.cameras}

    def __reduce__(self) -> tuple[type["PackedFolder"], tuple[Path]]:
        # A process that reads maps the files itself: pickled, the pictures would travel.
        return PackedFolder, (self.folder,)

    def pictures(self, camera: str, ids: Sequence[int] | Ids) -> NDArray[np.uint8]:
        """Return the (n, H, W, 3) pictures of a camera; see ``FrameStore``."""
        if camera not in self._pictures:
            raise DatasetError(f"{self.folder}: has no camera '{camera}', only {list(self.cameras)}")
        rows = self.numbers.rows(np.asarray(ids, dtype=np.int64))
        mapped = self._pictures[camera]
        is_row = len(rows) > 0 and rows[-1] - rows[0] == len(rows) - 1
        planes = np.array(mapped[rows[0] : rows[-1] + 1]) if is_row else np.asarray(mapped[rows])
        return planes.transpose(0, 2, 3, 1)

    def _array(self, name: str, *, mapped: bool = False) -> NDArray[Any]:
        path = self.folder / f"{name}.npy"
        try:
            found: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DatasetError(f"{path}: not readable: {error}. Pack the dataset again") from error
        return found


def packed_header(cameras: Sequence[str], annotations: Sequence[Annotation]) -> str:
    """Return the text of ``packed.json``."""
    rows = [asdict(annotation) for annotation in annotations]
    return json.dumps({"cameras": list(cameras), "annotations": rows}, ensure_ascii=False, indent=1) + "\n"
