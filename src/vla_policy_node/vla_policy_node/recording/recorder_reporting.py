# SPDX-License-Identifier: Apache-2.0
"""What people and monitors see of the recorder: ``~/status`` (JSON) and ``/diagnostics``."""

import json

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_msgs.msg import Header, String

from vla_core.units import NS_PER_S
from vla_policy_node.recording.episode_control import EpisodeControl

_MIB = 1024 * 1024


class RecorderReporter:
    """Publishes what the recorder does.

    Args:
        node: The node whose topics these are.
        control: What is told about.
    """

    def __init__(self, node: Node, control: EpisodeControl) -> None:
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self._node, self._control = node, control
        self._status = node.create_publisher(String, "~/status", latched)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 1)

    def publish(self, problem: str) -> None:
        """Tell the state; ``problem`` is empty where all is well."""
        now = self._node.get_clock().now()
        values = self._values(now.nanoseconds)
        values["problem"] = problem
        self._status.publish(String(data=json.dumps(values, ensure_ascii=False)))
        level = DiagnosticStatus.WARN if problem or values["dropped"] else DiagnosticStatus.OK
        status = DiagnosticStatus(
            level=level,
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}: episodes",
            message=problem or str(values["state"]),
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        self._diagnostics.publish(DiagnosticArray(header=Header(stamp=now.to_msg()), status=[status]))

    def _values(self, now_ns: int) -> dict[str, object]:
        current, control = self._control.current, self._control
        return {
            "state": "recording" if current else "waiting",
            "episode": current.name if current else "",
            "instruction": current.record.instruction if current else "",
            "seconds": round((now_ns - current.record.started_ns) / NS_PER_S, 1) if current else 0.0,
            "messages": current.num_messages if current else 0,
            "dropped": current.num_dropped if current else 0,
            "free_mib": control.free_bytes // _MIB,
            "last": control.detail,
        }
