# SPDX-License-Identifier: Apache-2.0
"""The observations that the live node would have made from a bag: same codecs, timeline and observer."""

from collections.abc import Iterable, Iterator
from itertools import count

from vla_core.errors import ObservationRefusedError
from vla_core.observer import Observer
from vla_core.robot_spec import RobotSpec
from vla_core.types import Observation
from vla_core.units import NS_PER_S
from vla_training.bags.reader import BagMessage


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
    ticks: Iterator[int] | None = None
    tick_ns = 0
    for message in messages:
        if ticks is None:
            ticks = count(message.received_ns, round(period_s * NS_PER_S))
            tick_ns = next(ticks)
        while message.received_ns > tick_ns:
            yield tick_ns, _observe(observer, tick_ns)
            tick_ns = next(ticks)
        observer.push(message.stream, message.message)
    if ticks is not None:
        yield tick_ns, _observe(observer, tick_ns)


def _observe(observer: Observer, tick_ns: int) -> Observation | ObservationRefusedError:
    try:
        return observer.observe(tick_ns)
    except ObservationRefusedError as refusal:
        return refusal
