# SPDX-License-Identifier: Apache-2.0
"""Listens to the running loop: status, guard, commands, task state, and pictures for the film."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState

from demo.film import Film
from vla_core.codecs.image import decode_image
from vla_core.codecs.pose_stamped import decode_pose
from vla_core.geometry import Pose
from vla_core.robot_spec import RobotSpec
from vla_msgs.msg import Instruction, PolicyStatus
from vla_sim.task_state import TabletopState

FILM_RATE_HZ = 10.0


class Watcher(Node):
    """Holds the newest of everything.

    Attributes:
        film: Grows while the node spins.
        caption: What the film says above the pictures.
        num_commands: Arm commands seen so far.
        status: Newest status of the policy node.
        pose: Newest TCP pose.
        state: Newest state of the tabletop.
        real_time_factors: What the simulator measured, once a second.
    """

    def __init__(self, spec: RobotSpec) -> None:
        super().__init__("demo_watcher")
        self.film = Film(FILM_RATE_HZ)
        self.caption = ""
        self.num_commands = 0
        self.status: PolicyStatus | None = None
        self.pose: Pose | None = None
        self.state: TabletopState | None = None
        self._spec = spec
        self.real_time_factors: list[float] = []
        self._guard: dict[str, int] = {}
        self._pictures: dict[str, Image] = {}
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        listen = self.create_subscription
        for camera, camera_spec in spec.cameras.items():
            listen(Image, camera_spec.topic, self._keep_picture(camera), qos_profile_sensor_data)
        listen(PoseStamped, spec.tcp_pose.topic, self._on_pose, qos_profile_sensor_data)
        listen(PoseStamped, spec.command.topic, self._on_command, 10)
        listen(JointState, "task_state", self._on_state, qos_profile_sensor_data)
        listen(PolicyStatus, "/policy_node/status", self._on_status, latched)
        listen(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._instruction = self.create_publisher(Instruction, "vla/instruction", 1)
        self.create_timer(1.0 / FILM_RATE_HZ, self._expose)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def say(self, sentence: str) -> None:
        """Publish an instruction."""
        self._instruction.publish(Instruction(text=sentence))

    @property
    def guard_interventions(self) -> Counter[str]:
        """How often each stage of the guard has acted since the policy node started."""
        return Counter(self._guard)

    def forget_policy_node(self) -> None:
        """Forget what a policy node that has ended said."""
        self.status, self._guard = None, {}

    def close(self) -> None:
        """Stop listening."""
        self._executor.shutdown()
        self._thread.join()
        self.destroy_node()

    def _keep_picture(self, camera: str) -> Callable[[Image], None]:
        return lambda message: self._pictures.__setitem__(camera, message)

    def _expose(self) -> None:
        if len(self._pictures) == len(self._spec.cameras) and self.caption:
            pictures = {camera: decode_image(message) for camera, message in self._pictures.items()}
            self.film.add(pictures, self.caption)

    def _on_pose(self, message: PoseStamped) -> None:
        self.pose = decode_pose(message, self._spec.base_frame)

    def _on_command(self, message: PoseStamped) -> None:
        self.num_commands += 1

    def _on_state(self, message: JointState) -> None:
        self.state = TabletopState.from_scalars(message.name, message.position)

    def _on_status(self, message: PolicyStatus) -> None:
        self.status = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values: dict[str, Any] = {pair.key: pair.value for pair in status.values}
            guard = {key[6:]: int(value) for key, value in values.items() if key.startswith("guard.")}
            self._guard = guard or self._guard
            if "real_time_factor" in values:
                self.real_time_factors.append(float(values["real_time_factor"]))
