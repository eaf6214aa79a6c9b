# SPDX-License-Identifier: Apache-2.0
"""Who else has a say over the arm: a person who takes over, a button that is held, a second publisher."""

import time
from collections.abc import Callable

from rclpy.node import Node
from std_msgs.msg import Bool

from vla_core.supervisor import Reason
from vla_policy_node.inputs import AnyDurabilitySubscription
from vla_policy_node.parameters import PolicyNodeParameters

OnChange = Callable[[Reason, str | None], None]


class ArmAuthority:
    """Tells when somebody else keeps the arm, and when not any more.

    Args:
        node: The node whose topics these are.
        command_topic: Topic of the arm's commands.
        on_change: Told a reason and a sentence, or ``None`` when the reason has gone; again and again.
    """

    def __init__(self, node: Node, command_topic: str, on_change: OnChange) -> None:
        self._node, self._on_change = node, on_change
        self._command_topic = node.resolve_topic_name(command_topic)
        self._held_s = float("-inf")
        self._topics = [
            AnyDurabilitySubscription(node, Bool, "vla/takeover", self._on_takeover),
            AnyDurabilitySubscription(node, Bool, "vla/deadman", self._on_deadman),
        ]

    def look(self, parameters: PolicyNodeParameters) -> None:
        """Look at the dead-man button and at the publishers of commands; call this often."""
        is_released = time.monotonic() - self._held_s > parameters.deadman_timeout_s
        self._on_change(
            Reason.DEAD_MAN,
            "the dead-man button is not held: true must keep coming on vla/deadman"
            if parameters.require_deadman and is_released
            else None,
        )
        self._on_change(Reason.SECOND_PUBLISHER, self._second_publisher() if parameters.command_enabled else None)

    def look_for_latched_publishers(self) -> None:
        """Hear publishers that have spoken before this node started; call this now and then."""
        for topic in self._topics:
            topic.look_for_latched_publisher()

    def destroy(self) -> None:
        """Remove the subscriptions."""
        for topic in self._topics:
            topic.destroy()

    def _on_takeover(self, message: Bool) -> None:
        sentence = "a person has taken over (true on vla/takeover); false gives the arm back"
        self._on_change(Reason.TAKEN_OVER, sentence if message.data else None)

    def _on_deadman(self, message: Bool) -> None:
        self._held_s = time.monotonic() if message.data else float("-inf")

    def _second_publisher(self) -> str | None:
        if self._node.count_publishers(self._command_topic) < 2:
            return None
        own = (self._node.get_name(), self._node.get_namespace())
        publishers = self._node.get_publishers_info_by_topic(self._command_topic)
        names = [(info.node_name, info.node_namespace) for info in publishers]
        if own in names:
            names.remove(own)
        others = (
            ", ".join(sorted(f"{namespace.rstrip('/')}/{name}" for name, namespace in names)) or "another node"
        )
        return (
            f"{others} also publishes on {self._command_topic}: two programs must not command one arm. End one of "
            "them, or say true on vla/takeover while the other one drives"
        )
