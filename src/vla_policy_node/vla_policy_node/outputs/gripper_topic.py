# SPDX-License-Identifier: Apache-2.0
"""A gripper that is commanded by one value on a ``std_msgs/Float64MultiArray`` topic."""

from rclpy.node import Node
from std_msgs.msg import Float64MultiArray


class GripperTopicOutput:
    """Publishes positions of the gripper."""

    def __init__(self, node: Node, topic: str) -> None:
        self._node = node
        self._publisher = node.create_publisher(Float64MultiArray, topic, 1)

    def send(self, value: float) -> bool:
        """Publish a position; whether somebody listens is not known."""
        self._publisher.publish(Float64MultiArray(data=[value]))
        return True

    def destroy(self) -> None:
        """Remove the publisher."""
        self._node.destroy_publisher(self._publisher)
