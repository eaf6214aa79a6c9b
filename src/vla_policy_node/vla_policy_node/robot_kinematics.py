# SPDX-License-Identifier: Apache-2.0
"""The kinematics of a robot, with its URDF from a file or from the topic on which the driver tells it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_msgs.msg import String

from vla_core.errors import ConfigError
from vla_core.kinematics import load_kinematics
from vla_core.robot_spec import RobotSpec

if TYPE_CHECKING:
    from vla_core.kinematics.solver import Kinematics

_LONGEST_WAIT_S = 5.0


def robot_kinematics(node: Node, spec: RobotSpec, folder: Path) -> "Kinematics":
    """Return the kinematics of a robot; this may wait for the URDF for five seconds.

    Args:
        node: The node in whose namespace the topic lies.
        spec: The robot.
        folder: Folder of the robot spec.

    Raises:
        ConfigError: There are no kinematics; the sentence says what is missing.
    """
    topic = None if spec.kinematics is None else spec.kinematics.urdf_topic
    return load_kinematics(spec, folder, None if topic is None else _hear_urdf(node, topic))


def _hear_urdf(node: Node, topic: str) -> str:
    # The node itself may be in the middle of a callback, so a node of its own listens.
    name = f"{node.get_name()}_urdf"
    listener = rclpy.create_node(name, context=node.context, use_global_arguments=False)
    heard: list[str] = []
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    full_name = node.resolve_topic_name(topic)
    listener.create_subscription(String, full_name, lambda message: heard.append(message.data), latched)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(listener)
    ends_s = time.monotonic() + _LONGEST_WAIT_S
    try:
        while not heard and time.monotonic() < ends_s:
            executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        listener.destroy_node()
    if not heard:
        raise ConfigError(
            f"kinematics.urdf_topic: nothing was heard on '{full_name}' in {_LONGEST_WAIT_S:g} s; start the "
            "robot's driver (robot_state_publisher sends it), or name a file in kinematics.urdf"
        )
    return heard[-1]
