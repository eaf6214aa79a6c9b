# SPDX-License-Identifier: Apache-2.0
"""Predictors that know nothing of pictures or sentences. A policy that is no better has learned nothing."""

from collections.abc import Callable, Sequence

import numpy as np

from vla_core.actions.action_space import ActionSpace, encode_motion
from vla_core.geometry import FloatArray
from vla_training.evaluation.open_loop.episode import EpisodeOutcome
from vla_training.evaluation.open_loop.errors import Chunks

Baseline = Callable[[EpisodeOutcome], Chunks]


def baselines(outcomes: Sequence[EpisodeOutcome], space: ActionSpace) -> dict[str, Baseline]:
    """Return name to predictor.

    * zero action: stand still and leave the gripper as it is;
    * mean action: always the mean of all recorded actions of these very episodes, so a strong one;
    * previous action: repeat the action that was recorded one tick before (at the first tick: stand still).

    Args:
        outcomes: The episodes.
        space: Meaning of the actions.
    """
    actions = np.concatenate([outcome.recorded[outcome.is_valid] for outcome in outcomes])
    mean = actions.mean(axis=0) if len(actions) else np.zeros(7)
    mean[6] = np.round(mean[6])

    def standing(outcome: EpisodeOutcome) -> Chunks:
        return _repeated(_still(outcome, space), outcome)

    def average(outcome: EpisodeOutcome) -> Chunks:
        return _repeated(np.tile(mean, (len(outcome), 1)), outcome)

    def previous(outcome: EpisodeOutcome) -> Chunks:
        still = _still(outcome, space)
        return _repeated(np.concatenate([still[:1], outcome.recorded[:-1]]), outcome)

    return {"zero action": standing, "mean action": average, "previous action": previous}


def _still(outcome: EpisodeOutcome, space: ActionSpace) -> FloatArray:
    """Return (T, 7) actions that ask for no motion."""
    arm = encode_motion(space, np.zeros((len(outcome), 6)), outcome.poses[:, 3:6])
    return np.column_stack([arm, outcome.gripper_before])


def _repeated(actions: FloatArray, outcome: EpisodeOutcome) -> Chunks:
    """Return chunks in which the action of each tick fills all steps."""
    num_steps = outcome.predicted.shape[1]
    return np.repeat(actions[:, None], num_steps, axis=1).astype(np.float32)
