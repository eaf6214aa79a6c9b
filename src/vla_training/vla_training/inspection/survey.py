# SPDX-License-Identifier: Apache-2.0
"""One pass over a dataset, an episode in memory at a time: counts, histograms, findings, samples to look at."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vla_core.actions.action_space import MOTION_NAMES
from vla_core.geometry import FloatArray
from vla_training.datasets.dataset_card import DatasetCard
from vla_training.datasets.splits import SPLITS
from vla_training.inspection.episode_source import EpisodeNumbers, EpisodeSource, EpisodeSpan
from vla_training.inspection.findings import SEVERITIES, Finding
from vla_training.inspection.number_lint import lint_numbers
from vla_training.inspection.open_episodes import has_episodes, open_episodes
from vla_training.inspection.picture_lint import lint_pictures
from vla_training.inspection.split_lint import lint_annotations, lint_copies

NUM_BINS = 41
PATH_POINTS = 240


@dataclass(frozen=True, eq=False, kw_only=True)
class EpisodeSample:
    """An episode to look at.

    Attributes:
        split: Its split.
        index: Its number.
        num_frames: Its frames.
        sentences: What it shows.
        positions_m: (m, 3) TCP positions in base, thinned out.
        times_s: (m,) their times from its beginning.
        gripper_changes: (position (3,), opens) where the gripper is asked to change.
        filmstrips: Camera to pictures of its beginning, middle and end.
    """

    split: str
    index: int
    num_frames: int
    sentences: tuple[str, ...]
    positions_m: FloatArray
    times_s: FloatArray
    gripper_changes: tuple[tuple[FloatArray, bool], ...]
    filmstrips: dict[str, list[NDArray[np.uint8]]]


@dataclass(kw_only=True)
class SplitSurvey:
    """What one split holds.

    Attributes:
        layout: Name of its layout.
        num_episodes: Its episodes.
        num_frames: Their frames.
        lengths: Frames of each episode.
        annotations: Its sentences: how many there are.
        num_clipped: Frames with a clipped action.
        share_open: Share of the frames that ask for an open gripper.
        histograms: (6, NUM_BINS) how often each number of an action came; bins of [-1, 1].
        sentences: Sentence to (times it is said, frames under it).
        samples: Episodes to look at.
        low_m: (3,) smallest TCP position.
        high_m: (3,) largest TCP position.
    """

    layout: str
    num_episodes: int = 0
    num_frames: int = 0
    lengths: list[int] = field(default_factory=list)
    annotations: int = 0
    num_clipped: int = 0
    share_open: float = 0.0
    histograms: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((len(MOTION_NAMES), NUM_BINS), dtype=np.int64)
    )
    sentences: dict[str, tuple[int, int]] = field(default_factory=dict)
    samples: list[EpisodeSample] = field(default_factory=list)
    low_m: FloatArray = field(default_factory=lambda: np.full(3, np.inf))
    high_m: FloatArray = field(default_factory=lambda: np.full(3, -np.inf))


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a dataset holds.

    Attributes:
        dataset: Its folder.
        card: What its numbers mean.
        splits: Split to what it holds.
        findings: The worst first.
    """

    dataset: Path
    card: DatasetCard
    splits: dict[str, SplitSurvey]
    findings: tuple[Finding, ...]


def survey(dataset: Path, *, max_samples: int, num_pairs: int, show_progress: bool) -> Survey:
    """Look through a dataset.

    Args:
        dataset: Its folder, in any layout.
        max_samples: Episodes of each split that are kept to look at.
        num_pairs: Pairs of neighbouring pictures that are compared in each episode, for each camera.
        show_progress: Draw a bar with the time that is left.

    Raises:
        DatasetError: It cannot be read.
    """
    names = [split for split in SPLITS if has_episodes(dataset, split)] or ["training"]
    sources = {split: open_episodes(dataset, split) for split in names}
    splits: dict[str, SplitSurvey] = {}
    findings: list[Finding] = []
    prints: dict[str, list[bytes]] = {}
    total = sum(len(episode) for source in sources.values() for episode in source.episodes)
    with tqdm(total=total, unit="frame", disable=not show_progress) as bar:
        for split, source in sources.items():
            findings += lint_annotations(source.episodes, source.annotations, split)
            splits[split], prints[split] = _begin(source), []
            chosen = _spread(len(source.episodes), max_samples)
            for episode in source.episodes:
                numbers = source.numbers(episode)
                findings += lint_numbers(numbers, source.card, split, episode.index)
                findings += lint_pictures(source, episode, numbers, split, num_pairs)
                prints[split].append(_fingerprint(numbers))
                _count(splits[split], numbers)
                if episode.index in chosen:
                    splits[split].samples.append(_sample(source, episode, numbers, split))
                bar.update(len(episode))
    findings += lint_copies(prints)
    ordered = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    card = next(iter(sources.values())).card
    return Survey(dataset=dataset, card=card, splits=splits, findings=tuple(ordered))


def _begin(source: EpisodeSource) -> SplitSurvey:
    begun = SplitSurvey(layout=source.layout, annotations=len(source.annotations))
    times, frames = Counter[str](), Counter[str]()
    for own in source.annotations:
        times[own.instruction] += 1
        frames[own.instruction] += own.end - own.start + 1
    begun.sentences = {sentence: (number, frames[sentence]) for sentence, number in times.most_common()}
    return begun


def _count(counted: SplitSurvey, numbers: EpisodeNumbers) -> None:
    num = len(numbers.rel_actions)
    opens = float((numbers.rel_actions[:, 6] > 0).sum())
    counted.share_open = (counted.share_open * counted.num_frames + opens) / (counted.num_frames + num)
    counted.num_episodes += 1
    counted.num_frames += num
    counted.lengths.append(num)
    counted.num_clipped += int(numbers.is_clipped.sum())
    for axis in range(len(MOTION_NAMES)):
        finite = numbers.rel_actions[np.isfinite(numbers.rel_actions[:, axis]), axis]
        counted.histograms[axis] += np.histogram(finite.clip(-1, 1), bins=NUM_BINS, range=(-1, 1))[0]
    positions_m = numbers.robot_obs[:, :3]
    counted.low_m = np.fmin(counted.low_m, positions_m.min(axis=0))
    counted.high_m = np.fmax(counted.high_m, positions_m.max(axis=0))


def _sample(source: EpisodeSource, episode: EpisodeSpan, numbers: EpisodeNumbers, split: str) -> EpisodeSample:
    num = len(episode)
    rows = np.unique(np.linspace(0, num - 1, min(num, PATH_POINTS)).round().astype(int))
    shown = [0, (num - 1) // 2, num - 1]
    opens = numbers.rel_actions[:, 6] > 0
    changes = (np.flatnonzero(np.diff(opens.astype(int))) + 1).tolist()
    said = (own.instruction for own in source.annotations if own.start < episode.last and own.end > episode.first)
    return EpisodeSample(
        split=split,
        index=episode.index,
        num_frames=num,
        sentences=tuple(dict.fromkeys(said)),
        positions_m=numbers.robot_obs[rows, :3],
        times_s=rows * source.card.period_s,
        gripper_changes=tuple((numbers.robot_obs[row, :3], bool(opens[row])) for row in changes),
        filmstrips={
            camera: source.pictures(camera, [episode.first + row for row in shown]) for camera in source.cameras
        },
    )


def _spread(num: int, most: int) -> frozenset[int]:
    """Return at most ``most`` of ``num`` numbers, evenly spread."""
    return frozenset(np.linspace(0, num - 1, min(num, most)).round().astype(int).tolist()) if num else frozenset()


def _fingerprint(numbers: EpisodeNumbers) -> bytes:
    """Return what two equal episodes have in common; the layout's rounding does not matter."""
    values: Sequence[FloatArray] = (numbers.robot_obs[:, :7].round(5) + 0.0, numbers.rel_actions.round(5) + 0.0)
    return hashlib.blake2b(b"".join(each.tobytes() for each in values), digest_size=16).digest()
