# SPDX-License-Identifier: Apache-2.0
"""Which ticks of a bag become frames of which episode, with which actions; numbers only, no picture is decoded.

Ticks without an observation or without a sentence are cut out: what is left on both sides becomes two episodes of
the dataset ("pieces"), so that no window crosses the cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_core.actions.action_space import MOTION_NAMES
from vla_core.geometry import FloatArray, Pose
from vla_core.robot_spec import RobotSpec
from vla_core.units import NS_PER_S
from vla_training.conversion.bag_labels import BagLabels
from vla_training.conversion.bag_scan import BagScan
from vla_training.conversion.capture_faults import capture_between
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.episode_writer import Stretch
from vla_training.conversion.idle_ends import stands_still, trim_idle
from vla_training.conversion.motion_labels import (
    MotionLabels,
    MotionSource,
    gripper_decisions,
    label_motion,
    runs_with_commands,
)
from vla_training.conversion.recorded_commands import TCP_INTERFACES
from vla_training.conversion.segments import Segment, find_segments, is_recorded_whole
from vla_training.conversion.sentences import sentences_of
from vla_training.conversion.tick_runs import (
    count_refusals,
    num_silent,
    refusals_of,
    unbroken_runs,
    worst_refusal,
)
from vla_training.conversion.tick_table import Refusal


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
    damaged: Mapping[str, Mapping[int, str]],
) -> list[EpisodePlan]:
    """Return the episodes of a bag in the order of time.

    Args:
        scan: What one pass over the bag found.
        labels: What people wrote about it.
        spec: The robot.
        config: Every choice.
        damaged: Camera to the numbers of pictures that cannot be decoded, and why; ticks that need them are
            refused.

    Raises:
        BagError: The bag lacks what the configuration asks for.
    """
    gripper = gripper_decisions(scan.ticks, spec, config.gripper_source)
    segments, how = find_segments(scan, labels, config, gripper)
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
            is_recorded_whole=is_recorded_whole(segments, how),
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
        self, segment: Segment, first: int, sentences: list[str], damaged: Mapping[str, Mapping[int, str]]
    ) -> EpisodePlan:
        refusals = refusals_of(self._table, first, sentences, damaged)
        runs = unbroken_runs(self._table, first, refusals, self._period_ns)
        report = self._facts(segment, first, sentences, refusals)
        if segment.discarded:
            return self._skipped(report, "discarded", on_purpose=True)
        if segment.outcome == "failure" and not self._config.keep_failed:
            return self._skipped(report, "its outcome is failure (--keep-failed converts it)", on_purpose=True)
        refused = worst_refusal(report["refused"], self._reasons(damaged))
        reason = self._why_not(segment, first, sentences, runs, refused)
        if reason is not None:
            return self._skipped(report, reason)
        told = self._when_told(runs)
        source: MotionSource = "measured" if told is None else "command"
        waited = sum(len(run) for run in runs) - sum(len(run) for run in told or runs)
        runs = told or runs
        labels = [self._label(run, source) for run in runs]
        kept, trimmed = trim_idle(runs, labels, self._gripper, self._config)
        trimmed["head"] += waited
        whole = [run for run in kept if len(run) >= self._config.min_frames]
        too_short = sum(len(run) for run in kept) - sum(len(run) for run in whole)
        report |= {"action_source": source, "trimmed": trimmed, "too_short": too_short}
        if not whole:
            reason = "no unbroken row of frames is long enough" if kept else "nothing moves in it"
            return self._skipped(report, reason)
        return self._with_pieces(report, first, sentences, whole, source)

    def _skipped(self, report: dict[str, Any], reason: str, *, on_purpose: bool = False) -> EpisodePlan:
        report |= {"skipped": reason, "skipped_on_purpose": on_purpose}
        return EpisodePlan(key=self._key, pieces=(), report=report)

    def _with_pieces(
        self, report: dict[str, Any], first: int, sentences: list[str], runs: list[range], source: MotionSource
    ) -> EpisodePlan:
        labels = [self._label(run, source) for run in runs]
        pieces = tuple(
            self._piece(number, run, own, sentences[run.start - first : run.stop - first])
            for number, (run, own) in enumerate(zip(runs, labels, strict=True))
        )
        num_frames = sum(len(piece) for piece in pieces)
        clipped = np.mean(np.abs(np.concatenate([own.units[:-1] for own in labels])) > 1.0, axis=0)
        report |= {
            "frames": num_frames,
            "seconds": num_frames * self._config.period_s,
            "pieces": [{"key": piece.key, "frames": len(piece)} for piece in pieces],
            "clipped": dict(zip(MOTION_NAMES, (round(float(share), 6) for share in clipped), strict=True)),
        }
        return EpisodePlan(key=self._key, pieces=pieces, report=report)

    def _facts(
        self, segment: Segment, first: int, sentences: list[str], refusals: list[Refusal | None]
    ) -> dict[str, Any]:
        silent = num_silent(self._table, first, len(sentences), self._period_ns)
        return {
            "key": self._key,
            "name": segment.name,
            "begins_s": round((segment.start_ns - self._scan.first_ns) / NS_PER_S, 3),
            "lasts_s": round((segment.end_ns - segment.start_ns) / NS_PER_S, 3),
            "outcome": segment.outcome,
            "instructions": list(dict.fromkeys(sentence for sentence in sentences if sentence)),
            "ticks": len(sentences) + silent,
            "refused": count_refusals(refusals, silent),
            "streams": capture_between(self._scan, self._spec, segment.start_ns, segment.end_ns),
            "frames": 0,
            "skipped": None,
        }

    def _why_not(
        self,
        segment: Segment,
        first: int,
        sentences: list[str],
        runs: list[range],
        refused: str,
    ) -> str | None:
        """Return why an episode that is wanted cannot be converted; ``None`` when it can."""
        config = self._config
        if segment.cut is not None and not config.keep_cut:
            return f"it is not whole (--keep-cut converts what there is): {segment.cut}"
        if not any(sentences):
            return "it has no sentence. Give --instruction or --instructions"
        if not runs:
            return f"no tick has an observation: {refused}"
        if config.action_source == "command" and self._when_told(runs) is None:
            return self._no_command()
        told = self._table.gripper_command[first : first + len(sentences)]
        if config.gripper_source == "command" and not np.any(np.isfinite(told)):
            return "no gripper command is in the bag until its end. Use --gripper-source measured"
        return None

    def _reasons(self, damaged: Mapping[str, Mapping[int, str]]) -> dict[Refusal, str]:
        """Return what was said when a tick was refused for the first time, for each way of refusing."""
        pictures = {(camera, "invalid"): next(iter(own.values())) for camera, own in damaged.items() if own}
        return {**pictures, **self._table.reasons}

    def _when_told(self, runs: list[range]) -> list[range] | None:
        """Return the runs from the first command on; ``None`` if the actions cannot come from commands.

        They can when each tick has one, but for standing still before the first, which is trimmed.
        """
        if self._config.action_source == "measured":
            return None
        told = runs_with_commands(self._table, runs)
        kept = [run for run in told if len(run)]
        if not kept or told == runs:
            return kept or None
        waiting = [range(run.start, min(own.start + 1, run.stop)) for run, own in zip(runs, told, strict=True)]
        is_idle = all(stands_still(self._label(run, "measured"), self._config) for run in waiting)
        return kept if is_idle and self._config.trim_idle else None

    def _no_command(self) -> str:
        interface = self._spec.command.interface
        if interface not in TCP_INTERFACES:
            return (
                f"commands of the interface '{interface}' do not say where the TCP shall be; allowed: "
                f"{', '.join(TCP_INTERFACES)}. Use --action-source measured"
            )
        return f"not every frame has a command on '{self._spec.command.topic}'. Use --action-source measured"

    def _label(self, run: range, source: MotionSource) -> MotionLabels:
        space = self._config.action_space
        return label_motion(self._table, run.start, run.stop - 1, spec=self._spec, space=space, source=source)

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
