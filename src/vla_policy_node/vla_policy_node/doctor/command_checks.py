# SPDX-License-Identifier: Apache-2.0
"""Where commands go: does the controller listen, does nobody else command, and are people heard?"""

from rclpy.qos import QoSProfile

from vla_core.robot_spec import COMMAND_TYPES
from vla_policy_node.doctor.evidence import Evidence, TopicView
from vla_policy_node.doctor.findings import Finding, Notes
from vla_policy_node.doctor.graph import names_of
from vla_policy_node.doctor.stream_checks import qos_problem

# What the policy node's publishers of commands offer, and its subscriptions of spoken topics ask for: reliable.
_OURS = QoSProfile(depth=1)


def check_command(evidence: Evidence) -> list[Finding]:
    """Return the findings about the topic of the arm's commands."""
    notes = Notes("command")
    interface = evidence.spec.command.interface
    check_listeners(notes, evidence.command, COMMAND_TYPES[interface], f"command.topics.{interface}")
    others = [each for each in evidence.command.publishers if each.node not in evidence.policy_nodes]
    if others:
        notes.fail(
            "other publishers",
            f"{names_of(others)} also commands the arm on {evidence.command.topic}",
            "end it: two programs must not command one arm",
        )
    elif evidence.policy_nodes:
        notes.ok("other publishers", f"none beside the policy node ({', '.join(evidence.policy_nodes)})")
    else:
        notes.ok("other publishers", "none")
    return notes.findings


def check_listeners(notes: Notes, view: TopicView, wanted: str, key: str) -> None:
    """Note whether somebody takes the commands of a topic: there, of the right type, with a QoS that matches."""
    if not view.subscriptions:
        notes.fail("listener", f"nobody listens on {view.topic}", f"start the controller, or correct {key}")
        return
    types = sorted({each.type for each in view.subscriptions})
    if wanted not in types:
        notes.fail("listener", f"wants {', '.join(types)}; we send {wanted}", f"correct {key} or the interface")
        return
    for each in view.subscriptions:
        problem = qos_problem(_OURS, each.qos)
        if problem:
            notes.fail(
                "listener", f"{each.node} does not hear us: {problem}", "change the QoS of its subscription"
            )
            return
    notes.ok("listener", f"{names_of(view.subscriptions)} on {view.topic}, {wanted}")


def check_spoken(evidence: Evidence) -> list[Finding]:
    """Return the findings about sentences, emergency stop, take-over and dead-man button: are they heard?"""
    notes = Notes("people")
    for name, (wanted, view) in evidence.spoken.items():
        if not view.publishers:
            if name == "vla/estop":
                notes.skip(name, "nobody publishes it; a hardware emergency stop is needed in any case")
            continue
        deaf = next(
            (each for each in view.publishers if qos_problem(each.qos, _OURS) or each.type != wanted), None
        )
        if deaf is None:
            notes.ok(name, f"from {names_of(view.publishers)}")
            continue
        problem = qos_problem(deaf.qos, _OURS) or f"type {deaf.type}, needed {wanted}"
        notes.fail(
            name, f"the policy node does not hear {deaf.node}: {problem}", "publish it reliably, as that type"
        )
    return notes.findings
