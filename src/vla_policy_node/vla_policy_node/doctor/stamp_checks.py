# SPDX-License-Identifier: Apache-2.0
"""Stamps: how old messages get, whether they come from the clock that the policy node uses, and ``delay_ms``."""

import math

import numpy as np

from vla_core.geometry import FloatArray
from vla_core.units import NS_PER_MS
from vla_policy_node.doctor.evidence import Evidence, StreamRecord
from vla_policy_node.doctor.findings import Finding, Notes
from vla_policy_node.doctor.stream_checks import stream_settings, subject_of

_OTHER_CLOCK_MS = 10_000.0
_CLOCK_NOISE_MS = 2.0
_STAMPED_ON_ARRIVAL_MS = 1.0


def check_stamps(evidence: Evidence, record: StreamRecord) -> list[Finding]:
    """Return the findings about the stamps of a stream."""
    notes = Notes(subject_of(evidence, record.stream))
    if not record.num_messages:
        return []
    settings = stream_settings(evidence, record.stream)
    stamps_ms = (record.stamps_ns / NS_PER_MS) - settings.delay_ms
    offsets_ms = record.received_ns / NS_PER_MS - stamps_ms
    middle_ms = float(np.median(offsets_ms))
    if not record.stamps_ns.any():
        notes.fail("stamps", "all stamps are zero", "let the driver stamp its messages when it measures")
    elif abs(middle_ms) > _OTHER_CLOCK_MS:
        notes.fail("stamps", _other_clock(middle_ms), _fix_of_another_clock(evidence))
    elif middle_ms < -_CLOCK_NOISE_MS:
        raised_ms = math.ceil(settings.delay_ms - middle_ms)
        notes.fail(
            "stamps",
            f"{-middle_ms:.1f} ms in the future",
            f"synchronise the clocks (chrony, PTP); if they are, set delay_ms to {raised_ms} or more",
        )
    else:
        _check_order(notes, record)
        _check_age(notes, record, stamps_ms, settings.max_age_ms)
        if record.stream in evidence.spec.cameras:
            _tell_delay(notes, offsets_ms - settings.delay_ms, settings.delay_ms)
    return notes.findings


def _check_order(notes: Notes, record: StreamRecord) -> None:
    num_late = int((np.diff(record.stamps_ns) <= 0).sum())
    if num_late:
        notes.warn(
            "order",
            f"{num_late} of {record.num_messages} messages are not stamped after the one before",
            "look at the driver: two publishers, or a stamp that is not the measurement's",
        )


def _check_age(notes: Notes, record: StreamRecord, stamps_ms: FloatArray, limit_ms: float) -> None:
    """Look at the age that each message has reached when the next one takes its place."""
    received_ms = record.received_ns / NS_PER_MS
    ages_ms = received_ms[1:] - stamps_ms[:-1]
    if not len(ages_ms):
        return
    middle_ms, most_ms = np.percentile(ages_ms, (50, 95))
    found = f"up to {middle_ms:.0f} ms old (median), {most_ms:.0f} ms (p95); max_age_ms is {limit_ms:g}"
    if middle_ms > limit_ms:
        notes.fail("age", found, f"shorten the way of the data, or raise max_age_ms above {most_ms:.0f}")
    elif most_ms > limit_ms:
        notes.warn(
            "age",
            found,
            f"the arm would stop and go: look at the load, or raise max_age_ms to {most_ms * 1.2:.0f}",
        )
    else:
        notes.ok("age", found)


def _tell_delay(notes: Notes, offsets_ms: FloatArray, delay_ms: float) -> None:
    middle_ms, most_ms = np.percentile(offsets_ms, (50, 95))
    found = f"pictures arrive {middle_ms:.1f} ms after their stamp (p95 {most_ms:.1f}); delay_ms is {delay_ms:g}"
    if middle_ms < _STAMPED_ON_ARRIVAL_MS and delay_ms == 0.0:
        notes.warn(
            "delay",
            found,
            "the driver seems to stamp on arrival: measure exposure to stamp (film a clock), set delay_ms to it",
        )
    else:
        notes.ok("delay", found)


def _other_clock(middle_ms: float) -> str:
    side = "behind" if middle_ms > 0 else "ahead of"
    return f"{abs(middle_ms) / 1e3:.0f} s {side} our clock: stamps of another clock"


def _fix_of_another_clock(evidence: Evidence) -> str:
    if evidence.use_sim_time:
        return "we run on /clock (use_sim_time): switch it off, or let the driver use /clock, too"
    if evidence.clock_publishers:
        publisher = evidence.clock_publishers[0]
        return f"{publisher} publishes /clock: run the doctor with --ros-args -p use_sim_time:=true"
    return "let the driver stamp with the system's time, and synchronise the machines (chrony, PTP)"
