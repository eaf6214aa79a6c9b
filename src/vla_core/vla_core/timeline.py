# SPDX-License-Identifier: Apache-2.0
"""One buffer per stream, and the sample that counts at a given time.

The same code serves the live node (driven by the ROS clock) and a bag (driven by bag time), so both see the same
samples. Stamps are nanoseconds.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass(frozen=True)
class Sample(Generic[V]):
    """One message of a stream.

    Attributes:
        stamp_ns: Stamp of the message.
        value: The message.
        unchanged_since_ns: Stamp of the oldest message in an unbroken row with the same content as this one.
    """

    stamp_ns: int
    value: V
    unchanged_since_ns: int


class StreamBuffer(Generic[V]):
    """The newest samples of one stream, in the order of their stamps.

    Attributes:
        num_late: Samples that came with a stamp not after the newest one and were dropped.

    Args:
        capacity: Number of samples kept.
        same_content: Tells whether two messages carry the same content; ``None`` when that does not matter.
    """

    def __init__(self, capacity: int, same_content: Callable[[V, V], bool] | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, found {capacity}")
        self._capacity = capacity
        self._same_content = same_content
        self._samples: list[Sample[V]] = []
        self.num_late = 0

    def push(self, stamp_ns: int, value: V) -> bool:
        """Store a sample; return False (and count it) when its stamp is not after the newest one."""
        newest = self._samples[-1] if self._samples else None
        if newest is not None and stamp_ns <= newest.stamp_ns:
            self.num_late += 1
            return False
        unchanged = (
            newest is not None and self._same_content is not None and self._same_content(newest.value, value)
        )
        since_ns = newest.unchanged_since_ns if newest is not None and unchanged else stamp_ns
        self._samples.append(Sample(stamp_ns, value, since_ns))
        del self._samples[: -self._capacity]
        return True

    def hold(self, time_ns: int) -> Sample[V] | None:
        """Return the newest sample stamped at or before ``time_ns``, however old; ``None`` when there is none."""
        index = bisect_right(self._samples, time_ns, key=lambda sample: sample.stamp_ns)
        return self._samples[index - 1] if index else None

    def as_of(self, time_ns: int, tolerance_ns: int) -> Sample[V] | None:
        """Return what ``hold`` returns if it is no older than ``tolerance_ns``, else ``None``."""
        sample = self.hold(time_ns)
        return sample if sample is not None and time_ns - sample.stamp_ns <= tolerance_ns else None

    @property
    def newest(self) -> Sample[V] | None:
        """The sample with the latest stamp."""
        return self._samples[-1] if self._samples else None

    def clear(self) -> None:
        """Drop all samples."""
        self._samples.clear()
