# SPDX-License-Identifier: Apache-2.0
"""The way in: after an arm was let go, motion grows from nothing."""

from vla_core.units import NS_PER_S

# An action of nothing would leave a policy that waits for its effect without any.
_SMALLEST_SHARE = 0.05


class SoftStart:
    """The share of each action that is asked for. Times are nanoseconds of one clock.

    Args:
        duration_s: Time from the first motion to whole actions, seconds; 0 for none.
    """

    def __init__(self, duration_s: float) -> None:
        self._duration_ns = duration_s * NS_PER_S
        self._begin_ns: int | None = None

    def begin(self, now_ns: int) -> None:
        """Begin again from nothing."""
        self._begin_ns = now_ns

    def share(self, now_ns: int) -> float:
        """Return the share at a time, in (0, 1]; nothing has begun: the smallest."""
        if self._duration_ns == 0.0:
            return 1.0
        passed_ns = 0 if self._begin_ns is None else now_ns - self._begin_ns
        return min(max(passed_ns / self._duration_ns, _SMALLEST_SHARE), 1.0)
