# SPDX-License-Identifier: Apache-2.0
"""One buffer per stream, and the sample that counts at a given time.

The same code serves the live node (driven by the ROS clock) and a bag (driven by bag time), so both see the same
samples. Stamps are nanoseconds.
"""

from collections import deque
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
        number: How many messages of the stream had arrived before it.
    """

    stamp_ns: int
    value: V
    unchanged_since_ns: int
    number: int


class StreamBuffer(Generic[V]):
    """The last samples of one stream to arrive.

    Samples are kept by arrival and found by stamp, so that one wrong stamp (in the future, or from a clock that
    jumped) is outlived after ``capacity`` messages and hides no good sample until then.

    Attributes:
        num_late: Samples that came with a stamp not after the newest one.

    Args:
        capacity: Number of samples kept.
        same_content: Tells whether two messages carry the same content; ``None`` when that does not matter.
    """

    def __init__(self, capacity: int, same_content: Callable[[V, V], bool] | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, found {capacity}")
        self._same_content = same_content
        self._samples: deque[Sample[V]] = deque(maxlen=capacity)
        self._num_pushed = 0
        self.num_late = 0

    def push(self, stamp_ns: int, value: V) -> bool:
        """Store a sample; return whether it is the newest by its stamp (others are counted as late)."""
        newest = self.newest
        is_newest = newest is None or stamp_ns > newest.stamp_ns
        self.num_late += not is_newest
        since_ns = self._unchanged_since_ns(stamp_ns, value)
        self._samples.append(Sample(stamp_ns, value, since_ns, self._num_pushed))
        self._num_pushed += 1
        return is_newest

    def hold(self, time_ns: int) -> Sample[V] | None:
        """Return the newest sample stamped at or before ``time_ns``, however old; ``None`` when there is none."""
        past = (sample for sample in self._samples if sample.stamp_ns <= time_ns)
        return max(past, key=_stamp, default=None)

    def as_of(self, time_ns: int, tolerance_ns: int) -> Sample[V] | None:
        """Return what ``hold`` returns if it is no older than ``tolerance_ns``, else ``None``."""
        sample = self.hold(time_ns)
        return sample if sample is not None and time_ns - sample.stamp_ns <= tolerance_ns else None

    @property
    def newest(self) -> Sample[V] | None:
        """The sample with the latest stamp."""
        return max(self._samples, key=_stamp, default=None)

    def _unchanged_since_ns(self, stamp_ns: int, value: V) -> int:
        last = self._samples[-1] if self._samples else None
        if last is None or self._same_content is None or not self._same_content(last.value, value):
            return stamp_ns
        return min(last.unchanged_since_ns, stamp_ns)


def _stamp(sample: Sample[V]) -> int:
    return sample.stamp_ns
