# SPDX-License-Identifier: Apache-2.0
"""Listens to the running loop: status, guard, commands, task state, and pictures for the film."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState

from demo.film import Film
from vla_core.codecs.image import decode_image
from vla_core.robot_spec import RobotSpec
from vla_msgs.msg import ActionChunk, Instruction, PolicyStatus
from vla_sim.task_state import TabletopState

FILM_RATE_HZ = 10.0


class Watcher(Node):
    """Holds the newest of everything.

    Attributes:
        film: Grows while the node spins and there is a caption.
        caption: What the film says above the pictures.
        status: Newest status of the policy node.
        state: Newest state of the tabletop.
        inference_ms: Wall time of each inference so far, milliseconds.
        guard: Stage of the guard to how often it has acted since the policy node started.
        real_time_factors: What the simulator measured, once a second.
    """

    def __init__(self, spec: RobotSpec) -> None:
        super().__init__("demo_watcher")
        self.film = Film(FILM_RATE_HZ)
        self.caption = ""
        self.status: PolicyStatus | None = None
        self.state: TabletopState | None = None
        self.inference_ms: list[float] = []
        self.guard: Counter[str] = Counter()
        self.real_time_factors: list[float] = []
        self._spec = spec
        self._pictures: dict[str, Image] = {}
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        listen = self.create_subscription
        for camera, camera_spec in spec.cameras.items():
            listen(Image, camera_spec.topic, self._keep_picture(camera), qos_profile_sensor_data)
        listen(JointState, "task_state", self._on_state, qos_profile_sensor_data)
        listen(PolicyStatus, "/policy_node/status", self._on_status, latched)
        listen(ActionChunk, "/policy_node/action_chunk", self._on_chunk, 10)
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
    def is_heard(self) -> bool:
        """Whether somebody listens to instructions."""
        return bool(self._instruction.get_subscription_count() > 0)

    @property
    def sees_all(self) -> bool:
        """Whether every camera has sent a picture."""
        return len(self._pictures) == len(self._spec.cameras)

    @property
    def policy_state(self) -> int | None:
        """State of the policy node, one of the ``STATE_`` constants, or ``None`` before the first status."""
        return None if self.status is None else int(self.status.state)

    def close(self) -> None:
        """Stop listening."""
        self._executor.shutdown()
        self._thread.join()
        self.destroy_node()

    def _keep_picture(self, camera: str) -> Callable[[Image], None]:
        return lambda message: self._pictures.__setitem__(camera, message)

    def _expose(self) -> None:
        if self.sees_all and self.caption:
            pictures = {camera: decode_image(message) for camera, message in self._pictures.items()}
            self.film.add(pictures, self.caption)

    def _on_chunk(self, message: ActionChunk) -> None:
        self.inference_ms.append(message.inference_ms)

    def _on_state(self, message: JointState) -> None:
        self.state = TabletopState.from_scalars(message.name, message.position)

    def _on_status(self, message: PolicyStatus) -> None:
        self.status = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values: dict[str, Any] = {pair.key: pair.value for pair in status.values}
            if guard := {key[6:]: int(value) for key, value in values.items() if key.startswith("guard.")}:
                self.guard = Counter(guard)
            if "real_time_factor" in values:
                self.real_time_factors.append(float(values["real_time_factor"]))
