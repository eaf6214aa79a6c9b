# SPDX-License-Identifier: Apache-2.0
"""Standing still before and after a demonstration teaches to stand still: both ends are trimmed to a margin."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vla_core.geometry import FloatArray
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.motion_labels import MotionLabels


def trim_idle(
    runs: Sequence[range], labels: Sequence[MotionLabels], gripper: FloatArray, config: ConversionConfig
) -> tuple[list[range], dict[str, int]]:
    """Return the runs of an episode without its idle ends, and the number of frames at ``head`` and ``tail``.

    Args:
        runs: Unbroken rows of ticks, in order.
        labels: Their actions.
        gripper: (T,) what the gripper had been asked for until each tick of the bag.
        config: Says what counts as motion, and how much of standing still stays.
    """
    if not config.trim_idle:
        return list(runs), {"head": 0, "tail": 0}
    active = [tick for run, own in zip(runs, labels, strict=True) for tick in _active(run, own, gripper, config)]
    if not active:
        return [], {"head": sum(len(run) for run in runs), "tail": 0}
    # The action of the last active tick leads to the next one, which therefore stays.
    first, end = active[0] - config.idle_margin, active[-1] + 2 + config.idle_margin
    kept = [range(max(run.start, first), min(run.stop, end)) for run in runs]
    head = sum(max(0, min(run.stop, first) - run.start) for run in runs)
    tail = sum(max(0, run.stop - max(run.start, end)) for run in runs)
    return [run for run in kept if len(run)], {"head": head, "tail": tail}


def stands_still(labels: MotionLabels, config: ConversionConfig) -> bool:
    """Return whether no action moves the arm."""
    return not np.any(_moves(labels, config))


def _moves(labels: MotionLabels, config: ConversionConfig) -> NDArray[np.bool_]:
    return (labels.moved_m > config.idle_m) | (labels.moved_rad > config.idle_rad)


def _active(run: range, labels: MotionLabels, gripper: FloatArray, config: ConversionConfig) -> list[int]:
    """Return the ticks of a run whose action moves the arm or the gripper."""
    moves = _moves(labels, config)
    moves[:-1] |= gripper[run.start + 1 : run.stop] != gripper[run.start : run.stop - 1]
    return [run.start + int(k) for k in np.nonzero(moves)[0]]
