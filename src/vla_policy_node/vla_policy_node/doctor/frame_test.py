# SPDX-License-Identifier: Apache-2.0
"""The frame test as a whole: may it begin, play the motions, judge them. In shadow nothing moves."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from tqdm import tqdm

from vla_core.errors import VlaError
from vla_core.geometry import angle_rad, distance_m
from vla_core.joint_following import MISMATCH_M, MISMATCH_RAD
from vla_policy_node.doctor.arm_checks import pose_by_joints
from vla_policy_node.doctor.evidence import Evidence
from vla_policy_node.doctor.findings import Finding, Notes
from vla_policy_node.doctor.frame_plan import MOTIONS
from vla_policy_node.doctor.frame_report import called, judge, judge_axes, why_not
from vla_policy_node.doctor.frame_run import FrameRun, FrameRunError, MeasuredMotion
from vla_policy_node.doctor.graph import names_of


def run_frame_test(
    node: Node, executor: SingleThreadedExecutor, evidence: Evidence, axes: Sequence[str], *, move: bool
) -> list[Finding]:
    """Play motions and return the findings; the arm is still afterwards, however it ends.

    Args:
        node: The node to command with.
        executor: Spins the node; nobody else does.
        evidence: What was seen of the robot before.
        axes: Names of the motions.
        move: Whether the arm really moves.
    """
    notes = Notes("frame test: what the measured pose did" if move else "frame test in shadow mode")
    problem = why_not_begin(evidence, move=move)
    if problem:
        notes.fail("start" if move else "shadow commands", problem, "nothing was sent; correct this first")
        return notes.findings
    measured: dict[str, MeasuredMotion] = {}
    try:
        with asked_to_end() as asked:
            run = FrameRun(node, executor, evidence.spec, evidence.folder, move=move, asked_to_end=asked.is_set)
            try:
                _play_all(run, evidence, axes, measured)
            finally:
                run.close()
    except VlaError as error:
        notes.fail("run", str(error), "correct this, then run the frame test again")
    if move:
        for name, motion in measured.items():
            judge(notes, MOTIONS[name], motion)
        judge_axes(notes, measured)
    elif measured:
        topic = f"{node.get_fully_qualified_name()}/shadow/{evidence.spec.command.topic}"
        notes.ok("shadow commands", f"sent to {topic}: {', '.join(measured)}; nothing has moved")
    return notes.findings


def why_not_begin(evidence: Evidence, *, move: bool) -> str | None:
    """Return why the frame test may not begin; ``None`` when it may."""
    if evidence.command.publishers:
        names = names_of(evidence.command.publishers)
        return f"{names} also publishes on {evidence.command.topic}; end it, or it would be disturbed"
    if not move:
        return None
    if not evidence.command.subscriptions:
        return f"nobody listens on {evidence.command.topic}; start the controller"
    if evidence.kinematics is not None and not isinstance(evidence.kinematics, str):
        both = pose_by_joints(evidence)
        if both is not None and (distance_m(*both) > MISMATCH_M or angle_rad(*both) > MISMATCH_RAD):
            return (
                f"the measured TCP pose is {distance_m(*both) * 1e3:.0f} mm and {angle_rad(*both):.2f} rad from "
                "the one that the joints give; a command could be a jump"
            )
    return None


@contextmanager
def asked_to_end() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set, instead of ending the process."""
    asked = threading.Event()
    before = {number: signal.signal(number, lambda *_: asked.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _play_all(run: FrameRun, evidence: Evidence, axes: Sequence[str], measured: dict[str, MeasuredMotion]) -> None:
    """Play the motions one by one into ``measured``; the first that goes astray is the last."""
    pose = run.begin()
    possible = [MOTIONS[name] for name in axes if why_not(MOTIONS[name], pose, evidence.spec.limits) is None]
    if not possible:
        raise FrameRunError("no motion fits into the workspace from here; bring the arm to its middle")
    with tqdm(possible, leave=False, file=sys.stderr, disable=None, unit="motion") as bar:
        for motion in bar:
            bar.set_description(called(motion))
            measured[motion.name] = run.play(motion)
            if measured[motion.name].astray is not None:
                return
