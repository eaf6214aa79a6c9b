# SPDX-License-Identifier: Apache-2.0
"""The observations that the live node would have made from a bag: same codecs, timeline and observer."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from vla_core.errors import ObservationRefusedError
from vla_core.observer import Observer
from vla_core.robot_spec import RobotSpec
from vla_core.types import Observation
from vla_core.units import NS_PER_S
from vla_training.bags.reader import BagMessage

# In a longer silence every stream is refused anyway, and one wrong clock must not cost a billion ticks.
LONGEST_SILENCE_NS = 10 * NS_PER_S


class _Received(Protocol):
    @property
    def received_ns(self) -> int: ...


M = TypeVar("M", bound=_Received)


def observe_bag(
    messages: Iterable[BagMessage], spec: RobotSpec, period_s: float
) -> Iterator[tuple[int, Observation | ObservationRefusedError]]:
    """Yield (tick, observation or refusal) on a grid of ``period_s`` that begins at the first message.

    At each tick the observer knows the messages received until then, as the live node does. A refusal names the
    stream that was missing, old or frozen; nothing is filled in.

    Args:
        messages: Messages in the order in which they were received.
        spec: The robot.
        period_s: Spacing of the ticks, seconds.
    """
    observer = Observer(spec)

    def take(message: BagMessage) -> None:
        observer.push(message.stream, message.message)

    for tick_ns in ticks(messages, take, round(period_s * NS_PER_S)):
        yield tick_ns, _observe(observer, tick_ns)


def ticks(messages: Iterable[M], take: Callable[[M], None], period_ns: int) -> Iterator[int]:
    """Yield each tick of a grid when all messages received until then have been taken, and none after.

    The grid begins at the first message. Of a silence of more than ``LONGEST_SILENCE_NS`` the rest of the ticks is
    left out.

    Args:
        messages: Messages in the order in which they were received.
        take: Called with each.
        period_ns: Spacing of the ticks, nanoseconds.
    """
    tick_ns: int | None = None
    for message in messages:
        if tick_ns is None:
            tick_ns = message.received_ns
        elif message.received_ns - tick_ns > LONGEST_SILENCE_NS:
            for _ in range(LONGEST_SILENCE_NS // period_ns):
                yield tick_ns
                tick_ns += period_ns
            tick_ns += max(0, (message.received_ns - tick_ns) // period_ns) * period_ns
        while message.received_ns > tick_ns:
            yield tick_ns
            tick_ns += period_ns
        take(message)
    if tick_ns is not None:
        yield tick_ns


def _observe(observer: Observer, tick_ns: int) -> Observation | ObservationRefusedError:
    try:
        return observer.observe(tick_ns)
    except ObservationRefusedError as refusal:
        return refusal
