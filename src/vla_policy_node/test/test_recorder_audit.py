# SPDX-License-Identifier: Apache-2.0
"""The capture audit on streams whose every stamp, drop and repeat is known."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_policy_node.recording.byte_queue import ByteQueue, QueuedMessage
from vla_policy_node.recording.capture_audit import AuditLimits, CaptureAudit, audit_capture
from vla_policy_node.recording.cdr import header_stamp_ns, picture_bytes
from vla_policy_node.recording.episode_folder import episode_name
from vla_policy_node.recording.recorded_topic import RecordedTopic
from vla_policy_node.recording.stream_counter import StreamCounter

MS = 1_000_000
T0 = 1_700_000_000_000 * MS
CAMERA = RecordedTopic(
    name="/static", type="sensor_msgs/msg/CompressedImage", stream="static", rate_hz=30.0, is_camera=True
)
POSE = RecordedTopic(name="/tcp_pose", type="geometry_msgs/msg/PoseStamped", stream="tcp_pose", rate_hz=100.0)
TWIST = RecordedTopic(name="/twist", type="geometry_msgs/msg/TwistStamped", stream="command.twist")


def header(stamp_ns: int, frame: bytes = b"base\0", order: str = "<") -> bytes:
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    encapsulation = b"\0\1\0\0" if order == "<" else b"\0\0\0\0"
    return encapsulation + struct.pack(f"{order}iII", seconds, nanoseconds, len(frame)) + frame


def picture(stamp_ns: int, pixels: bytes, padding: bytes = b"\xaa") -> bytes:
    """Return a serialised CompressedImage with arbitrary bytes where CDR leaves a hole."""
    data = header(stamp_ns)
    data += padding * (-(len(data) - 4) % 4) + struct.pack("<I", 5) + b"jpeg\0"
    data += padding * (-(len(data) - 4) % 4) + struct.pack("<I", len(pixels)) + pixels
    return data


def audit(
    counters: list[StreamCounter], duration_ms: int, lost: int = 0, limits: AuditLimits | None = None
) -> CaptureAudit:
    written = {counter.topic.name: counter.arrived - lost for counter in counters}
    by_stream = {counter.topic.stream: counter for counter in counters}
    return audit_capture(by_stream, written, T0, T0 + duration_ms * MS, limits or AuditLimits())


def sentences(found: CaptureAudit, level: str) -> list[str]:
    return [finding.sentence for finding in found.findings if finding.level == level]


def test_a_stream_as_promised_is_counted_exactly_and_nothing_is_wrong() -> None:
    counter = StreamCounter(POSE)
    for k in range(101):
        counter.add(T0 + k * 10 * MS, header(T0 + k * 10 * MS - (3 if k < 51 else 7) * MS))
    found = audit([counter], 1000)
    stream = found.streams["tcp_pose"]
    assert (stream.arrived, stream.written, stream.dropped, stream.out_of_order) == (101, 101, 0, 0)
    assert stream.rate_hz == pytest.approx(100 * 1000 / 996)
    assert stream.longest_gap_s == pytest.approx(0.010)
    assert stream.offset is not None
    offset = stream.offset
    assert (offset.median_ms, offset.p95_ms, offset.min_ms, offset.max_ms) == (3.0, 7.0, 3.0, 7.0)
    assert found.is_usable
    assert found.summary() == "101 messages in 1.0 s; nothing is wrong"


def test_a_stream_that_is_silent_is_a_failure_and_a_silent_command_a_note() -> None:
    found = audit([StreamCounter(POSE), StreamCounter(TWIST)], 1000)
    assert not found.is_usable
    assert "nothing was received" in found.summary()
    assert [finding.level for finding in found.findings] == ["failure", "note"]
    assert sentences(found, "note") == ["no message on command.twist; actions can only come from measured poses"]


@pytest.mark.parametrize(("begin", "end"), [(0, 20), (40, 60), (80, 100)])
def test_a_gap_is_found_at_the_start_in_the_middle_and_at_the_end(begin: int, end: int) -> None:
    counter = StreamCounter(POSE)
    for k in range(101):
        if not begin <= k <= end:
            counter.add(T0 + k * 10 * MS, header(T0 + k * 10 * MS))
    stream = audit([counter], 1000).streams["tcp_pose"]
    assert stream.longest_gap_s == pytest.approx(0.22 if begin == 40 else 0.21)
    assert any("nothing for 0.2" in text for text in sentences(audit([counter], 1000), "warning"))


def test_repeated_pictures_are_counted_whatever_lies_in_the_holes_between_fields() -> None:
    counter = StreamCounter(CAMERA)
    for k, pixels in enumerate([b"one", b"two", b"two", b"two", b"six"]):
        counter.add(T0 + k * 33 * MS, picture(T0 + k * 33 * MS, pixels, padding=bytes([k])))
    found = audit([counter], 133)
    assert found.streams["static"].identical_pictures == 2
    assert any("2 pictures are equal to the one before" in text for text in sentences(found, "warning"))


def test_a_camera_tells_the_delay_that_reading_by_reception_needs() -> None:
    counter = StreamCounter(CAMERA)
    for k in range(31):
        counter.add(T0 + k * 33 * MS + 42 * MS, picture(T0 + k * 33 * MS, bytes([k])))
    (note,) = sentences(audit([counter], 1032), "note")
    assert "comes 42 ms after its stamp" in note
    assert "correct by a delay of 42 ms" in note


def test_stamps_in_the_future_are_a_warning_with_the_size_of_the_error() -> None:
    counter = StreamCounter(POSE)
    for k in range(101):
        counter.add(T0 + k * 10 * MS, header(T0 + k * 10 * MS + 250 * MS))
    (warning,) = sentences(audit([counter], 1000), "warning")
    assert "stamps lie 250 ms in the future" in warning


def test_what_is_not_in_the_bag_is_a_failure() -> None:
    counter = StreamCounter(POSE)
    for k in range(101):
        counter.add(T0 + k * 10 * MS, header(T0 + k * 10 * MS))
    found = audit([counter], 1000, lost=4)
    assert found.streams["tcp_pose"].dropped == 4
    assert "4 of 101 messages are not in the bag" in sentences(found, "failure")[0]


def test_bytes_that_are_no_such_message_are_counted_and_harm_nothing() -> None:
    counter = StreamCounter(CAMERA)
    for junk in (b"", b"\0\1\0\0", header(T0), picture(T0, b"x")[:-9]):
        counter.add(T0, junk)
    found = audit([counter], 10)
    assert found.streams["static"].malformed == 4
    assert not found.is_usable


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=60))
def test_messages_older_than_one_before_them_are_counted_as_out_of_order(stamps_us: list[int]) -> None:
    counter = StreamCounter(POSE)
    for k, stamp_us in enumerate(stamps_us):
        counter.add(T0 + k, header(T0 + stamp_us * 1000))
    late = sum(stamp < max(stamps_us[:k]) for k, stamp in enumerate(stamps_us) if k)
    assert audit([counter], 1000).streams["tcp_pose"].out_of_order == late


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**9 - 1), st.sampled_from("<>"), st.binary(max_size=9))
def test_a_stamp_is_read_in_either_byte_order(seconds: int, nanoseconds: int, order: str, frame: bytes) -> None:
    stamp_ns = seconds * 10**9 + nanoseconds
    assert header_stamp_ns(header(stamp_ns, frame, order)) == stamp_ns


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_pictures_are_equal_when_their_pixels_are(first: bytes, second: bytes) -> None:
    kind = "sensor_msgs/msg/CompressedImage"
    assert picture_bytes(picture(T0, first, b"\0"), kind) == first
    same = picture_bytes(picture(T0, first, b"\1"), kind) == picture_bytes(picture(T0 + 1, second, b"\2"), kind)
    assert same == (first == second)


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=40))
def test_a_full_queue_refuses_and_counts_and_keeps_the_order(sizes: list[tuple[int, bool]]) -> None:
    queue = ByteQueue(100)
    offered = [QueuedMessage(str(k), 0, 0, b"x" * size) for k, (size, _) in enumerate(sizes)]
    kept = [m for m, (_, must_fit) in zip(offered, sizes, strict=True) if queue.put(m, must_fit)]
    assert queue.num_refused == len(offered) - len(kept)
    assert all(m in kept for m, (_, must_fit) in zip(offered, sizes, strict=True) if must_fit)
    queue.close()
    assert (queue.take_all(0.0) or []) == kept
    assert queue.take_all(0.0) is None


@given(st.text(max_size=200))
def test_the_name_of_an_episode_is_a_plain_file_name_that_sorts_by_time(sentence: str) -> None:
    name = episode_name(T0, sentence)
    assert name.startswith("20231114T221320.000Z_")
    assert "/" not in name
    assert name.isascii()
    assert len(name) < 80
    assert name < episode_name(T0 + 10**9, sentence)
