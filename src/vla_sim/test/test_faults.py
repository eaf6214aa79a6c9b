# SPDX-License-Identifier: Apache-2.0
import pytest

from vla_core.errors import VlaError
from vla_sim.faults import FaultyLink, check_delay_ms, check_fault

MS = 1_000_000


def sent_through(kind: str, delay_ms: int = 0) -> list[tuple[str, int]]:
    sent: list[tuple[str, int]] = []
    link: FaultyLink[str] = FaultyLink(lambda content, stamp_ns: sent.append((content, stamp_ns)))
    link.offer("a", 0)
    link.set_fault(kind, delay_ms)
    for step, content in enumerate("bcd", 1):
        link.offer(content, step * 10 * MS)
    return sent


def test_each_fault() -> None:
    assert sent_through("none") == [("a", 0), ("b", 10 * MS), ("c", 20 * MS), ("d", 30 * MS)]
    assert sent_through("drop") == [("a", 0)]
    assert sent_through("freeze") == [("a", 0), ("a", 10 * MS), ("a", 20 * MS), ("a", 30 * MS)]
    assert sent_through("delay", 20) == [("a", 0), ("b", 10 * MS)]


def test_a_fault_that_a_stream_cannot_have_is_refused() -> None:
    with pytest.raises(VlaError, match=r"fault.tcp_pose is 'freeze'; it can be none, drop, delay"):
        check_fault("tcp_pose", "freeze")
    with pytest.raises(VlaError, match="0 to 5000"):
        check_delay_ms(5001)
