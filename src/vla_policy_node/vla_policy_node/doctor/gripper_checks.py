# SPDX-License-Identifier: Apache-2.0
"""The gripper: its joint, where it stands, and whether somebody takes its commands. Nothing moves here."""

import numpy as np

from vla_core.actions.gripper import share_open
from vla_core.observer import JOINTS
from vla_core.robot_spec import GRIPPER_ACTION_TYPES, GRIPPER_COMMAND_TYPE
from vla_policy_node.doctor.command_checks import check_listeners
from vla_policy_node.doctor.evidence import Evidence
from vla_policy_node.doctor.findings import Finding, Notes

_BEYOND = 0.1


def check_gripper(evidence: Evidence) -> list[Finding]:
    """Return the findings about the gripper."""
    notes = Notes("gripper")
    _check_joint(notes, evidence)
    if evidence.spec.gripper.topic is not None:
        check_listeners(notes, evidence.gripper, GRIPPER_COMMAND_TYPE, "gripper.topic")
    else:
        _check_action(notes, evidence)
    return notes.findings


def _check_joint(notes: Notes, evidence: Evidence) -> None:
    gripper, messages = evidence.spec.gripper, evidence.streams[JOINTS].messages
    if not messages:
        notes.skip("joint", "no joint state came")
        return
    positions = dict(zip(messages[-1].name, messages[-1].position, strict=False))
    if gripper.joint not in positions:
        notes.fail(
            "joint",
            f"'{gripper.joint}' is missing; there are: {', '.join(positions) or 'none'}",
            "correct gripper.joint, or name a joint topic on which arm and gripper come in one message",
        )
        return
    position = positions[gripper.joint]
    share = share_open(position, closed=gripper.joint_closed, opened=gripper.joint_open)
    found = (
        f"'{gripper.joint}' at {position:.4g}: {share:.0%} open "
        f"(closed {gripper.joint_closed:g}, open {gripper.joint_open:g})"
    )
    if not np.isfinite(share):
        notes.fail("joint", found, "look at the driver of the joint states")
    elif not -_BEYOND <= share <= 1.0 + _BEYOND:
        notes.warn("joint", found, "measure joint_closed and joint_open: open and close the gripper by hand")
    else:
        notes.ok("joint", found)


def _check_action(notes: Notes, evidence: Evidence) -> None:
    gripper = evidence.spec.gripper
    wanted = GRIPPER_ACTION_TYPES[gripper.interface]
    if evidence.gripper_action_type is None:
        notes.fail(
            "action", f"no server of '{gripper.action}'", "start the gripper's driver, or correct gripper.action"
        )
    elif evidence.gripper_action_type != wanted:
        notes.fail(
            "action",
            f"is a {evidence.gripper_action_type}, the robot spec needs {wanted}",
            "correct gripper.interface",
        )
    else:
        notes.ok("action", f"{gripper.action}, {wanted}")
