# SPDX-License-Identifier: Apache-2.0
"""How many 640x480 pictures get lost between two processes of one machine, with and without our Fast DDS profile.

Usage: python benchmarks/picture_loss.py

Only the publisher gets the profile; the subscriber keeps the defaults.
"""

import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import rclpy
from machine import machine
from node_overhead import FAST_DDS_PROFILES, HEIGHT_PX, WIDTH_PX, process, publish_streams, write_spec
from own_domain import use_own_domain
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from vla_core.codecs.stamp import stamp_ns_of
from vla_core.robot_spec import RobotSpec

PROFILES_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
MEASURED_S = 8.0
DISCOVERY_S = 5.0


def main() -> None:
    print(f"{machine()}; two {WIDTH_PX}x{HEIGHT_PX} rgb8 cameras at 30 Hz")
    use_own_domain()
    os.environ.pop(PROFILES_VARIABLE, None)
    rclpy.init()
    with tempfile.TemporaryDirectory() as folder:
        path = write_spec(Path(folder) / "robot.yaml")
        print(f"{'publisher':32} {'camera':8} {'lost':>8} {'longest gap':>12}")
        # The subscriber's participant begins first, so the profile reaches only what is started after it.
        node = Node("picture_loss")
        measure("defaults of Fast DDS", node, path)
        os.environ[PROFILES_VARIABLE] = str(FAST_DDS_PROFILES)
        measure(FAST_DDS_PROFILES.name, node, path)
        node.destroy_node()
    rclpy.try_shutdown()


def measure(title: str, node: Node, path: Path) -> None:
    cameras = RobotSpec.load(path).cameras
    stamps_ns: dict[str, list[int]] = defaultdict(list)

    def listen(name: str) -> object:
        return node.create_subscription(
            Image,
            cameras[name].topic,
            lambda message: stamps_ns[name].append(stamp_ns_of(message)),
            qos_profile_sensor_data,
        )

    subscriptions = [listen(name) for name in cameras]
    with process(publish_streams, path):
        spin_for(node, DISCOVERY_S)
        stamps_ns.clear()
        spin_for(node, MEASURED_S)
    for name, camera in cameras.items():
        gaps_s = np.diff(stamps_ns[name]) * 1e-9
        sent = round(gaps_s.sum() * camera.rate_hz) + 1
        lost = sent - len(stamps_ns[name])
        print(f"{title:32} {name:8} {100 * lost / sent:6.0f} % {1e3 * gaps_s.max():9.0f} ms", flush=True)
    for subscription in subscriptions:
        node.destroy_subscription(subscription)


def spin_for(node: Node, duration_s: float) -> None:
    end_s = time.monotonic() + duration_s
    while (left_s := end_s - time.monotonic()) > 0.0:
        rclpy.spin_once(node, timeout_sec=left_s)


if __name__ == "__main__":
    main()
