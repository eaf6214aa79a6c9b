# SPDX-License-Identifier: Apache-2.0
"""Checks of the pictures at some neighbouring frames of an episode: do they change while the arm moves?"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vla_training.inspection.episode_source import EpisodeNumbers, EpisodeSource, EpisodeSpan
from vla_training.inspection.findings import Finding, Place, Severity

MOVES_M = 0.003
DARK, BRIGHT = 4.0, 251.0


def lint_pictures(
    source: EpisodeSource, episode: EpisodeSpan, numbers: EpisodeNumbers, split: str, num_pairs: int
) -> Iterator[Finding]:
    """Yield what is wrong with the pictures of an episode.

    Args:
        source: Its split.
        episode: Which one.
        numbers: Its numbers.
        split: Name of its split.
        num_pairs: How many pairs of neighbouring frames are looked at, where the arm moves most.
    """
    steps_m = np.linalg.norm(np.diff(numbers.robot_obs[:, :3], axis=0), axis=1)
    rows = np.sort(np.argsort(-steps_m, kind="stable")[:num_pairs])
    if not len(rows):
        return
    wanted = np.unique(np.concatenate([rows, rows + 1]))
    for camera in source.cameras:
        shown = source.pictures(camera, (episode.first + wanted).tolist())
        by_row = dict(zip(wanted.tolist(), shown, strict=True))
        frozen = [row for row in rows.tolist() if steps_m[row] > MOVES_M and _equal(by_row[row], by_row[row + 1])]
        flat = [
            row
            for row, picture in by_row.items()
            if float(picture.std()) < 1.0 or not DARK < picture.mean() < BRIGHT
        ]
        place = Place(split, episode.index)
        if frozen:
            text = (
                f"camera '{camera}' shows the same picture twice while the arm moves, in {len(frozen)} of "
                f"{len(rows)} places looked at: it was frozen, or slower than the frames"
            )
            severity: Severity = "bad" if len(frozen) > len(rows) / 2 else "warning"
            yield place.finding(severity, "frozen", text, frozen[0])
        if flat:
            text = f"camera '{camera}' shows nothing: {len(flat)} of {len(by_row)} pictures are of one colour"
            yield place.finding("bad", "blank", text, flat[0])


def _equal(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    return bool(np.array_equal(a, b))
