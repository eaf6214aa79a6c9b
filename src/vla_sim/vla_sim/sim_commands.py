# SPDX-License-Identifier: Apache-2.0
"""Subscriptions to the command topics: a message becomes a goal, or is refused with a sentence.

All interfaces of the robot spec are open at once; the latest good command counts.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import PoseStamped, TwistStamped, Vector3
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from vla_core.codecs.pose_stamped import decode_pose
from vla_core.codecs.stamp import stamp_ns_of
from vla_core.geometry import FloatArray
from vla_core.robot_spec import RobotSpec
from vla_sim.arm_goals import CommandRefusedError, JointGoal, PoseGoal, TrajectoryGoal, TwistGoal
from vla_sim.world import World

TWIST_TIMEOUT_S = 0.1
WARNING_PERIOD_S = 2.0


class CommandSubscriptions:
    """Feeds the commands of a robot spec's topics to the world.

    Args:
        node: Node to subscribe with.
        spec: The robot.
        world: Where the commands go.
    """

    def __init__(self, node: Node, spec: RobotSpec, world: World) -> None:
        self._node, self._spec, self._world = node, spec, world
        handlers: dict[str, tuple[type, Callable[[Any], None]]] = {
            "target_pose": (PoseStamped, self._on_pose),
            "twist": (TwistStamped, self._on_twist),
            "joint_trajectory": (JointTrajectory, self._on_trajectory),
            "forward_position": (Float64MultiArray, self._on_positions),
        }
        for interface, topic in spec.command.topics.items():
            kind, handle = handlers[interface]
            node.create_subscription(kind, topic, self._guarded(topic, handle), 10)
        topic = spec.gripper.topic
        if topic is not None:
            node.create_subscription(Float64MultiArray, topic, self._guarded(topic, self._on_gripper), 10)

    def _guarded(self, topic: str, handle: Callable[[Any], None]) -> Callable[[Any], None]:
        def on_message(message: Any) -> None:
            try:
                handle(message)
            except ValueError as error:
                self._node.get_logger().warning(
                    f"{topic}: command ignored: {error}", throttle_duration_sec=WARNING_PERIOD_S
                )

        return on_message

    def _on_pose(self, message: PoseStamped) -> None:
        self._world.follow(PoseGoal(decode_pose(message, self._spec.base_frame)))

    def _on_twist(self, message: TwistStamped) -> None:
        age_s = self._age_s(message)
        if age_s > TWIST_TIMEOUT_S:
            raise CommandRefusedError(
                f"the twist is {age_s:.3f} s old; one older than {TWIST_TIMEOUT_S:g} s counts as zero. Send "
                "twists more often, or check that sender and robot share a clock"
            )
        twist = TwistGoal(
            linear_m_s=_vector(message.twist.linear),
            angular_rad_s=_vector(message.twist.angular),
            frame=self._axes_of(message),
            expires_s=self._world.time_s + TWIST_TIMEOUT_S - max(age_s, 0.0),
        )
        self._world.follow(twist)

    def _on_trajectory(self, message: JointTrajectory) -> None:
        order = self._joint_order(list(message.joint_names))
        for number, point in enumerate(message.points):
            if len(point.positions) != len(order):
                raise CommandRefusedError(
                    f"point {number} of the trajectory has {len(point.positions)} positions, not {len(order)}"
                )
        goal = TrajectoryGoal(
            start_s=self._world.time_s - self._age_s(message),
            times_s=np.array([_seconds(point.time_from_start) for point in message.points]),
            positions_rad=np.array([[point.positions[i] for i in order] for point in message.points]).reshape(
                -1, 7
            ),
        )
        if goal.start_s + goal.times_s[-1] < self._world.time_s:
            raise CommandRefusedError(
                f"the trajectory ended {self._world.time_s - goal.start_s - goal.times_s[-1]:.3f} s ago by its "
                "header stamp; stamp it with the time at which it starts, or with zero for 'now'"
            )
        self._world.follow(goal)

    def _on_positions(self, message: Float64MultiArray) -> None:
        self._world.follow(JointGoal(np.array(message.data, dtype=np.float64)))

    def _on_gripper(self, message: Float64MultiArray) -> None:
        if len(message.data) != 1:
            raise CommandRefusedError(f"the gripper command has {len(message.data)} values; it must have 1")
        self._world.grip(float(message.data[0]))

    def _joint_order(self, names: list[str]) -> list[int]:
        wanted = self._spec.joints.names
        if sorted(names) != sorted(wanted):
            raise CommandRefusedError(f"joint_names is {names}; it must hold each of {list(wanted)} once")
        return [names.index(name) for name in wanted]

    def _axes_of(self, message: TwistStamped) -> Literal["base", "tcp"]:
        base, tcp, found = self._spec.base_frame, self._spec.tcp_frame, message.header.frame_id
        axes: dict[str, Literal["base", "tcp"]] = {base.lstrip("/"): "base", tcp.lstrip("/"): "tcp"}
        if found.lstrip("/") not in axes:
            raise CommandRefusedError(f"header.frame_id is '{found}'; it must be '{base}' or '{tcp}'")
        return axes[found.lstrip("/")]

    def _age_s(self, message: Any) -> float:
        """Return the age of a stamped message; a stamp of zero means now."""
        stamp_ns = stamp_ns_of(message)
        now_ns: int = self._node.get_clock().now().nanoseconds
        return (now_ns - stamp_ns) * 1e-9 if stamp_ns else 0.0


def _vector(message: Vector3) -> FloatArray:
    return np.array([message.x, message.y, message.z])


def _seconds(duration: Duration) -> float:
    return float(duration.sec + duration.nanosec * 1e-9)
