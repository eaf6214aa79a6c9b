# SPDX-License-Identifier: Apache-2.0
"""When the policy is stepped, and how well the spacing that it was trained with is kept.

Ticks lie on a grid of the checkpoint's period. A tick that is due waits for the next picture of the leading
camera, at most one camera period, so that the policy sees the newest picture instead of one that is up to a camera
period old; the grid itself does not drift.
"""

from collections import deque

import numpy as np

_HISTORY = 100


class PolicyClock:
    """Decides at which moments to step the policy. Times are nanoseconds of one clock.

    Args:
        period_s: Spacing of the ticks, seconds (from the checkpoint).
        camera_period_s: Spacing of the pictures of the leading camera, seconds (from the robot spec).
        warn_fraction: Deviation of the real spacing from the period that is worth a warning.
    """

    def __init__(self, period_s: float, camera_period_s: float, warn_fraction: float = 0.2) -> None:
        self._period_ns = round(period_s * 1e9)
        self._patience_ns = round(camera_period_s * 1e9)
        self._warn_fraction = warn_fraction
        self._next_ns: int | None = None
        self._last_step_ns: int | None = None
        self._spacings_ns: deque[int] = deque(maxlen=_HISTORY)

    def restart(self) -> None:
        """Begin a new grid at the next opportunity and forget the spacing measured so far."""
        self._next_ns = self._last_step_ns = None
        self._spacings_ns.clear()

    def is_due(self, now_ns: int, picture_arrived: bool) -> bool:
        """Return whether to step the policy now; True moves the grid on by one period.

        A tick that is later than a camera period is not caught up: the grid begins again with it.

        Args:
            now_ns: The time.
            picture_arrived: Whether the leading camera has just delivered a picture.
        """
        if self._next_ns is None:
            self._next_ns = now_ns
        # Half a camera period early is nearer to the grid than half a period late.
        opens_ns = self._next_ns - (self._patience_ns // 2 if picture_arrived else -self._patience_ns)
        if now_ns < opens_ns:
            return False
        is_late = now_ns - self._next_ns > self._patience_ns
        self._next_ns = (now_ns if is_late else self._next_ns) + self._period_ns
        return True

    def note_step(self, stamp_ns: int) -> None:
        """Remember that the policy was really stepped with the observation of ``stamp_ns``."""
        if self._last_step_ns is not None:
            self._spacings_ns.append(stamp_ns - self._last_step_ns)
        self._last_step_ns = stamp_ns

    @property
    def measured_period_s(self) -> float | None:
        """Mean real spacing of the last steps, seconds; ``None`` before the second step."""
        return float(np.mean(self._spacings_ns)) * 1e-9 if self._spacings_ns else None

    @property
    def warning(self) -> str | None:
        """A sentence when the real spacing leaves the trained one by more than the bound."""
        measured_s, period_s = self.measured_period_s, self._period_ns * 1e-9
        if measured_s is None or abs(measured_s - period_s) <= self._warn_fraction * period_s:
            return None
        return (
            f"the policy is stepped every {measured_s * 1e3:.0f} ms, but it was trained with {period_s * 1e3:.0f} "
            "ms. Use a faster device or a checkpoint for a slower rate"
        )
