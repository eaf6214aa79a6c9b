# SPDX-License-Identifier: Apache-2.0
"""Who is on a topic, as discovery tells it."""

from collections.abc import Iterable
from typing import Any

from rclpy.node import Node

from vla_policy_node.doctor.evidence import Endpoint, TopicView

_POLICY_STATUS = "vla_msgs/msg/PolicyStatus"


def view_topic(node: Node, name: str) -> TopicView:
    """Return who is on a topic apart from ``node`` itself; ``name`` is relative to the node's namespace."""
    topic = node.resolve_topic_name(name)
    own = node.get_fully_qualified_name()
    return TopicView(
        topic,
        _endpoints(node.get_publishers_info_by_topic(topic), own),
        _endpoints(node.get_subscriptions_info_by_topic(topic), own),
    )


def policy_nodes(node: Node) -> tuple[str, ...]:
    """Return the full names of the policy nodes that run: those that publish a policy's status."""
    topics = [name for name, types in node.get_topic_names_and_types() if _POLICY_STATUS in types]
    names = {endpoint.node for topic in topics for endpoint in view_topic(node, topic).publishers}
    return tuple(sorted(names))


def action_type(node: Node, name: str) -> str | None:
    """Return the type of an action as its server's feedback topic says it; ``None`` without a server."""
    suffix = "_FeedbackMessage"
    for endpoint in view_topic(node, f"{name}/_action/feedback").publishers:
        if endpoint.type.endswith(suffix):
            return endpoint.type.removesuffix(suffix)
    return None


def names_of(endpoints: Iterable[Endpoint]) -> str:
    """Return the names of nodes for people."""
    return ", ".join(sorted({endpoint.node for endpoint in endpoints})) or "nobody"


def _endpoints(found: Iterable[Any], own: str) -> tuple[Endpoint, ...]:
    endpoints = [
        Endpoint(f"{info.node_namespace.rstrip('/')}/{info.node_name}", info.topic_type, info.qos_profile)
        for info in found
    ]
    return tuple(endpoint for endpoint in endpoints if endpoint.node != own)
