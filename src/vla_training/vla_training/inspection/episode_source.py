# SPDX-License-Identifier: Apache-2.0
"""Episodes of a dataset in any layout, one at a time: numbers in CALVIN's order, pictures on request."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vla_core.geometry import FloatArray, Pose
from vla_training.datasets.dataset_card import GRIPPER_WIDTH_OPEN_M, DatasetCard
from vla_training.datasets.frame_store import Annotation, Ids


@dataclass(frozen=True)
class EpisodeSpan:
    """Where an episode lies.

    Attributes:
        index: Its number in the split, from 0.
        first: Id of its first frame.
        last: Id of its last frame.
    """

    index: int
    first: int
    last: int

    @property
    def ids(self) -> Ids:
        """(n,) ids of its frames."""
        return np.arange(self.first, self.last + 1, dtype=np.int64)

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, eq=False, kw_only=True)
class EpisodeNumbers:
    """The numbers of an episode of n frames.

    Attributes:
        robot_obs: (n, 15) float64, CALVIN's order: TCP position (m), extrinsic x-y-z angles (rad), gripper width
            (m), seven joints (rad), gripper asked for until the frame (-1 closed, +1 open).
        rel_actions: (n, 7) float64, as the dataset's card says; gripper -1 close, +1 open.
        stamps_ns: (n,) int64; ``None`` where the layout keeps none.
        targets: n poses that the actions lead to, TCP in base; ``None`` where the layout keeps none.
    """

    robot_obs: FloatArray
    rel_actions: FloatArray
    stamps_ns: NDArray[np.int64] | None
    targets: Pose | None = None

    @property
    def poses(self) -> Pose:
        """The n measured poses, TCP in base."""
        return Pose.from_euler(self.robot_obs[:, :3], self.robot_obs[:, 3:6])

    @property
    def gripper_open(self) -> FloatArray:
        """(n,) measured opening, 0 closed, 1 open."""
        return np.clip(self.robot_obs[:, 6] / GRIPPER_WIDTH_OPEN_M, 0.0, 1.0)

    @property
    def is_clipped(self) -> NDArray[np.bool_]:
        """(n,) whether a number of the arm lies at the end of its range."""
        return np.asarray(np.abs(self.rel_actions[:, :6]).max(axis=1) >= 1.0 - 1e-9)


class EpisodeSource(Protocol):
    """One split of a dataset, episode by episode. Nothing is kept in memory between two calls."""

    @property
    def folder(self) -> Path:
        """Where it is."""

    @property
    def card(self) -> DatasetCard:
        """What its numbers mean."""

    @property
    def layout(self) -> str:
        """Name of the layout, for people."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras that it has pictures of."""

    @property
    def episodes(self) -> tuple[EpisodeSpan, ...]:
        """Where its episodes lie, in order."""

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """Its sentences, by frame ids."""

    def numbers(self, episode: EpisodeSpan) -> EpisodeNumbers:
        """Return the numbers of an episode.

        Raises:
            DatasetError: A frame cannot be read.
        """

    def pictures(self, camera: str, ids: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Return the (H, W, 3) pictures of a camera at some frames.

        Raises:
            DatasetError: A frame cannot be read.
        """


def spans_of_annotations(annotations: Sequence[Annotation]) -> tuple[EpisodeSpan, ...]:
    """Return episodes where the layout does not keep them: frames that overlapping annotations join."""
    joined: list[list[int]] = []
    for start, end in sorted((own.start, own.end) for own in annotations):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return tuple(EpisodeSpan(k, first, last) for k, (first, last) in enumerate(joined))
