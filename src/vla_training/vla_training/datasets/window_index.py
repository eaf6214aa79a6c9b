# SPDX-License-Identifier: Apache-2.0
"""Which windows of a split are training samples.

A window of W ticks begins at each frame from an annotation's start on, as long as all its ticks have an action:
``range(start, end + 1 - W)`` (RoboVLMs, ``calvin_dataset.py:690``). Its actions go on for N - 1 frames behind the
window; what would lie at or behind the annotation's end is not valid.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_training.datasets.frame_store import Annotation, Ids


@dataclass(frozen=True, eq=False)
class WindowIndex:
    """Every window of a split.

    Attributes:
        starts: (S,) first frame of each window.
        annotation: (S,) which annotation it belongs to.
        num_too_short: Annotations that hold no window.
    """

    starts: Ids
    annotation: Ids
    num_too_short: int

    def __len__(self) -> int:
        return len(self.starts)


def index_windows(annotations: Sequence[Annotation], window_size: int, stride: int = 1) -> WindowIndex:
    """Return the windows of a split, in the order of its annotations.

    Args:
        annotations: Of the split.
        window_size: W, ticks of a window.
        stride: Frames between the beginnings of two windows.
    """
    starts = [np.arange(a.start, a.end + 1 - window_size, stride, dtype=np.int64) for a in annotations]
    owners = [np.full(len(first), number, dtype=np.int64) for number, first in enumerate(starts)]
    return WindowIndex(
        np.concatenate(starts) if starts else np.zeros(0, dtype=np.int64),
        np.concatenate(owners) if owners else np.zeros(0, dtype=np.int64),
        sum(len(first) == 0 for first in starts),
    )


def action_frames(start: int, end: int, window_size: int, chunk_size: int) -> tuple[Ids, NDArray[np.bool_]]:
    """Return the W + N - 1 frames whose actions a window is trained on, and which of them are valid.

    Frames at or behind the annotation's end are replaced by the end itself, as in RoboVLMs, and are not valid.
    """
    wanted = np.arange(start, start + window_size + chunk_size - 1, dtype=np.int64)
    return np.minimum(wanted, end), wanted < end
