# SPDX-License-Identifier: Apache-2.0
"""What every layout of a dataset split offers to those who read it: sentences, numbers and pictures by frame.

Frames have whole-number names (ids), not always from 0 and not always without gaps. An annotation is a stretch of
consecutive frames that shows one sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vla_training.datasets.dataset_card import DatasetCard
from vla_training.datasets.dataset_error import DatasetError

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Annotation:
    """Consecutive frames that show one sentence.

    Attributes:
        start: First frame.
        end: Behind the last frame whose action is used; it exists, and shows where the last action has led.
        instruction: The sentence.
        task: Name of what it asks for; may be empty.
    """

    start: int
    end: int
    instruction: str
    task: str


@dataclass(frozen=True, eq=False)
class FrameNumbers:
    """The numbers of some frames, one row per frame.

    Attributes:
        ids: (F,) their ids, ascending.
        robot_obs: (F, 15) float64 in CALVIN's order: TCP position (m) and extrinsic x-y-z angles (rad) in base,
            gripper width (m), seven joints (rad), gripper action.
        rel_actions: (F, 7) float64: six numbers as the dataset's card says, gripper -1 close or +1 open.
    """

    ids: Ids
    robot_obs: NDArray[np.float64]
    rel_actions: NDArray[np.float64]

    def rows(self, ids: Ids) -> Ids:
        """Return the row of each frame.

        Raises:
            DatasetError: A frame is not there.
        """
        rows = np.searchsorted(self.ids, ids)
        found = self.ids[np.minimum(rows, len(self.ids) - 1)] == ids if len(self.ids) else np.zeros(len(ids), bool)
        if not found.all():
            raise DatasetError(f"frame {ids[~found][0]} is not in the dataset")
        return rows


class FrameStore(Protocol):
    """One split (training or validation) of a dataset."""

    @property
    def folder(self) -> Path:
        """Where it is."""

    @property
    def card(self) -> DatasetCard:
        """What its numbers mean."""

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """Its sentences."""

    @property
    def numbers(self) -> FrameNumbers:
        """Numbers of every frame that an annotation reaches, its end included."""

    def pictures(self, camera: str, ids: Sequence[int] | Ids) -> NDArray[np.uint8]:
        """Return the (n, H, W, 3) pictures of a camera at some frames.

        Raises:
            DatasetError: A frame cannot be read.
        """


def annotated_ids(annotations: Sequence[Annotation]) -> Ids:
    """Return the ids of all frames that annotations reach, their ends included, ascending and once each."""
    if not annotations:
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.concatenate([np.arange(a.start, a.end + 1) for a in annotations]))
