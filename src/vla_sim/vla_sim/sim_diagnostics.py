# SPDX-License-Identifier: Apache-2.0
"""Tells on ``/diagnostics``, once a second, whether the simulation keeps up with the wall clock."""

import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from vla_sim.sim_publishers import CameraPublishers
from vla_sim.world import World

PERIOD_S = 1.0
SLOW_BELOW = 0.97


class SimDiagnostics:
    """Publishes the real-time factor and the picture rates, measured over the last second.

    Args:
        node: Node to publish with.
        world: Whose steps to count.
        cameras: Whose pictures to count.
    """

    def __init__(self, node: Node, world: World, cameras: CameraPublishers) -> None:
        self._node, self._world, self._cameras = node, world, cameras
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._last = self._counts()
        node.create_timer(PERIOD_S, self._publish)

    def _publish(self) -> None:
        (then_s, steps_then, sent_then), now = self._last, self._counts()
        now_s, steps_now, sent_now = self._last = now
        elapsed_s = now_s - then_s
        factor = (steps_now - steps_then) * self._world.period_s / elapsed_s
        is_slow = factor < SLOW_BELOW
        status = DiagnosticStatus(name="sim_robot: clock", hardware_id="simulation")
        status.level = DiagnosticStatus.WARN if is_slow else DiagnosticStatus.OK
        status.message = (
            f"simulated time runs at {factor:.2f} of the wall clock: the machine is too busy"
            if is_slow
            else "in time with the wall clock"
        )
        rates_hz = {name: (sent_now[name] - sent_then[name]) / elapsed_s for name in sent_now}
        status.values = [
            KeyValue(key="real_time_factor", value=f"{factor:.3f}"),
            *(KeyValue(key=f"{name}_camera_hz", value=f"{rate_hz:.1f}") for name, rate_hz in rates_hz.items()),
        ]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _counts(self) -> tuple[float, int, dict[str, int]]:
        sent = {name: self._cameras.sent[name] for name in self._cameras.links}
        return time.monotonic(), self._world.steps, sent
