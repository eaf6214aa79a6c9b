# SPDX-License-Identifier: Apache-2.0
"""The audit at the end of an episode: what was captured of each stream, and what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vla_core.units import NS_PER_S
from vla_policy_node.recording.recorded_topic import RecordedTopic
from vla_policy_node.recording.stream_counter import OffsetAudit, StreamAudit, StreamCounter

Level = Literal["failure", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class AuditLimits:
    """What is said to be wrong.

    Attributes:
        min_rate_share: Less than this share of the robot spec's rate is a warning.
        max_gap_periods: A longest gap of more periods than this is a warning.
    """

    min_rate_share: float = 0.9
    max_gap_periods: float = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing to know about an episode: how bad it is, which stream, and a sentence."""

    level: Level
    stream: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class CaptureAudit:
    """What was captured of an episode.

    Attributes:
        duration_s: From start to end.
        streams: Stream name to what was captured of it.
        findings: What is wrong or worth knowing, the worst first.
    """

    duration_s: float
    streams: dict[str, StreamAudit]
    findings: tuple[Finding, ...]

    @property
    def is_usable(self) -> bool:
        """Whether nothing failed."""
        return not any(finding.level == "failure" for finding in self.findings)

    def summary(self) -> str:
        """Return a sentence: how much was captured, and what is wrong with it."""
        written = sum(stream.written for stream in self.streams.values())
        problems = [finding.sentence for finding in self.findings if finding.level != "note"]
        counted = f"{written} messages in {self.duration_s:.1f} s"
        return f"{counted}; {'; '.join(problems)}" if problems else f"{counted}; nothing is wrong"


def audit_capture(
    counters: Mapping[str, StreamCounter],
    written: Mapping[str, int],
    started_ns: int,
    ended_ns: int,
    limits: AuditLimits,
) -> CaptureAudit:
    """Return the audit of an episode.

    Args:
        counters: Stream name to its counter.
        written: Resolved topic to number of messages in the bag.
        started_ns: When the episode began.
        ended_ns: When it ended.
        limits: What is said to be wrong.
    """
    streams = {
        name: counter.result(started_ns, ended_ns, written.get(counter.topic.name, 0))
        for name, counter in counters.items()
    }
    findings = [
        finding
        for name, stream in streams.items()
        for finding in judge_stream(counters[name].topic, stream, limits)
    ]
    findings += _judge_commands(streams)
    worst_first = ("failure", "warning", "note")
    findings.sort(key=lambda finding: worst_first.index(finding.level))
    return CaptureAudit(duration_s=(ended_ns - started_ns) / NS_PER_S, streams=streams, findings=tuple(findings))


def judge_stream(topic: RecordedTopic, stream: StreamAudit, limits: AuditLimits) -> list[Finding]:
    """Return what is wrong with one stream, or worth knowing."""
    where = f"stream '{topic.stream}' ({topic.name})"
    if not stream.arrived:
        if not topic.is_required:
            return []
        sentence = f"{where}: nothing was received; start its driver, or correct topic and type in the robot spec"
        return [Finding("failure", topic.stream, sentence)]
    found: list[tuple[Level, str]] = []
    if stream.dropped:
        found.append(("failure", f"{where}: {stream.dropped} of {stream.arrived} messages are not in the bag"))
    if topic.rate_hz is not None:
        found += _judge_pace(where, stream, topic.rate_hz, limits)
    if stream.malformed:
        found.append(("failure", f"{where}: {stream.malformed} messages are shorter than {topic.type} is"))
    if stream.out_of_order:
        found.append(("warning", f"{where}: {stream.out_of_order} messages came out of the order of their stamps"))
    if stream.identical_pictures:
        level: Level = "note" if topic.may_repeat else "warning"
        found.append((level, f"{where}: {stream.identical_pictures} pictures are equal to the one before"))
    if stream.offset is not None and topic.is_required:
        found += _judge_offset(where, stream.offset, topic.is_camera)
    return [Finding(level, topic.stream, sentence) for level, sentence in found]


def _judge_pace(
    where: str, stream: StreamAudit, expected_hz: float, limits: AuditLimits
) -> list[tuple[Level, str]]:
    found: list[tuple[Level, str]] = []
    if stream.rate_hz is None or stream.rate_hz < limits.min_rate_share * expected_hz:
        rate = "a single message" if stream.rate_hz is None else f"{stream.rate_hz:.1f} Hz"
        found.append(("warning", f"{where}: {rate}, the robot spec says {expected_hz:g} Hz"))
    gap_s = stream.longest_gap_s or 0.0
    if gap_s > limits.max_gap_periods / expected_hz:
        found.append(("warning", f"{where}: nothing for {gap_s:.2f} s"))
    return found


def _judge_offset(where: str, offset: OffsetAudit, is_camera: bool) -> list[tuple[Level, str]]:
    if offset.median_ms < 0:
        return [
            (
                "warning",
                f"{where}: stamps lie {-offset.median_ms:.0f} ms in the future (median); synchronise the clocks, "
                f"or convert with a delay of {-offset.median_ms:.0f} ms",
            )
        ]
    if is_camera:
        return [
            (
                "note",
                f"{where}: comes {offset.median_ms:.0f} ms after its stamp (median; p95 {offset.p95_ms:.0f} ms); "
                f"to convert by time of reception, correct by a delay of {offset.median_ms:.0f} ms",
            )
        ]
    return []


def _judge_commands(streams: Mapping[str, StreamAudit]) -> list[Finding]:
    silent = [name for name, stream in streams.items() if _is_command(name) and not stream.arrived]
    if not silent:
        return []
    heard = any(_is_command(name) and stream.arrived for name, stream in streams.items())
    consequence = "" if heard else "; actions can only come from measured poses"
    return [Finding("note", silent[0], f"no message on {', '.join(silent)}{consequence}")]


def _is_command(stream: str) -> bool:
    return stream.startswith("command.")
