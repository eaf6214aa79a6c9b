# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_core.timeline import StreamBuffer

stamps = st.lists(st.integers(0, 1000), min_size=1, max_size=30)


@given(stamps, st.integers(-10, 1010))
def test_hold_returns_the_newest_sample_that_is_not_in_the_future(arrivals: list[int], now: int) -> None:
    buffer: StreamBuffer[int] = StreamBuffer(capacity=100)
    for stamp in arrivals:
        buffer.push(stamp, stamp)
    newest = [stamp for i, stamp in enumerate(arrivals) if all(stamp > earlier for earlier in arrivals[:i])]
    past = [stamp for stamp in arrivals if stamp <= now]
    sample = buffer.hold(now)
    assert (sample.value if sample else None) == (max(past) if past else None)
    assert buffer.num_late == len(arrivals) - len(newest)


@pytest.mark.parametrize(("now", "found"), [(100, 100), (150, 100), (151, None), (99, None)])
def test_as_of_includes_its_tolerance(now: int, found: int | None) -> None:
    buffer: StreamBuffer[int] = StreamBuffer(capacity=4)
    buffer.push(100, 100)
    sample = buffer.as_of(now, tolerance_ns=50)
    assert (sample.value if sample else None) == found


def test_only_the_newest_samples_are_kept() -> None:
    buffer: StreamBuffer[int] = StreamBuffer(capacity=3)
    for stamp in range(10):
        buffer.push(stamp, stamp)
    assert buffer.hold(6) is None
    assert buffer.hold(7) is not None


def test_unchanged_since_follows_an_unbroken_row_of_equal_content() -> None:
    buffer: StreamBuffer[str] = StreamBuffer(capacity=10, same_content=lambda a, b: a == b)
    since = []
    for stamp, content in enumerate("aabbbab"):
        buffer.push(stamp, content)
        sample = buffer.newest
        assert sample is not None
        since.append(sample.unchanged_since_ns)
    assert since == [0, 0, 2, 2, 2, 5, 6]


def test_a_stream_whose_clock_jumped_back_is_heard_again() -> None:
    buffer: StreamBuffer[int] = StreamBuffer(capacity=8)
    for stamp in [*range(1000, 1020), *range(10, 30)]:
        buffer.push(stamp, stamp)
    sample = buffer.hold(29)
    assert sample is not None
    assert sample.value == 29
    assert buffer.newest is sample
