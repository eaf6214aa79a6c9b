# SPDX-License-Identifier: Apache-2.0
"""Which parts of a bag are episodes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vla_core.episode_record import EpisodeRecord, Outcome
from vla_core.geometry import FloatArray
from vla_core.units import NS_PER_S
from vla_training.bags.raw_message import BagError
from vla_training.conversion.bag_labels import BagLabels, Range
from vla_training.conversion.bag_scan import BagScan
from vla_training.conversion.config import ConversionConfig, EpisodesFrom
from vla_training.conversion.said import Marker


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One episode of a bag, before anything is left out.

    Attributes:
        start_ns: Its beginning, time of reception.
        end_ns: Its end; a tick at that time belongs to it.
        name: What its marker calls it.
        instruction: What its marker or range says; ``None`` or empty for nothing.
        outcome: How it went.
        discarded: A person does not want it used.
        cut: Why it is not whole; ``None`` when it is.
    """

    start_ns: int
    end_ns: int
    name: str = ""
    instruction: str | None = None
    outcome: Outcome = "unknown"
    discarded: bool = False
    cut: str | None = None


def find_segments(
    scan: BagScan, labels: BagLabels, config: ConversionConfig, gripper: FloatArray
) -> tuple[list[Segment], EpisodesFrom]:
    """Return the episodes of a bag in the order of time, and what they were found by.

    Args:
        scan: What one pass found.
        labels: What people wrote about the bag.
        config: Says by what.
        gripper: (T,) what the gripper was asked for until each tick, 0 or 1.

    Raises:
        BagError: The bag lacks what the configuration asks for.
    """
    how = _how(scan, labels, config)
    if how == "markers":
        segments = _by_markers(scan)
    elif how == "ranges":
        segments = _by_ranges(scan, labels.ranges)
    elif how == "instruction":
        segments = _by_instruction(scan)
    elif how == "gaps":
        segments = _by_gaps(scan, config.gap_s)
    elif how == "gripper":
        segments = _by_gripper(scan, gripper, config.idle_margin)
    else:
        segments = [Segment(start_ns=scan.first_ns, end_ns=scan.last_ns, cut=_cut(scan, labels.record))]
    if is_recorded_whole(segments, how):
        segments = [_as_recorded(segment, labels.record) for segment in segments]
    return segments, how


def is_recorded_whole(segments: Sequence[Segment], how: EpisodesFrom) -> bool:
    """Return whether the bag is one recorded episode, which ``episode.yaml`` then speaks of."""
    return how == "bag" or (how == "markers" and len(segments) == 1)


def _how(scan: BagScan, labels: BagLabels, config: ConversionConfig) -> EpisodesFrom:
    asked = config.episodes_from
    has_start = any(marker.kind == "start" for marker in scan.said.markers)
    if asked == "auto":
        if labels.ranges:
            return "ranges"
        if has_start:
            return "markers"
        return "instruction" if labels.record is None and _sentences(scan) else "bag"
    if asked == "ranges" and not labels.ranges:
        raise BagError(f"{scan.bag.name}: the file of sentences has no ranges for this bag. Add them")
    if asked == "markers" and not has_start and scan.damage is None:
        raise BagError(f"{scan.bag.name}: there is no START marker in the bag. Use --episodes-from bag")
    if asked == "instruction" and not _sentences(scan) and scan.damage is None:
        raise BagError(f"{scan.bag.name}: there is no instruction in the bag. Use --episodes-from bag")
    return asked


def _sentences(scan: BagScan) -> bool:
    return any(sentence for _, sentence in scan.said.instructions)


def _cut(scan: BagScan, record: EpisodeRecord | None) -> str | None:
    if scan.damage is None and record is not None and record.ended_ns is None:
        return "the recorder was killed: episode.yaml has no ended_ns"
    return scan.damage


def _as_recorded(segment: Segment, record: EpisodeRecord | None) -> Segment:
    """Return a segment with what a person said last, in ``episode.yaml``."""
    if record is None:
        return segment
    outcome = segment.outcome if record.outcome == "unknown" else record.outcome
    return replace(segment, outcome=outcome, discarded=segment.discarded or record.discarded)


def _by_markers(scan: BagScan) -> list[Segment]:
    segments: list[Segment] = []
    is_open = False
    for marker in scan.said.markers:
        if marker.kind == "start":
            if is_open:
                segments[-1] = replace(
                    segments[-1],
                    end_ns=marker.received_ns - 1,
                    cut="the next one was started before it was stopped",
                )
            segments.append(_started(marker))
            is_open = True
        elif segments:
            number = len(segments) - 1 if is_open else _meant(segments, marker)
            segments[number] = _changed(segments[number], marker, is_open)
            is_open = is_open and marker.kind == "relabel"
    if is_open:
        segments[-1] = replace(segments[-1], end_ns=scan.last_ns, cut=scan.damage)
    return segments


def _started(marker: Marker) -> Segment:
    return Segment(
        start_ns=marker.received_ns,
        end_ns=marker.received_ns,
        name=marker.episode,
        instruction=marker.instruction,
        outcome=marker.outcome,
    )


def _meant(segments: Sequence[Segment], marker: Marker) -> int:
    """Return the number of the finished episode that a marker speaks of: the last of its name, else the last."""
    named = [
        number for number, segment in enumerate(segments) if marker.episode and segment.name == marker.episode
    ]
    return named[-1] if named else len(segments) - 1


def _changed(segment: Segment, marker: Marker, is_open: bool) -> Segment:
    if is_open and marker.kind in ("stop", "discard"):
        segment = replace(segment, end_ns=marker.received_ns)
    if marker.kind == "discard":
        return replace(segment, discarded=True)
    if marker.kind == "relabel":
        sentence = marker.instruction or segment.instruction
        return replace(segment, instruction=sentence, outcome=marker.outcome)
    if not is_open:  # a second STOP says nothing
        return segment
    return replace(segment, instruction=segment.instruction or marker.instruction, outcome=marker.outcome)


def _by_ranges(scan: BagScan, ranges: Sequence[Range]) -> list[Segment]:
    segments = []
    for own in ranges:
        start_ns, end_ns = (scan.first_ns + round(s * NS_PER_S) for s in (own.start_s, own.end_s))
        cut = scan.damage if end_ns > scan.last_ns else None
        segments.append(Segment(start_ns=start_ns, end_ns=end_ns, instruction=own.instruction, cut=cut))
    return segments


def _by_instruction(scan: BagScan) -> list[Segment]:
    said = scan.said.instructions
    ends = [*(received_ns - 1 for received_ns, _ in said[1:]), scan.last_ns]
    cuts = [*(None for _ in said[1:]), scan.damage]
    return [
        Segment(start_ns=start_ns, end_ns=end_ns, cut=cut)
        for (start_ns, sentence), end_ns, cut in zip(said, ends, cuts, strict=True)
        if sentence
    ]


def _by_gaps(scan: BagScan, gap_s: float) -> list[Segment]:
    seen = np.array([refusal is None for refusal in scan.ticks.refusals], dtype=bool)
    stamps = scan.ticks.stamp_ns[seen]
    if not len(stamps):
        return []
    parts = np.split(stamps, np.nonzero(np.diff(stamps) > gap_s * NS_PER_S)[0] + 1)
    segments = [Segment(start_ns=int(part[0]), end_ns=int(part[-1])) for part in parts]
    return [*segments[:-1], replace(segments[-1], cut=scan.damage)]


def _by_gripper(scan: BagScan, gripper: FloatArray, margin: int) -> list[Segment]:
    """Return one segment for each time that the gripper closes and opens again."""
    stamps = scan.ticks.stamp_ns
    opened = np.nonzero((gripper[:-1] < 0.5) & (gripper[1:] > 0.5))[0] + 1
    ends = [min(int(tick) + margin, len(stamps) - 1) for tick in opened]
    segments, first = [], 0
    for end in ends:
        segments.append(Segment(start_ns=int(stamps[first]), end_ns=int(stamps[end])))
        first = end + 1
    if first < len(stamps) and np.any(gripper[first:] < 0.5):
        segments.append(Segment(start_ns=int(stamps[first]), end_ns=int(stamps[-1]), cut=scan.damage))
    return [segment for segment in segments if segment.start_ns < segment.end_ns]
