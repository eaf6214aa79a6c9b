# SPDX-License-Identifier: Apache-2.0
"""Counts one topic while its messages arrive: rate, gaps, order, stamp-to-arrival offset, still pictures.

Times are nanoseconds of the recorder's clock.
"""

import statistics
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from vla_core.units import NS_PER_MS, NS_PER_S
from vla_policy_node.recording.cdr import header_stamp_ns, picture_bytes
from vla_policy_node.recording.recorded_topic import RecordedTopic


@dataclass(frozen=True, kw_only=True)
class OffsetAudit:
    """Arrival minus stamp, milliseconds; negative where the stamp lies in the future."""

    median_ms: float
    p95_ms: float
    min_ms: float
    max_ms: float


@dataclass(frozen=True, kw_only=True)
class StreamAudit:
    """What was captured of one topic.

    Attributes:
        topic: Its resolved name.
        arrived: Messages that arrived.
        written: Messages that are in the bag.
        dropped: Messages that arrived and are not in the bag.
        rate_hz: Mean rate by stamp (by arrival without stamps); ``None`` below two messages.
        expected_rate_hz: Rate of the robot spec; ``None`` where it has none.
        longest_gap_s: Longest time without a message; for streams with an expected rate also that before the
            first and after the last message. ``None`` where nothing arrived.
        out_of_order: Messages stamped before one that arrived earlier.
        identical_pictures: Pictures equal to the one before.
        malformed: Messages that are shorter than their type; they are in the bag all the same.
        offset: Arrival minus stamp; ``None`` without stamps.
    """

    topic: str
    arrived: int
    written: int
    dropped: int
    rate_hz: float | None
    expected_rate_hz: float | None
    longest_gap_s: float | None
    out_of_order: int
    identical_pictures: int
    malformed: int
    offset: OffsetAudit | None


class StreamCounter:
    """Counts the messages of one topic while they arrive."""

    def __init__(self, topic: RecordedTopic) -> None:
        self.topic = topic
        self._arrivals_ns: array[int] = array("q")
        self._stamps_ns: array[int] = array("q")
        self._last_picture = b""
        self._offsets_ms: array[float] = array("d")
        self._identical = 0
        self._malformed = 0

    @property
    def arrived(self) -> int:
        """Messages so far."""
        return len(self._arrivals_ns)

    def add(self, received_ns: int, data: bytes) -> None:
        """Count a serialised message."""
        self._arrivals_ns.append(received_ns)
        try:
            stamp_ns = header_stamp_ns(data) if self.topic.is_stamped else received_ns
            picture = picture_bytes(data, self.topic.type) if self.topic.is_camera else b""
        except (struct.error, IndexError):
            self._malformed += 1
            return
        self._stamps_ns.append(stamp_ns)
        self._offsets_ms.append((received_ns - stamp_ns) / NS_PER_MS)
        if self.topic.is_camera:
            self._identical += picture == self._last_picture
            self._last_picture = picture

    def result(self, started_ns: int, ended_ns: int, written: int) -> StreamAudit:
        """Return what was captured between start and end; ``written`` messages are in the bag."""
        newest, out_of_order = _in_order(self._stamps_ns)
        return StreamAudit(
            topic=self.topic.name,
            arrived=self.arrived,
            written=written,
            dropped=max(0, self.arrived - written),
            rate_hz=_rate_hz(newest),
            expected_rate_hz=self.topic.rate_hz,
            longest_gap_s=self._longest_gap_s(newest, started_ns, ended_ns),
            out_of_order=out_of_order,
            identical_pictures=self._identical,
            malformed=self._malformed,
            offset=self._offset(),
        )

    def _longest_gap_s(self, newest: Sequence[int], started_ns: int, ended_ns: int) -> float | None:
        if not self.arrived:
            return None
        gaps = [after - before for before, after in pairwise(newest)]
        if self.topic.is_required:
            gaps += [min(self._arrivals_ns) - started_ns, ended_ns - max(self._arrivals_ns)]
        return max(gaps, default=0) / NS_PER_S

    def _offset(self) -> OffsetAudit | None:
        if not self.topic.is_stamped or not self._offsets_ms:
            return None
        offsets = sorted(self._offsets_ms)
        return OffsetAudit(
            median_ms=statistics.median(offsets),
            p95_ms=offsets[min(len(offsets) - 1, round(0.95 * (len(offsets) - 1)))],
            min_ms=offsets[0],
            max_ms=offsets[-1],
        )


def _in_order(times_ns: Sequence[int]) -> tuple[list[int], int]:
    """Return the times that are newer than all before them, and how many are older than one before them."""
    newest: list[int] = []
    late = 0
    for time_ns in times_ns:
        if newest and time_ns < newest[-1]:
            late += 1
        else:
            newest.append(time_ns)
    return newest, late


def _rate_hz(newest: Sequence[int]) -> float | None:
    if len(newest) < 2 or newest[-1] == newest[0]:
        return None
    return (len(newest) - 1) * NS_PER_S / (newest[-1] - newest[0])
