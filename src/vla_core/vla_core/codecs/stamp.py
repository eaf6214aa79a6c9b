# SPDX-License-Identifier: Apache-2.0
"""Stamps of ROS headers as nanoseconds."""

from typing import Any

from vla_core.units import NS_PER_S


def stamp_ns_of(message: Any) -> int:
    """Return ``message.header.stamp`` (builtin_interfaces/Time) in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def split_stamp_ns(stamp_ns: int) -> tuple[int, int]:
    """Return (sec, nanosec) of a stamp in nanoseconds; the inverse of ``stamp_ns_of``."""
    return divmod(stamp_ns, NS_PER_S)
