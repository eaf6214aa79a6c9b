# SPDX-License-Identifier: Apache-2.0
"""Rates of the simulated robot's streams over DDS, and whether simulated time keeps up with the clock.

Usage: python benchmarks/sim_rates.py

The robot runs in a process of its own; age is from the stamp to the arrival here.
"""

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from machine import machine
from own_domain import use_own_domain
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState

from vla_core.codecs.stamp import stamp_ns_of
from vla_core.robot_spec import RobotSpec

SPEC = Path(__file__).parents[1] / "config/robots/sim_arm.yaml"
MEASURED_S = 8.0
PATIENCE_S = 60.0


def main() -> None:
    print(machine())
    use_own_domain()
    robot = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "vla_sim.sim_node",
            "--ros-args",
            "--log-level",
            "warn",
            "-p",
            f"robot_spec:={SPEC}",
        ]
    )
    rclpy.init()
    listener = Listener(RobotSpec.load(SPEC))
    try:
        listener.spin_until(lambda: len(listener.arrivals) == 4, PATIENCE_S)
        listener.arrivals.clear()
        listener.factors.clear()
        listener.spin_until(lambda: False, MEASURED_S)
    finally:
        listener.destroy_node()
        robot.terminate()
        robot.wait(10.0)
        rclpy.try_shutdown()
    report(listener)


def report(listener: "Listener") -> None:
    print(f"{'stream':12} {'rate':>10} {'longest gap':>12} {'age p50':>9} {'age p99':>9}")
    for stream, pairs in sorted(listener.arrivals.items()):
        stamps_s, arrivals_s = np.array(pairs).T
        rate_hz = (len(stamps_s) - 1) / (stamps_s[-1] - stamps_s[0])
        middle, high = np.percentile(1e3 * (arrivals_s - stamps_s), (50, 99))
        gap_ms = 1e3 * np.diff(stamps_s).max()
        print(f"{stream:12} {rate_hz:7.1f} Hz {gap_ms:9.1f} ms {middle:6.2f} ms {high:6.2f} ms")
    print(f"real-time factor {np.median(listener.factors):.3f} (median), {min(listener.factors):.3f} (lowest)")


class Listener(Node):
    """Notes when each message was stamped and when it arrived.

    Attributes:
        arrivals: Stream to pairs of stamp and arrival, seconds.
        factors: Real-time factors that the robot reported.
    """

    def __init__(self, spec: RobotSpec) -> None:
        super().__init__("sim_rates")
        self.arrivals: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.factors: list[float] = []
        self._listen(PoseStamped, spec.tcp_pose.topic, "tcp_pose")
        self._listen(JointState, spec.joints.topic, "joints")
        for name, camera in spec.cameras.items():
            self._listen(Image, camera.topic, name)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 1)

    def spin_until(self, condition: Callable[[], bool], limit_s: float) -> None:
        """Listen until a condition holds, at most for a while."""
        end_s = time.monotonic() + limit_s
        while not condition() and (left_s := end_s - time.monotonic()) > 0.0:
            rclpy.spin_once(self, timeout_sec=left_s)

    def _listen(self, kind: Any, topic: str, stream: str) -> None:
        def note(message: Any) -> None:
            self.arrivals[stream].append((stamp_ns_of(message) * 1e-9, time.time()))

        self.create_subscription(kind, topic, note, qos_profile_sensor_data)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.factors += [float(entry.value) for entry in status.values if entry.key == "real_time_factor"]


if __name__ == "__main__":
    main()
