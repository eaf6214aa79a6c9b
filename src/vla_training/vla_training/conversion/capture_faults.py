# SPDX-License-Identifier: Apache-2.0
"""How well the streams of a bag were captured: dropped and late messages, and clocks that disagree."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_core.observer import JOINTS, TCP_POSE
from vla_core.robot_spec import RobotSpec
from vla_core.units import NS_PER_MS, NS_PER_S
from vla_training.conversion.bag_scan import BagScan

Int64Array = NDArray[np.int64]
# Rates waver; a gap of more than this many periods lacks a message.
_GAP_PERIODS = 1.5
# Header stamps and reception this far apart come from two clocks.
_OTHER_CLOCK_MS = 1000.0


def rates_hz(spec: RobotSpec) -> dict[str, float]:
    """Return stream to the rate that the robot spec gives it."""
    cameras = {name: camera.rate_hz for name, camera in spec.cameras.items()}
    return {**cameras, TCP_POSE: spec.tcp_pose.rate_hz, JOINTS: spec.joints.rate_hz}


def num_dropped(stamps_ns: Int64Array, rate_hz: float) -> int:
    """Return how many messages are missing between the first and the last of a stream.

    Args:
        stamps_ns: (n,) stamps in any order.
        rate_hz: Rate of the stream. A gap above 1.5 periods lacks as many messages as fit into it.
    """
    periods = np.diff(np.unique(stamps_ns)).astype(np.float64) * (rate_hz / NS_PER_S)
    return int(np.sum(np.rint(periods[periods > _GAP_PERIODS]) - 1))


def num_late(stamps_ns: Int64Array) -> int:
    """Return how many messages came with a stamp not after one that had come before."""
    if len(stamps_ns) < 2:
        return 0
    newest_before = np.maximum.accumulate(stamps_ns)[:-1]
    return int(np.sum(stamps_ns[1:] <= newest_before))


def capture_of_bag(scan: BagScan, spec: RobotSpec) -> dict[str, dict[str, Any]]:
    """Return stream to messages, dropped, late, and header stamp minus time of reception in milliseconds."""
    return {
        stream: {
            "messages": len(scan.arrivals[stream]),
            "dropped": num_dropped(scan.arrivals[stream][:, 0], rate_hz),
            "late": num_late(scan.arrivals[stream][:, 0]),
            "header_minus_receive_ms": _offsets(scan.arrivals[stream]),
        }
        for stream, rate_hz in rates_hz(spec).items()
    }


def capture_between(scan: BagScan, spec: RobotSpec, start_ns: int, end_ns: int) -> dict[str, dict[str, int]]:
    """Return stream to messages, dropped and late of what was received in a part of a bag."""
    report = {}
    for stream, rate_hz in rates_hz(spec).items():
        arrivals = scan.arrivals[stream]
        stamps = arrivals[(arrivals[:, 1] >= start_ns) & (arrivals[:, 1] <= end_ns), 0]
        dropped, late = num_dropped(stamps, rate_hz), num_late(stamps)
        report[stream] = {"messages": len(stamps), "dropped": dropped, "late": late}
    return report


def clock_notes(scan: BagScan) -> list[str]:
    """Return a sentence for each stream whose header stamps are of another clock than the recorder's."""
    notes = []
    for stream, arrivals in scan.arrivals.items():
        offset_ms = _offsets(arrivals).get("median")
        if offset_ms is not None and abs(offset_ms) > _OTHER_CLOCK_MS:
            notes.append(
                f"stream '{stream}': header stamps are {offset_ms / 1e3:.1f} s from the time of reception. "
                "Synchronise the clocks, or convert with --stamps receive"
            )
    return notes


def _offsets(arrivals: Int64Array) -> dict[str, float]:
    if not len(arrivals):
        return {}
    offsets_ms = (arrivals[:, 0] - arrivals[:, 1]) / NS_PER_MS
    names = {"min": 0, "p5": 5, "median": 50, "p95": 95, "max": 100}
    return {name: round(float(np.percentile(offsets_ms, percent)), 3) for name, percent in names.items()}
