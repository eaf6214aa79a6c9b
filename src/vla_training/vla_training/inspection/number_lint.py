# SPDX-License-Identifier: Apache-2.0
"""Checks of an episode's numbers: do actions, measured path, gripper and stamps fit each other?"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vla_core.actions.action_space import MOTION_NAMES, action_towards
from vla_core.geometry import FloatArray, Pose
from vla_training.datasets.dataset_card import DatasetCard
from vla_training.inspection.episode_source import EpisodeNumbers
from vla_training.inspection.findings import Finding, Place, Severity

JUMP_M, JUMP_RAD = 0.03, 0.25
CLIPPED_WARNING, CLIPPED_BAD = 0.05, 0.25
AGAINST = -0.5
MOVES_UNITS = 0.05
REPEATED_UNITS, MOVES_M = 0.2, 0.0005
STAMP_TOLERANCE, DRIFT_TOLERANCE = 0.2, 0.02
GRIPPER_FOLLOWS_S = 1.0
GRIPPER_MOVES = 0.25


def lint_numbers(numbers: EpisodeNumbers, card: DatasetCard, split: str, episode: int) -> Iterator[Finding]:
    """Yield what does not fit in one episode.

    Args:
        numbers: Its numbers.
        card: What they mean.
        split: Its split.
        episode: Its number.
    """
    place = Place(split, episode)
    wrong = ~(np.isfinite(numbers.robot_obs).all(axis=1) & np.isfinite(numbers.rel_actions).all(axis=1))
    if wrong.any():
        text = f"{int(wrong.sum())} frames hold numbers that are not finite"
        yield place.finding("bad", "not finite", text, int(wrong.argmax()))
        return
    too_large = np.abs(numbers.rel_actions[:, :6]).max(axis=1) > 1.0 + 1e-6
    if too_large.any():
        text = f"{int(too_large.sum())} actions are beyond [-1, 1]: clip them, or correct the scale"
        yield place.finding("bad", "range", text, int(too_large.argmax()))
    if len(numbers.robot_obs) < 2:
        yield place.finding("warning", "short", "one frame only: it holds no action")
        return
    yield from _jumps(numbers, card, place)
    yield from _repeated(numbers, place)
    yield from _against(numbers, card, place)
    yield from _clipped(numbers, place)
    yield from _gripper(numbers, card, place)
    yield from _stamps(numbers, card, place)


def measured_units(numbers: EpisodeNumbers, card: DatasetCard) -> FloatArray:
    """Return (n - 1, 6) the motion between frames as the actions would express it."""
    poses = numbers.poses
    before = Pose(poses.position_m[:-1], poses.rotation[:-1])
    after = Pose(poses.position_m[1:], poses.rotation[1:])
    return action_towards(card.action_space, before, after)


def _jumps(numbers: EpisodeNumbers, card: DatasetCard, place: Place) -> Iterator[Finding]:
    moved = measured_units(numbers, card) * card.action_space.scale
    asked = numbers.rel_actions[:-1, :6] * card.action_space.scale
    too_far_m = np.linalg.norm(moved[:, :3], axis=1) - np.linalg.norm(asked[:, :3], axis=1)
    too_far_rad = np.linalg.norm(moved[:, 3:], axis=1) - np.linalg.norm(asked[:, 3:], axis=1)
    jumps = (too_far_m > JUMP_M) | (too_far_rad > JUMP_RAD)
    if jumps.any():
        at = int(np.argmax(np.maximum(too_far_m / JUMP_M, too_far_rad / JUMP_RAD)))
        here_mm, asked_mm = (np.linalg.norm(each[at, :3]) * 1e3 for each in (moved, asked))
        text = (
            f"{int(jumps.sum())} times the measured pose jumps: here by {here_mm:.0f} mm and "
            f"{np.degrees(np.linalg.norm(moved[at, 3:])):.0f} deg, the action asks for {asked_mm:.0f} mm. "
            "Frames are missing, or the pose is wrong there"
        )
        yield place.finding("bad", "jump", text, at)


def _repeated(numbers: EpisodeNumbers, place: Place) -> Iterator[Finding]:
    """Find poses that stay equal to the bit although the arm was moving and is asked to go on."""
    steps = np.diff(numbers.robot_obs[:, :6], axis=0)
    moves_on = np.linalg.norm(numbers.rel_actions[:-1, :6], axis=1) > REPEATED_UNITS
    was_moving = np.append(False, np.linalg.norm(steps[:-1, :3], axis=1) > MOVES_M)
    repeated = (steps == 0.0).all(axis=1) & moves_on & was_moving
    if repeated.any():
        text = (
            f"{int(repeated.sum())} times the moving arm's pose is that of the frame before, to the bit: frames "
            "were doubled, or the pose was frozen"
        )
        yield place.finding("warning", "repeated", text, int(repeated.argmax()) + 1)


def _against(numbers: EpisodeNumbers, card: DatasetCard, place: Place) -> Iterator[Finding]:
    moved, asked = measured_units(numbers, card), numbers.rel_actions[:-1, :6]
    against = []
    for axis, name in enumerate(MOTION_NAMES):
        a, b = asked[:, axis], moved[:, axis]
        # The arm follows up to one frame late.
        fits = [_correlation(a, b), _correlation(a[:-1], b[1:]), _correlation(a[:-2], b[2:])]
        if min(np.std(a), np.std(b)) > MOVES_UNITS and max(fits) < AGAINST:
            against.append(name)
    if against:
        text = f"the arm moves against the action along {', '.join(against)}: a sign or the frame is wrong"
        yield place.finding("bad", "direction", text)
        return
    ways = np.linalg.norm(asked[:, :3]), np.linalg.norm(moved[:, :3])
    cosine = float((asked[:, :3] * moved[:, :3]).sum()) / max(float(ways[0] * ways[1]), 1e-12)
    if min(ways) > 1.0 and cosine < 0.3:
        text = (
            f"actions and measured motion have little in common (cosine {cosine:.2f}): the frame of the actions "
            "is another than dataset.yaml says, or pictures of another time were taken"
        )
        yield place.finding("bad", "direction", text)


def _clipped(numbers: EpisodeNumbers, place: Place) -> Iterator[Finding]:
    clipped = numbers.is_clipped[:-1]
    share = float(clipped.mean())
    if share > CLIPPED_WARNING:
        axes = np.abs(numbers.rel_actions[:, :6]).max(axis=0) >= 1.0 - 1e-9
        names = ", ".join(name for name, is_clipped in zip(MOTION_NAMES, axes, strict=True) if is_clipped)
        text = (
            f"{share:.0%} of the actions are clipped ({names}): the arm went faster than an action can say. "
            "Demonstrate slower, or convert at a higher rate, or with a larger --translation-m and --rotation-rad"
        )
        severity: Severity = "bad" if share > CLIPPED_BAD else "warning"
        yield place.finding(severity, "clipped", text, int(clipped.argmax()))


def _gripper(numbers: EpisodeNumbers, card: DatasetCard, place: Place) -> Iterator[Finding]:
    """Compare each change of what is asked of the gripper with what it then does."""
    opens, width = numbers.rel_actions[:, 6] > 0, numbers.gripper_open
    ahead = max(round(GRIPPER_FOLLOWS_S / card.period_s), 1)
    for frame in (np.flatnonzero(np.diff(opens.astype(int))) + 1).tolist():
        change = float(width[min(frame + ahead, len(width) - 1)] - width[frame])
        if (change < -GRIPPER_MOVES) if opens[frame] else (change > GRIPPER_MOVES):
            asked, does = ("open", "closes") if opens[frame] else ("close", "opens")
            text = (
                f"the action says {asked}, and the measured gripper {does} (by {abs(change):.0%} within "
                f"{GRIPPER_FOLLOWS_S:g} s): the sign is wrong, or joint_closed and joint_open are exchanged"
            )
            yield place.finding("bad", "gripper", text, frame)
            return


def _stamps(numbers: EpisodeNumbers, card: DatasetCard, place: Place) -> Iterator[Finding]:
    if numbers.stamps_ns is None:
        return
    steps_s = np.diff(numbers.stamps_ns) * 1e-9
    off = np.abs(steps_s - card.period_s) > STAMP_TOLERANCE * card.period_s
    if off.any():
        at = int(np.argmax(np.abs(steps_s - card.period_s)))
        apart = f"{card.period_s * 1e3:.0f} ms apart, here {steps_s[at] * 1e3:.0f} ms"
        text = f"{int(off.sum())} times the stamps are not {apart}"
        yield place.finding("warning", "stamps", text, at)
    drift = float(np.median(steps_s)) / card.period_s - 1.0
    if abs(drift) > DRIFT_TOLERANCE:
        text = f"the stamps run {drift:+.1%} against the period of dataset.yaml: rate and period contradict"
        yield place.finding("bad", "drift", text)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if len(a) < 8 or np.std(a) < 1e-9 or np.std(b) < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
