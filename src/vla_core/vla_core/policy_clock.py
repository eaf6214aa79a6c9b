# SPDX-License-Identifier: Apache-2.0
"""When the policy is stepped, and how well the spacing that it was trained with is kept.

Ticks lie on a grid of the checkpoint's period. A tick that is due waits for the next picture of the leading
camera, at most one camera period, so that the policy sees the newest picture instead of one that is up to a camera
period old; the grid itself does not drift.
"""

from collections import deque

import numpy as np

from vla_core.units import NS_PER_S

_NUM_KEPT = 100
# A deviation of the real spacing from the trained one by more than this share is worth a warning.
_WARN_FRACTION = 0.2
# A gap of more than this many periods is no history that the policy was trained to see.
_GAP_PERIODS = 2.5


class PolicyClock:
    """Decides at which moments to step the policy. Times are nanoseconds of one clock.

    Args:
        period_s: Spacing of the ticks, seconds (from the checkpoint).
        camera_period_s: Spacing of the pictures of the leading camera, seconds (from the robot spec).
    """

    def __init__(self, period_s: float, camera_period_s: float) -> None:
        self._period_ns = round(period_s * NS_PER_S)
        self._patience_ns = round(camera_period_s * NS_PER_S)
        self._next_ns = 0
        self._last_tick_ns: int | None = None
        self._last_step_ns: int | None = None
        self._spacings_ns: deque[int] = deque(maxlen=_NUM_KEPT)

    def restart(self, now_ns: int) -> None:
        """Begin a new grid now and forget what was measured so far."""
        self._next_ns = now_ns
        self._last_tick_ns = self._last_step_ns = None
        self._spacings_ns.clear()

    def is_due(self, now_ns: int, picture_arrived: bool) -> bool:
        """Return whether to step the policy now.

        Args:
            now_ns: The time.
            picture_arrived: Whether the leading camera has just delivered a picture.
        """
        # Half a camera period early is nearer to the grid than half a period late.
        return now_ns >= self._next_ns - (self._patience_ns // 2 if picture_arrived else -self._patience_ns)

    def begin_tick(self, now_ns: int) -> bool:
        """Move the grid on by one period; return whether the gap since the last tick breaks the history.

        A tick that is later than a camera period is not caught up: the grid begins again with it.
        """
        is_late = now_ns - self._next_ns > self._patience_ns
        self._next_ns = (now_ns if is_late else self._next_ns) + self._period_ns
        last_ns, self._last_tick_ns = self._last_tick_ns, now_ns
        return last_ns is not None and now_ns - last_ns > _GAP_PERIODS * self._period_ns

    def note_step(self, stamp_ns: int) -> None:
        """Remember that the policy was really stepped with the observation of ``stamp_ns``."""
        if self._last_step_ns is not None:
            self._spacings_ns.append(stamp_ns - self._last_step_ns)
        self._last_step_ns = stamp_ns

    @property
    def measured_period_s(self) -> float | None:
        """Mean real spacing of the last steps, seconds; ``None`` before the second step."""
        return float(np.mean(self._spacings_ns)) / NS_PER_S if self._spacings_ns else None

    @property
    def warning(self) -> str | None:
        """A sentence when the real spacing leaves the trained one by more than the bound."""
        measured_s, period_s = self.measured_period_s, self._period_ns / NS_PER_S
        if measured_s is None or abs(measured_s - period_s) <= _WARN_FRACTION * period_s:
            return None
        return (
            f"the policy is stepped every {measured_s * 1e3:.0f} ms, but it was trained with {period_s * 1e3:.0f} "
            "ms. Use a faster device or a checkpoint for a slower rate"
        )
