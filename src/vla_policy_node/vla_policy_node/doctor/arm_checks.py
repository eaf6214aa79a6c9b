# SPDX-License-Identifier: Apache-2.0
"""Where the arm says it is: frame and place of the TCP pose, joints and their limits, and whether both agree."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vla_core.codecs.joint_state import decode_joint_positions
from vla_core.codecs.pose_stamped import decode_pose
from vla_core.errors import CodecError
from vla_core.geometry import FloatArray, Pose, relative
from vla_core.guard.workspace import Workspace
from vla_core.joint_following import MISMATCH_M, MISMATCH_RAD
from vla_core.observer import JOINTS, TCP_POSE
from vla_core.robot_spec import JOINT_INTERFACES, RobotSpec
from vla_policy_node.doctor.evidence import Evidence
from vla_policy_node.doctor.findings import Finding, Notes

_NEAR_LIMIT_RAD = 0.05
_SAME_PLACE_M, _SAME_TURN_RAD = 0.005, 0.02


def check_tcp_pose(evidence: Evidence) -> list[Finding]:
    """Return the findings about the measured TCP pose."""
    notes = Notes("tcp pose")
    messages = evidence.streams[TCP_POSE].messages
    if not messages:
        return []
    try:
        pose = decode_pose(messages[-1], evidence.spec.base_frame)
    except CodecError as error:
        notes.fail("frame", str(error), "make header.frame_id of the pose and base_frame of the robot spec equal")
        return notes.findings
    notes.ok("frame", f"given in '{evidence.spec.base_frame}'")
    _check_workspace(notes, evidence, pose)
    return notes.findings


def check_joints(evidence: Evidence) -> list[Finding]:
    """Return the findings about the arm's joints."""
    notes = Notes("joints")
    messages = evidence.streams[JOINTS].messages
    if not messages:
        return []
    spec = evidence.spec
    if _check_names(notes, list(messages[-1].name), spec.joints.names, spec.gripper.joint):
        positions = _positions(notes, messages[-1], spec.joints.names)
        if positions is not None:
            _check_limits(notes, evidence, positions)
    return notes.findings


def check_kinematics(evidence: Evidence) -> list[Finding]:
    """Return the findings about URDF and robot spec, and about joints and TCP pose."""
    notes = Notes("kinematics")
    if evidence.kinematics is None:
        notes.skip(
            "URDF",
            "the robot spec has no section 'kinematics': limits and TCP pose cannot be compared with a URDF",
            "name the URDF in the robot spec: a wrong frame or tool is then found without motion",
        )
    elif isinstance(evidence.kinematics, str):
        note, what_for = (
            (notes.fail, "") if needs_kinematics(evidence.spec) else (notes.warn, "only checks need it here: ")
        )
        note("URDF", f"{what_for}{evidence.kinematics}", "correct the section 'kinematics' of the robot spec")
    else:
        notes.ok("URDF", "chain, joint names, limits and speeds of the robot spec fit it")
        _check_forward(notes, evidence)
    return notes.findings


def needs_kinematics(spec: RobotSpec) -> bool:
    """Return whether the robot cannot be run without its kinematics."""
    return spec.command.interface in JOINT_INTERFACES or spec.tcp_pose.source == "joints"


def pose_by_joints(evidence: Evidence) -> tuple[Pose, Pose] | None:
    """Return the measured TCP pose and the one that the joints of the same moment give.

    ``None`` where one of them, or the kinematics, cannot be had.
    """
    poses, joints = evidence.streams[TCP_POSE], evidence.streams[JOINTS]
    if (
        not poses.messages
        or not joints.messages
        or evidence.kinematics is None
        or isinstance(evidence.kinematics, str)
    ):
        return None
    stamp_ns = poses.stamps_ns[-1]
    stamps_ns = joints.stamps_ns[-len(joints.messages) :]
    nearest = joints.messages[int(np.argmin(np.abs(stamps_ns - stamp_ns)))]
    try:
        measured = decode_pose(poses.messages[-1], evidence.spec.base_frame)
        positions = decode_joint_positions(nearest, evidence.spec.joints.names)
    except CodecError:
        return None
    return measured, evidence.kinematics.forward(positions)


def _check_workspace(notes: Notes, evidence: Evidence, pose: Pose) -> None:
    limits = evidence.spec.limits
    where = ", ".join(f"{value:.3f}" for value in pose.position_m)
    outside_m = Workspace(limits).outside_m(pose.position_m)
    in_boxes = [
        box.name
        for box in limits.keep_out
        if np.all((pose.position_m > box.min_m) & (pose.position_m < box.max_m))
    ]
    if outside_m > evidence.spec.command.reanchor_m:
        notes.fail(
            "place",
            f"({where}) m is {outside_m:.3f} m outside the workspace",
            "bring the arm into the workspace; if it is there: millimetres for metres, or another frame?",
        )
    elif outside_m > 0.0:
        notes.warn("place", f"({where}) m is {outside_m:.3f} m outside the workspace", "bring the arm into it")
    elif in_boxes:
        notes.warn("place", f"({where}) m is in the keep-out box '{in_boxes[0]}'", "bring the arm out of it")
    else:
        notes.ok("place", f"({where}) m, {-outside_m * 100:.1f} cm inside the workspace")


def _check_names(notes: Notes, found: Sequence[str], wanted: Sequence[str], gripper: str) -> bool:
    absent = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in (*wanted, gripper)]
    if absent:
        notes.fail(
            "names",
            f"missing: {', '.join(absent)}; there are: {', '.join(found) or 'none'}",
            "correct joints.names, or name the topic on which all of them come in one message",
        )
        return False
    more = f"; not used: {', '.join(extra)}" if extra else ""
    notes.ok("names", f"all {len(wanted)} of the robot spec{more}")
    return True


def _positions(notes: Notes, message: Any, names: Sequence[str]) -> FloatArray | None:
    try:
        return decode_joint_positions(message, names)
    except CodecError as error:
        notes.fail("positions", str(error), "look at the driver of the joint states")
        return None


def _check_limits(notes: Notes, evidence: Evidence, positions: FloatArray) -> None:
    joints = evidence.spec.joints
    rows = list(zip(joints.names, positions, joints.lower_rad, joints.upper_rad, strict=True))
    outside = [
        f"{name} {value:.3f} ({low:g} to {high:g})" for name, value, low, high in rows if not low <= value <= high
    ]
    near = [name for name, value, low, high in rows if min(value - low, high - value) < _NEAR_LIMIT_RAD]
    if outside:
        notes.fail(
            "limits",
            f"outside, rad: {'; '.join(outside)}",
            "bring the arm back, or correct the limits; degrees for radians, or another order of joints?",
        )
    elif near:
        notes.warn("limits", f"at a limit: {', '.join(near)}", "move the arm away from the limit before it starts")
    else:
        notes.ok("limits", "all positions are inside")


def _check_forward(notes: Notes, evidence: Evidence) -> None:
    both = pose_by_joints(evidence)
    if both is None:
        notes.skip("TCP by joints", "TCP pose or joints cannot be read", "correct these first")
        return
    offset = relative(*both)
    way_m, turn_rad = float(np.linalg.norm(offset.position_m)), float(offset.rotation.magnitude())
    found = f"{way_m * 1e3:.1f} mm and {math.degrees(turn_rad):.1f} degrees from the measured TCP pose"
    if way_m <= _SAME_PLACE_M and turn_rad <= _SAME_TURN_RAD:
        notes.ok("TCP by joints", found)
        return
    shift = ", ".join(f"{value * 1e3:.0f}" for value in offset.position_m)
    found = f"{found}; in axes of the TCP ({shift}) mm"
    fix = (
        "base_link, tip_link or tcp_in_tip is wrong, or the driver's TCP is another point or in another frame: "
        "the same shift in every posture is the tool, one that changes is the base"
    )
    if way_m > MISMATCH_M or turn_rad > MISMATCH_RAD:
        notes.fail("TCP by joints", found, fix)
    else:
        notes.warn("TCP by joints", found, fix)
