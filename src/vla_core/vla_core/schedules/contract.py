# SPDX-License-Identifier: Apache-2.0
"""What every schedule promises: which action of which chunk is due now."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vla_core.types import ActionChunk

Action = NDArray[np.float32]
TimedAction = tuple[int, Action]
"""When an action begins, nanoseconds, and its (7,) numbers."""


class ChunkSchedule(Protocol):
    """Decides which action is executed when. Times are nanoseconds of one clock."""

    def push(self, chunk: ActionChunk) -> None:
        """Take a new chunk."""

    def due(self, now_ns: int) -> Action | None:
        """Return the (7,) action that becomes due at ``now_ns``, once; ``None`` when nothing does."""

    def upcoming(self) -> list[TimedAction]:
        """Return the actions that follow the one that was due last, if no further chunk comes."""

    def clear(self) -> None:
        """Drop everything that is left."""
