# SPDX-License-Identifier: Apache-2.0
"""The frame test in words: where each motion will lead, and whether the measured pose went there."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from vla_core.codecs.pose_stamped import decode_pose
from vla_core.errors import CodecError
from vla_core.geometry import FloatArray, Pose, angle_rad, distance_m
from vla_core.guard.workspace import Workspace
from vla_core.observer import TCP_POSE
from vla_core.robot_spec import LimitsSpec
from vla_policy_node.doctor.evidence import Evidence
from vla_policy_node.doctor.findings import Finding, Notes
from vla_policy_node.doctor.frame_plan import MOTIONS, FrameMotion, displacement, in_words
from vla_policy_node.doctor.frame_run import MeasuredMotion

_DIRECTION_DEG = 15.0
_MAGNITUDE = 0.3
_SIDE_M, _SIDE_DEG = 0.005, 2.0
_BASE_AXES = ("base_x", "base_y", "base_z")


def plan_findings(evidence: Evidence, axes: Sequence[str]) -> list[Finding]:
    """Return where each motion will lead from the measured pose, in words and in base coordinates."""
    notes = Notes("frame test: where the TCP will go (base: x forward, y left, z up)")
    messages = evidence.streams[TCP_POSE].messages
    try:
        if not messages:
            raise CodecError("no TCP pose came")
        pose = decode_pose(messages[-1], evidence.spec.base_frame)
    except CodecError as error:
        notes.fail("start", str(error), "correct the TCP pose first")
        return notes.findings
    for name in axes:
        motion = MOTIONS[name]
        target = motion.target(pose)
        if why := why_not(motion, pose, evidence.spec.limits):
            notes.skip(called(motion), why, "bring the arm to the middle of its workspace")
        else:
            where = "the place stays" if motion.is_rotation else f"to {_place(target)}"
            notes.ok(called(motion), f"{_described(motion, pose, target)}; {where}")
    return notes.findings


def called(motion: FrameMotion) -> str:
    """Return what the table calls a motion, for example ``base x +2 cm``."""
    frame, axis = motion.name.split("_")
    return f"{frame} {axis[-1]} {'+5 degrees' if motion.is_rotation else '+2 cm'}"


def why_not(motion: FrameMotion, pose: Pose, limits: LimitsSpec) -> str | None:
    """Return why a motion cannot be tried from a pose; ``None`` when it can."""
    target_m = motion.target(pose).position_m
    if np.allclose(Workspace(limits).nearest_m(target_m, pose.position_m), target_m, atol=1e-6):
        return None
    return f"{_place(motion.target(pose))} is outside the workspace or in a keep-out box"


def judge(notes: Notes, motion: FrameMotion, measured: MeasuredMotion) -> None:
    """Note whether the measured pose did what was asked for."""
    wanted = displacement(measured.before, motion.target(measured.before), is_rotation=motion.is_rotation)
    found = displacement(measured.before, measured.after, is_rotation=motion.is_rotation)
    off_deg, share = _between_deg(wanted, found), float(np.linalg.norm(found) / np.linalg.norm(wanted))
    sentence = (
        f"{_amount(motion, found)} of {_amount(motion, wanted)}, {off_deg:.0f} degrees off: {_seen(motion, found)}"
    )
    side = _side_motion(motion, measured)
    if measured.astray is not None:
        notes.fail(called(motion), f"{sentence}; {measured.astray}", _fix_of_direction(motion, off_deg))
    elif share < 0.1:
        notes.fail(called(motion), sentence, "the arm did not move: is its controller active, and does it listen?")
    elif off_deg > _DIRECTION_DEG:
        notes.fail(called(motion), sentence, _fix_of_direction(motion, off_deg))
    elif side:
        notes.fail(
            called(motion),
            f"{sentence}; {side}",
            "controller and TCP pose speak of different points: correct the tool",
        )
    elif abs(share - 1.0) > _MAGNITUDE:
        notes.fail(
            called(motion), sentence, "look for a scale (degrees, millimetres), a time-out, or a soft controller"
        )
    else:
        notes.ok(called(motion), sentence)


def judge_axes(notes: Notes, measured: Mapping[str, MeasuredMotion]) -> None:
    """Note how the axes of the measured pose lie, when all three of the base were tried and one is wrong."""
    if not set(_BASE_AXES) <= set(measured):
        return
    columns = [displacement(measured[name].before, measured[name].after, is_rotation=False) for name in _BASE_AXES]
    if any(np.linalg.norm(column) < 0.002 for column in columns):
        return
    seen = [_nearest_axis(column) for column in columns]
    if seen == ["+x", "+y", "+z"]:
        return
    notes.fail(
        "axes of the base",
        f"asked for +x, +y, +z; the measured pose went {', '.join(seen)}",
        "the frame of the pose and that of the controller are turned against each other: correct the driver",
    )


def _described(motion: FrameMotion, before: Pose, after: Pose) -> str:
    vector = displacement(before, after, is_rotation=motion.is_rotation)
    if motion.is_rotation:
        return f"right-hand turn about an axis that points {in_words(vector)}"
    return in_words(vector)


def _seen(motion: FrameMotion, vector: FloatArray) -> str:
    return f"axis {in_words(vector)}" if motion.is_rotation else in_words(vector)


def _amount(motion: FrameMotion, vector: FloatArray) -> str:
    length = float(np.linalg.norm(vector))
    return f"{math.degrees(length):.1f} degrees" if motion.is_rotation else f"{length * 1e3:.1f} mm"


def _between_deg(wanted: FloatArray, found: FloatArray) -> float:
    lengths = float(np.linalg.norm(wanted) * np.linalg.norm(found))
    return 0.0 if lengths < 1e-12 else math.degrees(math.acos(np.clip(wanted @ found / lengths, -1.0, 1.0)))


def _side_motion(motion: FrameMotion, measured: MeasuredMotion) -> str:
    if motion.is_rotation:
        way_m = distance_m(measured.before, measured.after)
        return f"it also went {way_m * 1e3:.0f} mm" if way_m > _SIDE_M else ""
    turn_deg = math.degrees(angle_rad(measured.before, measured.after))
    return f"it also turned {turn_deg:.1f} degrees" if turn_deg > _SIDE_DEG else ""


def _fix_of_direction(motion: FrameMotion, off_deg: float) -> str:
    if off_deg > 150.0:
        return "this axis is reversed between the measured pose and the controller: correct the driver's frame"
    if motion.frame == "base":
        return "base_frame of the pose and that of the controller differ: correct the driver's frame or the spec"
    return "the orientation of the tool differs between pose and controller: correct the TCP in one of them"


def _nearest_axis(vector: FloatArray) -> str:
    index = int(np.argmax(np.abs(vector)))
    return f"{'+' if vector[index] > 0 else '-'}{'xyz'[index]}"


def _place(pose: Pose) -> str:
    return "(" + ", ".join(f"{value:.3f}" for value in pose.position_m) + ") m"
