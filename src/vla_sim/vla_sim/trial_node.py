# SPDX-License-Identifier: Apache-2.0
"""What a trial hears from the simulated robot and the policy node, and what it says to them.

The one place where this package knows the suite's own messages: it speaks to the policy node as a person would.
"""

import queue
import threading
from collections import Counter
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from vla_core.codecs.stamp import stamp_ns_of
from vla_core.errors import VlaError
from vla_core.units import NS_PER_S
from vla_msgs.msg import Instruction, PolicyStatus  # noqa: TID251 - see the module's docstring
from vla_sim.task_state import TabletopState

IDLE, STOPPED = PolicyStatus.STATE_IDLE, PolicyStatus.STATE_STOPPED
_ANSWER_S = 20.0


class TrialNode(Node):
    """Listens while it spins in a thread of its own.

    Attributes:
        status: Newest state of the policy node, one of the ``STATE_`` constants; ``None`` before the first.
        heard: The sentence that the policy node follows.
        states: Time in seconds and state of the tabletop, as they come.
        guard: Stage of the guard to how often it has acted since the policy node began.
    """

    def __init__(self) -> None:
        super().__init__("tabletop_trials")
        self.status: int | None = None
        self.heard = ""
        self.states: queue.Queue[tuple[float, TabletopState]] = queue.Queue(maxsize=100)
        self.guard: Counter[str] = Counter()
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(JointState, "task_state", self._on_state, 10)
        self.create_subscription(PolicyStatus, "/policy_node/status", self._on_status, latched)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._instruction = self.create_publisher(Instruction, "vla/instruction", 1)
        self._parameters = self.create_client(SetParameters, "/sim_robot/set_parameters")
        self._reset = self.create_client(Trigger, "/sim_robot/reset")
        self._arm = self.create_client(Trigger, "/policy_node/arm")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def say(self, sentence: str) -> None:
        """Publish an instruction."""
        self._instruction.publish(Instruction(text=sentence))

    def is_heard(self) -> bool:
        """Return whether somebody listens to instructions."""
        return bool(self._instruction.get_subscription_count() > 0)

    def arm(self) -> None:
        """Allow the policy node to move again.

        Raises:
            VlaError: It does not answer or refuses.
        """
        self._call(self._arm, Trigger.Request(), "/policy_node/arm")

    def reset(self, seed: int, scene: str) -> None:
        """Put the robot and its table where a seed says; what was heard of the table before is forgotten.

        Raises:
            VlaError: It does not answer or refuses.
        """
        values = {
            "seed": ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=seed),
            "task": ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=scene),
        }
        request = SetParameters.Request(parameters=[Parameter(name=n, value=v) for n, v in values.items()])
        for result in self._call(self._parameters, request, "/sim_robot/set_parameters").results:
            if not result.successful:
                raise VlaError(f"the simulated robot refuses a scene: {result.reason}")
        self._call(self._reset, Trigger.Request(), "/sim_robot/reset")
        self.forget_states()

    def forget_states(self) -> None:
        """Forget what has been heard of the table."""
        while not self.states.empty():
            self.states.get_nowait()

    def close(self) -> None:
        """Stop listening."""
        self._executor.shutdown()
        self._thread.join()
        self.destroy_node()

    def _call(self, client: Any, request: Any, name: str) -> Any:
        if not client.wait_for_service(_ANSWER_S):
            raise VlaError(f"waited {_ANSWER_S:.0f} s for the service {name} in vain")
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(_ANSWER_S):
            raise VlaError(f"the service {name} has not answered for {_ANSWER_S:.0f} s")
        answer = future.result()
        if getattr(answer, "success", True) is False:
            raise VlaError(f"the service {name} refuses: {answer.message}")
        return answer

    def _on_state(self, message: JointState) -> None:
        if self.states.full():
            self.states.get_nowait()
        state = TabletopState.from_scalars(message.name, message.position)
        self.states.put_nowait((stamp_ns_of(message) / NS_PER_S, state))

    def _on_status(self, message: PolicyStatus) -> None:
        self.status, self.heard = message.state, message.instruction

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            guard = {pair.key[6:]: int(pair.value) for pair in status.values if pair.key.startswith("guard.")}
            if guard:
                self.guard = Counter(guard)
