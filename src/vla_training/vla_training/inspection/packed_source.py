# SPDX-License-Identifier: Apache-2.0
"""Episodes of a packed split. It keeps annotated frames only, and no stamps."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vla_training.datasets.dataset_card import DatasetCard
from vla_training.datasets.frame_store import Annotation
from vla_training.datasets.packed_folder import PackedFolder
from vla_training.inspection.episode_source import EpisodeNumbers, EpisodeSpan, spans_of_annotations


class PackedSource:
    """One split; see ``EpisodeSource``.

    Args:
        folder: ``.../training`` or ``.../validation``.

    Raises:
        DatasetError: The folder is incomplete or damaged.
    """

    layout = "packed"

    def __init__(self, folder: Path) -> None:
        self._frames = PackedFolder(folder)
        self.folder = folder

    @property
    def card(self) -> DatasetCard:
        """See ``EpisodeSource``."""
        return self._frames.card

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """See ``EpisodeSource``."""
        return self._frames.annotations

    @property
    def cameras(self) -> tuple[str, ...]:
        """See ``EpisodeSource``."""
        return self._frames.cameras

    @cached_property
    def episodes(self) -> tuple[EpisodeSpan, ...]:
        """See ``EpisodeSource``."""
        return spans_of_annotations(self.annotations)

    def numbers(self, episode: EpisodeSpan) -> EpisodeNumbers:
        """See ``EpisodeSource``."""
        rows = self._frames.numbers.rows(episode.ids)
        return EpisodeNumbers(
            robot_obs=self._frames.numbers.robot_obs[rows],
            rel_actions=self._frames.numbers.rel_actions[rows],
            stamps_ns=None,
        )

    def pictures(self, camera: str, ids: Sequence[int]) -> list[NDArray[np.uint8]]:
        """See ``EpisodeSource``."""
        return [np.ascontiguousarray(self._frames.pictures(camera, [frame_id])[0]) for frame_id in ids]
