# SPDX-License-Identifier: Apache-2.0
"""All checks of a robot in the order of the table."""

from vla_core.checkpoint_card import CheckpointCard
from vla_core.observer import TCP_POSE
from vla_policy_node.doctor.arm_checks import check_joints, check_kinematics, check_tcp_pose
from vla_policy_node.doctor.command_checks import check_command, check_spoken
from vla_policy_node.doctor.evidence import Evidence
from vla_policy_node.doctor.findings import Finding, Notes
from vla_policy_node.doctor.gripper_checks import check_gripper
from vla_policy_node.doctor.picture_checks import check_pictures
from vla_policy_node.doctor.setup_checks import check_clocks, check_limits, check_network, check_packages
from vla_policy_node.doctor.stamp_checks import check_stamps
from vla_policy_node.doctor.stream_checks import check_stream


def examine(evidence: Evidence, card: CheckpointCard | None) -> list[Finding]:
    """Return the findings about a robot; nothing moves, nothing is loaded.

    Args:
        evidence: What was seen.
        card: Of the checkpoint that is to run; ``None`` without one.
    """
    findings = check_network(evidence) + check_clocks(evidence) + check_packages(evidence)
    for stream, record in evidence.streams.items():
        findings += check_stream(evidence, record) + check_stamps(evidence, record)
        if stream in evidence.spec.cameras:
            findings += check_pictures(evidence, record, card)
        elif stream == TCP_POSE:
            findings += check_tcp_pose(evidence)
        else:
            findings += check_joints(evidence)
    findings += check_kinematics(evidence) + check_gripper(evidence)
    findings += check_command(evidence) + check_spoken(evidence) + check_limits(evidence.spec)
    return findings + _check_observation(evidence)


def _check_observation(evidence: Evidence) -> list[Finding]:
    """Say whether the policy node would have an observation now: the sum of all streams, by its own code."""
    notes = Notes("observation")
    if evidence.refusal is None:
        notes.ok("at a tick", f"complete ({len(evidence.observations)} looked at)")
    else:
        notes.fail("at a tick", f"refused: {evidence.refusal}", "the arm would hold; correct that stream")
    return notes.findings
