# SPDX-License-Identifier: Apache-2.0
"""Which ticks of a bag become frames of which episode, with which actions; numbers only, no picture is decoded.

Ticks without an observation or without a sentence are cut out: what is left on both sides becomes two episodes of
the dataset ("pieces"), so that no window crosses the cut.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_core.geometry import FloatArray, Pose
from vla_core.robot_spec import RobotSpec
from vla_core.units import NS_PER_S
from vla_training.conversion.bag_labels import BagLabels
from vla_training.conversion.bag_scan import BagScan
from vla_training.conversion.capture_faults import capture_between
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.episode_writer import Stretch
from vla_training.conversion.motion_labels import (
    MotionLabels,
    MotionSource,
    gripper_decisions,
    has_command,
    label_motion,
)
from vla_training.conversion.recorded_commands import COMMAND_TYPES
from vla_training.conversion.segments import Segment, find_segments
from vla_training.conversion.sentences import sentences_of
from vla_training.conversion.tick_table import Refusal, TickTable

ARM_NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw")


@dataclass(frozen=True, eq=False, kw_only=True)
class Piece:
    """Unbroken frames: one episode of the dataset.

    Attributes:
        key: Its name in the dataset.
        first: Row of its first tick in the table.
        actions: (n, 7) normalised motion clipped to [-1, 1], and ``gripper_open`` that is asked for.
        targets: n poses, TCP in base, that each action leads to.
        gripper_before: (n,) ``gripper_open`` that was asked for until each tick.
        sentences: n sentences.
    """

    key: str
    first: int
    actions: FloatArray
    targets: tuple[Pose, ...]
    gripper_before: FloatArray
    sentences: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """Consecutive frames with one sentence."""
        starts = [k for k in range(len(self)) if k == 0 or self.sentences[k] != self.sentences[k - 1]]
        ends = [*(start - 1 for start in starts[1:]), len(self) - 1]
        return tuple(
            Stretch(first=first, last=last, instruction=self.sentences[first])
            for first, last in zip(starts, ends, strict=True)
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class EpisodePlan:
    """One episode of a bag.

    Attributes:
        key: Its name.
        pieces: What becomes of it in the dataset; empty when it is skipped.
        report: What was left out and why, as plain data.
    """

    key: str
    pieces: tuple[Piece, ...]
    report: dict[str, Any]


def plan_episodes(
    scan: BagScan,
    labels: BagLabels,
    spec: RobotSpec,
    config: ConversionConfig,
    damaged: Mapping[str, Collection[int]],
) -> list[EpisodePlan]:
    """Return the episodes of a bag in the order of time.

    Args:
        scan: What one pass over the bag found.
        labels: What people wrote about it.
        spec: The robot.
        config: Every choice.
        damaged: Camera to the numbers of pictures that cannot be decoded; ticks that need them are refused.

    Raises:
        BagError: The bag lacks what the configuration asks for.
    """
    gripper = gripper_decisions(scan.ticks, spec, config.gripper_source)
    segments, how = find_segments(scan, labels, config, gripper)
    is_recorded_whole = how == "bag" or (how == "markers" and len(segments) == 1)
    plans = []
    for number, segment in enumerate(segments):
        first, end = np.searchsorted(scan.ticks.stamp_ns, [segment.start_ns, segment.end_ns + 1])
        sentences, source = sentences_of(
            segment,
            number,
            len(segments),
            scan.ticks.stamp_ns[first:end].tolist(),
            said=scan.said,
            labels=labels,
            config=config,
            is_recorded_whole=is_recorded_whole,
        )
        planner = _Planner(scan, spec, config, gripper, f"{scan.bag.key}_{number:03d}")
        plan = planner.plan(segment, int(first), sentences, damaged)
        plan.report.update(episodes_from=how, sentence_source=source)
        plans.append(plan)
    return plans


class _Planner:
    """Plans one episode."""

    def __init__(
        self, scan: BagScan, spec: RobotSpec, config: ConversionConfig, gripper: FloatArray, key: str
    ) -> None:
        self._scan, self._table, self._spec, self._config = scan, scan.ticks, spec, config
        self._gripper, self._key = gripper, key
        self._period_ns = round(config.period_s * NS_PER_S)

    def plan(
        self, segment: Segment, first: int, sentences: list[str], damaged: Mapping[str, Collection[int]]
    ) -> EpisodePlan:
        refusals = [_refusal(self._table, first + k, sentence, damaged) for k, sentence in enumerate(sentences)]
        runs = _runs(self._table, first, refusals, self._period_ns)
        report = self._facts(segment, first, sentences, refusals)
        reason, is_meant = self._why_not(segment, first, sentences, runs, report)
        if reason is not None:
            return EpisodePlan(
                key=self._key, pieces=(), report=report | {"skipped": reason, "skipped_on_purpose": is_meant}
            )
        source: MotionSource = "command" if self._has_commands(runs) else "measured"
        labels = [self._label(run, source) for run in runs]
        kept, trimmed = self._trim(runs, labels)
        long_enough = [run for run in kept if len(run) >= self._config.min_frames]
        report |= {
            "action_source": source,
            "trimmed": trimmed,
            "too_short": sum(len(run) for run in kept) - sum(len(run) for run in long_enough),
        }
        if not long_enough:
            idle = not kept
            reason = "nothing moves in it" if idle else "no unbroken row of frames is long enough"
            return EpisodePlan(
                key=self._key, pieces=(), report=report | {"skipped": reason, "skipped_on_purpose": False}
            )
        pieces, units = [], []
        for number, run in enumerate(long_enough):
            labelled = self._label(run, source)
            pieces.append(self._piece(number, run, labelled, sentences[run.start - first : run.stop - first]))
            units.append(labelled.units[:-1])
        clipped = np.mean(np.abs(np.concatenate(units)) > 1.0, axis=0)
        report |= {
            "frames": sum(len(piece) for piece in pieces),
            "seconds": sum(len(piece) for piece in pieces) * self._config.period_s,
            "pieces": [{"key": piece.key, "frames": len(piece)} for piece in pieces],
            "clipped": dict(zip(ARM_NAMES, (round(float(share), 6) for share in clipped), strict=True)),
        }
        return EpisodePlan(key=self._key, pieces=tuple(pieces), report=report)

    def _facts(
        self, segment: Segment, first: int, sentences: list[str], refusals: list[Refusal | None]
    ) -> dict[str, Any]:
        stamps = self._table.stamp_ns[first : first + len(sentences)]
        refused: dict[str, Counter[str]] = {}
        for refusal in refusals:
            if refusal is not None:
                refused.setdefault(refusal[0], Counter())[refusal[1]] += 1
        silent = int(np.sum(np.diff(stamps) // self._period_ns - 1)) if len(stamps) > 1 else 0
        if silent:
            refused["every stream"] = Counter(silent=silent)
        return {
            "key": self._key,
            "name": segment.name,
            "begins_s": round((segment.start_ns - self._scan.first_ns) / NS_PER_S, 3),
            "lasts_s": round((segment.end_ns - segment.start_ns) / NS_PER_S, 3),
            "outcome": segment.outcome,
            "instructions": list(dict.fromkeys(sentence for sentence in sentences if sentence)),
            "ticks": len(sentences) + silent,
            "refused": {stream: dict(sorted(kinds.items())) for stream, kinds in sorted(refused.items())},
            "streams": capture_between(self._scan, self._spec, segment.start_ns, segment.end_ns),
            "frames": 0,
            "skipped": None,
        }

    def _why_not(
        self, segment: Segment, first: int, sentences: list[str], runs: list[range], report: dict[str, Any]
    ) -> tuple[str | None, bool]:
        """Return why an episode is skipped, ``None`` if it is not, and whether a person wanted that."""
        config = self._config
        if segment.discarded:
            return "discarded", True
        if segment.outcome == "failure" and not config.keep_failed:
            return "its outcome is failure (--keep-failed converts it)", True
        if segment.cut is not None and not config.keep_cut:
            return f"it is not whole (--keep-cut converts what there is): {segment.cut}", False
        if not any(sentences):
            return "it has no sentence. Give --instruction or --instructions", False
        if not runs:
            return f"no tick has an observation: {_worst(report['refused'])}", False
        if config.action_source == "command" and not self._has_commands(runs):
            return self._no_command(), False
        told = self._table.gripper_command[first : first + len(sentences)]
        if config.gripper_source == "command" and not np.any(np.isfinite(told)):
            return "no gripper command is in the bag until its end. Use --gripper-source measured", False
        return None, False

    def _has_commands(self, runs: list[range]) -> bool:
        return self._config.action_source != "measured" and all(
            has_command(self._table, run.start, run.stop - 1) for run in runs
        )

    def _no_command(self) -> str:
        interface = self._spec.command.interface
        if interface not in COMMAND_TYPES:
            return (
                f"commands of the interface '{interface}' do not say where the TCP shall be; allowed: "
                f"{', '.join(COMMAND_TYPES)}. Use --action-source measured"
            )
        return f"not every frame has a command on '{self._spec.command.topic}'. Use --action-source measured"

    def _label(self, run: range, source: MotionSource) -> MotionLabels:
        space = self._config.action_space
        return label_motion(self._table, run.start, run.stop - 1, spec=self._spec, space=space, source=source)

    def _trim(self, runs: list[range], labels: list[MotionLabels]) -> tuple[list[range], dict[str, int]]:
        """Return runs without what stands still at both ends of the episode, and how many frames that were."""
        config = self._config
        active: list[int] = []
        for run, label in zip(runs, labels, strict=True):
            moves = (label.moved_m > config.idle_m) | (label.moved_rad > config.idle_rad)
            grips = self._gripper[run.start + 1 : run.stop] != self._gripper[run.start : run.stop - 1]
            moves[:-1] |= grips
            active.extend(run.start + int(k) for k in np.nonzero(moves)[0])
        if not config.trim_idle:
            return runs, {"head": 0, "tail": 0}
        if not active:
            return [], {"head": sum(len(run) for run in runs), "tail": 0}
        # The action of the last active tick leads to the next one, which therefore stays.
        low, high = active[0] - config.idle_margin, active[-1] + 1 + config.idle_margin
        kept = [range(max(run.start, low), min(run.stop, high + 1)) for run in runs]
        head = sum(max(0, min(run.stop, low) - run.start) for run in runs)
        tail = sum(max(0, run.stop - max(run.start, high + 1)) for run in runs)
        return [run for run in kept if len(run)], {"head": head, "tail": tail}

    def _piece(self, number: int, run: range, labels: MotionLabels, sentences: list[str]) -> Piece:
        before = self._gripper[run.start : run.stop]
        asked = np.append(before[1:], before[-1])
        return Piece(
            key=f"{self._key}_{number:02d}",
            first=run.start,
            actions=np.column_stack([np.clip(labels.units, -1.0, 1.0), asked]),
            targets=labels.targets,
            gripper_before=before,
            sentences=tuple(sentences),
        )


def _refusal(table: TickTable, tick: int, sentence: str, damaged: Mapping[str, Collection[int]]) -> Refusal | None:
    refusal = table.refusals[tick]
    if refusal is not None:
        return refusal
    for camera, numbers in damaged.items():
        if int(table.pictures[camera][tick]) in numbers:
            return camera, "invalid"
    return None if sentence else ("instruction", "missing")


def _runs(table: TickTable, first: int, refusals: list[Refusal | None], period_ns: int) -> list[range]:
    """Return the unbroken runs of ticks that were not refused."""
    runs: list[range] = []
    for tick, refusal in enumerate(refusals, start=first):
        if refusal is not None:
            continue
        follows = runs and runs[-1].stop == tick and table.stamp_ns[tick] - table.stamp_ns[tick - 1] == period_ns
        if follows:
            runs[-1] = range(runs[-1].start, tick + 1)
        else:
            runs.append(range(tick, tick + 1))
    return runs


def _worst(refused: Mapping[str, Mapping[str, int]]) -> str:
    """Return the most frequent refusal in words."""
    counts = {(stream, kind): number for stream, kinds in refused.items() for kind, number in kinds.items()}
    if not counts:
        return "it has no tick"
    (stream, kind), number = max(counts.items(), key=lambda entry: entry[1])
    return f"stream '{stream}' is {kind} at {number} ticks"
