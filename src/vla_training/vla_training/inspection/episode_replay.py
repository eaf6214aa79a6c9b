# SPDX-License-Identifier: Apache-2.0
"""One episode's actions on the simulated arm, compared with the recorded path.

The recorded arm itself misses a little of what it was told: it stops where it touches something. And of a corner
only the ticks are recorded, not the tip. As far as the recorded path is from the recorded targets, or half as far
as it bends at a tick (at most ``MAX_STRAY_M`` and ``MAX_STRAY_RAD``), the replayed path may be from it, too. The
limits are for what comes on top, at ticks.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from vla_core.actions.action_space import target_pose
from vla_core.actions.gripper import open_from_calvin
from vla_core.geometry import FloatArray, Pose, distance_m
from vla_training.datasets.dataset_card import DatasetCard
from vla_training.inspection.episode_source import EpisodeNumbers, EpisodeSpan
from vla_training.inspection.path_error import RecordedPath
from vla_training.simulated_arm import ArmPath, SimulatedArm

MAX_STRAY_M = 0.010
MAX_STRAY_RAD = math.radians(3.0)
AT_REST_M = 0.0005
FEWEST_ACTIONS = 5
_METRE_PER_RAD = 0.002 / math.radians(1.0)


@dataclass(frozen=True, kw_only=True)
class ReplayError:
    """How far a replayed path is from the recorded one.

    Attributes:
        first: First frame of what was replayed.
        num_frames: Its frames.
        max_m: Largest distance, metres.
        mean_m: Mean distance, metres.
        max_rad: Largest angle, radians.
        mean_rad: Mean angle, radians.
        beyond_m: Largest distance, at ticks, on top of what the recorded arm strayed from its targets; metres.
        beyond_rad: The same for angles, radians.
        lag_s: How much later the arm is than the recorded one, seconds.
        interventions: Stage of the guard to how often it changed something.
    """

    first: int
    num_frames: int
    max_m: float
    mean_m: float
    max_rad: float
    mean_rad: float
    beyond_m: float
    beyond_rad: float
    lag_s: float
    interventions: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class EpisodeReplay:
    """How the replay of one episode went.

    Attributes:
        split: Split of the episode.
        episode: Its number there.
        num_clipped: Actions with a number at the end of its range; they lead less far than the arm went.
        whole: All of it; without its first frame where it begins in motion.
        judged: What the limits are for: all of it, or the longest row without a clipped action; ``None`` when
            there is no such row.
    """

    split: str
    episode: int
    num_clipped: int
    whole: ReplayError
    judged: ReplayError | None

    def is_within(self, max_error_mm: float, max_error_deg: float) -> bool:
        """Return whether what is judged kept to limits; false when there is nothing to judge."""
        found = self.judged
        return (
            found is not None
            and found.beyond_m * 1e3 <= max_error_mm
            and math.degrees(found.beyond_rad) <= max_error_deg
        )


def replay_episode(
    arm: SimulatedArm, card: DatasetCard, split: str, episode: EpisodeSpan, numbers: EpisodeNumbers
) -> EpisodeReplay:
    """Return how the replay of an episode of at least two frames went.

    Args:
        arm: The simulated arm.
        card: What the actions mean.
        split: Split of the episode.
        episode: Which episode.
        numbers: Its numbers.
    """
    clipped = numbers.is_clipped
    whole = _replay(arm, card, numbers, range(_first_row(numbers, card), len(episode)))
    judged: ReplayError | None = whole
    if clipped.any():
        rows = _longest_unclipped(clipped, len(episode), must_begin=numbers.targets is None)
        judged = _replay(arm, card, numbers, rows) if len(rows) > FEWEST_ACTIONS else None
    return EpisodeReplay(
        split=split, episode=episode.index, num_clipped=int(clipped.sum()), whole=whole, judged=judged
    )


def _first_row(numbers: EpisodeNumbers, card: DatasetCard) -> int:
    """Return 1 where an episode begins in motion, with an arm that lags behind what it was told; else 0."""
    if numbers.targets is None or len(numbers.rel_actions) < 3:
        return 0
    own = numbers.poses
    here = Pose(own.position_m[0], own.rotation[0])
    reached = target_pose(card.action_space, here, numbers.rel_actions[0, :6])
    return int(distance_m(reached, Pose(numbers.targets.position_m[0], numbers.targets.rotation[0])) > AT_REST_M)


def _replay(arm: SimulatedArm, card: DatasetCard, numbers: EpisodeNumbers, rows: range) -> ReplayError:
    part = slice(rows.start, rows.stop)
    gripper_open = open_from_calvin(np.sign(numbers.rel_actions[part, 6:]))
    path = arm.replay(
        numbers.robot_obs[rows.start, 7:14],
        np.concatenate([numbers.rel_actions[part, :6], gripper_open], axis=1)[:-1],
        space=card.action_space,
        period_s=card.period_s,
        anchor=_row(numbers.targets, rows.start - 1) if rows.start else None,
    )
    return _error(numbers, rows, path, card.period_s)


def _error(numbers: EpisodeNumbers, rows: range, path: ArmPath, period_s: float) -> ReplayError:
    own = numbers.poses
    part = slice(rows.start, rows.stop)
    recorded = RecordedPath(Pose(own.position_m[part], own.rotation[part]), period_s, _METRE_PER_RAD)
    lag_s = recorded.lag_s(path.times_s, path.poses)
    apart = recorded.distances(path.times_s - lag_s, path.poses)
    stray_m, stray_rad = _bends_m(own.position_m[part]) / 2.0, np.zeros(len(rows))
    ticks_s: FloatArray = np.arange(len(rows)) * np.float64(period_s)
    if numbers.targets is not None:
        targets = Pose(numbers.targets.position_m[part][:-1], numbers.targets.rotation[part][:-1])
        missed = recorded.distances(ticks_s[1:], targets)
        stray_m[1:] = np.maximum(stray_m[1:], missed.metres)
        stray_rad[1:] = missed.radians
    at_ticks = np.abs(path.times_s - (ticks_s + lag_s)[:, None]).argmin(axis=1)
    return ReplayError(
        first=rows.start,
        num_frames=len(rows),
        max_m=float(apart.metres.max()),
        mean_m=float(apart.metres.mean()),
        max_rad=float(apart.radians.max()),
        mean_rad=float(apart.radians.mean()),
        beyond_m=_beyond(apart.metres[at_ticks], np.minimum(stray_m, MAX_STRAY_M)),
        beyond_rad=_beyond(apart.radians[at_ticks], np.minimum(stray_rad, MAX_STRAY_RAD)),
        lag_s=lag_s,
        interventions=path.interventions,
    )


def _bends_m(positions_m: FloatArray) -> FloatArray:
    """Return (n,) the distance of each position from the straight way between its neighbours."""
    bends_m = np.zeros(len(positions_m))
    before, here, after = positions_m[:-2], positions_m[1:-1], positions_m[2:]
    way = after - before
    along = ((here - before) * way).sum(axis=-1) / np.maximum((way * way).sum(axis=-1), 1e-12)
    nearest = before + along.clip(0.0, 1.0)[:, None] * way
    bends_m[1:-1] = np.linalg.norm(here - nearest, axis=-1)
    return bends_m


def _beyond(apart: FloatArray, stray: FloatArray) -> float:
    """Return the largest distance on top of the stray within two ticks."""
    allowed = maximum_filter1d(stray, size=5, mode="nearest")
    return float(np.maximum(apart - allowed, 0.0).max())


def _longest_unclipped(clipped: NDArray[np.bool_], num_frames: int, *, must_begin: bool) -> range:
    """Return the longest row of frames whose actions, but for the last frame's, are not clipped.

    Args:
        clipped: (n,) whether an action is clipped.
        num_frames: n.
        must_begin: It must begin with the episode: where it was told to be later is not known.
    """
    cuts = np.flatnonzero(clipped)
    starts = [0, *(cuts + 1).tolist()]
    ends = [*(cuts + 1).tolist(), num_frames]
    rows = [range(start, end) for start, end in zip(starts, ends, strict=True)]
    return rows[0] if must_begin else max(rows, key=len)


def _row(poses: Pose | None, row: int) -> Pose | None:
    return None if poses is None else Pose(poses.position_m[row], poses.rotation[row])
