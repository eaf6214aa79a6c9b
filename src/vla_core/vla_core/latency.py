# SPDX-License-Identifier: Apache-2.0
"""Where the time goes between a picture's stamp and the command that follows from it."""

from collections import deque
from enum import Enum

import numpy as np

_NUM_KEPT = 500


class Stage(Enum):
    """Stages of one action, in order; TOTAL is picture stamp to command."""

    PICTURE = "picture_to_tick"
    OBSERVE = "observe"
    QUEUE = "queue"
    MODEL = "model"
    COMMAND = "chunk_to_command"
    TOTAL = "stamp_to_command"
    OVERHEAD = "stamp_to_command_minus_model"


class LatencyMeter:
    """Percentiles of each stage over the last actions, milliseconds."""

    def __init__(self) -> None:
        self._samples_ms: dict[Stage, deque[float]] = {stage: deque(maxlen=_NUM_KEPT) for stage in Stage}

    def add(
        self, *, picture_ms: float, observe_ms: float, queue_ms: float, model_ms: float, command_ms: float
    ) -> None:
        """Remember one action's stages."""
        total_ms = picture_ms + observe_ms + queue_ms + model_ms + command_ms
        row = (picture_ms, observe_ms, queue_ms, model_ms, command_ms, total_ms, total_ms - model_ms)
        for stage, value in zip(Stage, row, strict=True):
            self._samples_ms[stage].append(value)

    def percentile_ms(self, stage: Stage, percent: float) -> float:
        """Return a percentile of a stage, milliseconds; NaN before the first action."""
        samples = self._samples_ms[stage]
        return float(np.percentile(samples, percent)) if samples else float("nan")
