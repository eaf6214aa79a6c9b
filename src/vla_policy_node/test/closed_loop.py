# SPDX-License-Identifier: Apache-2.0
"""A simulated robot in its own process, a policy node with a policy of the test's choice, and a probe of both."""

import dataclasses
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from vla_core.actions.action_space import ActionSpace
from vla_core.policy_contract import PolicyContract
from vla_core.types import ActionChunk, Observation
from vla_msgs.msg import Instruction, PolicyStatus
from vla_policy_node.policy_node import PolicyNode

SIM_ARM = Path(__file__).resolve().parents[3] / "config" / "robots" / "sim_arm.yaml"
PERIOD_S = 0.1
STILL_RAD_S = 0.02
CONTRACT = PolicyContract(
    cameras=("static", "wrist"),
    image_aspects=(1.0, 1.0),
    period_s=PERIOD_S,
    chunk_size=2,
    window_size=1,
    action_space=ActionSpace(frame="base"),
    is_trained=True,
)


class SwingingPolicy:
    """Swings the TCP sideways at 0.1 m/s; ``misbehave`` is called before each inference and may do anything."""

    def __init__(self, contract: PolicyContract = CONTRACT) -> None:
        self.contract = contract
        self.num_ticks = 0
        self.num_resets = 0
        self.instructions: list[str] = []
        self.misbehave: Callable[[np.ndarray], None] = lambda actions: None

    def reset(self) -> None:
        self.num_resets += 1

    def infer(self, observation: Observation, instruction: str) -> ActionChunk:
        self.num_ticks += 1
        self.instructions.append(instruction)
        actions = np.zeros((self.contract.chunk_size, 7), np.float32)
        actions[:, 1] = 0.5 if self.num_ticks % 20 < 10 else -0.5
        actions[:, 6] = 1.0
        self.misbehave(actions)
        return ActionChunk(observation.stamp_ns, self.contract.period_s, actions)


class Probe(Node):
    """Listens to robot and policy node, and calls their services."""

    def __init__(self) -> None:
        super().__init__("probe")
        self.statuses: deque[PolicyStatus] = deque(maxlen=1000)
        self.joint_states: deque[JointState] = deque(maxlen=5000)
        self.commands: deque[Any] = deque(maxlen=5000)
        self.shadow_commands: deque[Any] = deque(maxlen=5000)
        latched = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)

        def listen(kind: Any, topic: str, store: deque[Any], qos: Any) -> None:
            self.create_subscription(kind, topic, lambda message: store.append(message), qos)

        listen(PolicyStatus, "/policy_node/status", self.statuses, latched)
        listen(JointState, "joint_states", self.joint_states, qos_profile_sensor_data)
        listen(PoseStamped, "arm_controller/target_pose", self.commands, 10)
        listen(TwistStamped, "arm_controller/twist", self.commands, 10)
        shadow = "/policy_node/shadow/arm_controller/target_pose"
        listen(PoseStamped, shadow, self.shadow_commands, 10)
        self._instruction = self.create_publisher(Instruction, "vla/instruction", 10)
        self._estop = self.create_publisher(Bool, "vla/estop", 10)

    def say(self, text: str) -> None:
        wait_until(lambda: self._instruction.get_subscription_count() > 0, "a subscriber of vla/instruction")
        self._instruction.publish(Instruction(text=text))

    def press_estop(self, pressed: bool = True) -> None:
        wait_until(lambda: self._estop.get_subscription_count() > 0, "a subscriber of vla/estop")
        self._estop.publish(Bool(data=pressed))

    def trigger(self, service: str) -> Trigger.Response:
        return self._call(Trigger, service, Trigger.Request())

    def set_parameter(self, node: str, name: str, value: Any) -> None:
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        result = self._call(SetParameters, f"/{node}/set_parameters", request).results[0]
        assert result.successful, result.reason

    def _call(self, kind: Any, service: str, request: Any) -> Any:
        client = self.create_client(kind, service)
        try:
            assert client.wait_for_service(timeout_sec=10.0), f"{service} is not there"
            future = client.call_async(request)
            wait_until(future.done, f"an answer of {service}")
            return future.result()
        finally:
            self.destroy_client(client)

    @property
    def status(self) -> PolicyStatus | None:
        return self.statuses[-1] if self.statuses else None

    def wait_for_state(self, state: int, reason: int | None = None, timeout_s: float = 10.0) -> PolicyStatus:
        def there() -> bool:
            status = self.status
            return status is not None and status.state == state and reason in (None, status.reason)

        wait_until(there, f"state {state}, reason {reason}", timeout_s, lambda: str(self.status))
        assert self.status is not None
        return self.status

    def longest_gap_s(self, since_s: float) -> float:
        """Return the longest time without a joint state, by the robot's stamps."""
        stamps = [s.header.stamp.sec + s.header.stamp.nanosec * 1e-9 for s in list(self.joint_states)]
        return float(np.max(np.diff([stamp for stamp in stamps if stamp >= since_s])))

    def joint_speed(self, since_s: float, until_s: float = float("inf")) -> float:
        """Return the highest joint speed, rad/s, between two times of the system clock."""
        speeds = [
            max(abs(value) for value in state.velocity[:7])
            for state in list(self.joint_states)
            if since_s <= state.header.stamp.sec + state.header.stamp.nanosec * 1e-9 <= until_s
        ]
        assert speeds, "no joint state in that time"
        return max(speeds)

    def wait_until_still(self) -> None:
        """Wait until the arm rests, and see that it goes on resting; test_arm_stands_still.py says how soon."""
        began_s = time.time()
        wait_until(
            lambda: time.time() > began_s + 0.3 and self.joint_speed(time.time() - 0.2) < STILL_RAD_S,
            "the arm to rest",
            timeout_s=3.0,
            describe=lambda: f"joint speeds {list(self.joint_states[-1].velocity)}",
        )
        time.sleep(0.3)
        assert self.joint_speed(time.time() - 0.3) < STILL_RAD_S


def prepare(probe: Probe) -> None:
    """Bring the simulated robot to its start pose, without faults."""
    probe.trigger("/sim_robot/clear_faults")
    assert probe.trigger("/sim_robot/reset").success
    for heard in (probe.statuses, probe.commands, probe.shadow_commands):
        heard.clear()


def wait_until(
    condition: Callable[[], bool], what: str, timeout_s: float = 10.0, describe: Callable[[], str] = lambda: ""
) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}. {describe()}"
        time.sleep(0.005)


@dataclasses.dataclass
class ClosedLoop:
    """A policy node on the simulated robot."""

    probe: Probe
    node: PolicyNode
    policy: SwingingPolicy
    executor: SingleThreadedExecutor

    def transition(self, name: str) -> None:
        """Make a lifecycle transition in the node's own thread, as its services do."""
        done = self.executor.create_task(getattr(self.node, f"trigger_{name}"))
        wait_until(done.done, f"the transition {name}")
        assert done.result().name == "SUCCESS"

    def run(self, sentence: str = "swing") -> None:
        """Give a sentence and wait until the arm really moves."""
        self.probe.say(sentence)
        self.probe.wait_for_state(PolicyStatus.STATE_RUNNING)
        began_s = time.time()
        wait_until(lambda: self.probe.joint_speed(began_s - 1.0) > 0.05, "the arm to move")
        time.sleep(0.3)


@contextmanager
def simulated_robot(spec: Path = SIM_ARM) -> Iterator[subprocess.Popen[bytes]]:
    """Run the simulator as a process of its own."""
    command = [sys.executable, "-m", "vla_sim.sim_node", "--ros-args", "-p", f"robot_spec:={spec}"]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def spinning(node: Node) -> Iterator[SingleThreadedExecutor]:
    """Spin a node in a thread of its own; everything else that touches the node runs there, too, or after it."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        yield executor
    finally:
        executor.shutdown()
        thread.join(5.0)
        node.destroy_node()


@contextmanager
def closed_loop(
    probe: Probe, policy: SwingingPolicy | None = None, activate: bool = True, **parameters: Any
) -> Iterator[ClosedLoop]:
    """Run a policy node on the simulated robot."""
    policy = policy or SwingingPolicy()
    values = {"robot_spec": str(SIM_ARM), "command_enabled": True, "black_box_dir": ""} | parameters
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = PolicyNode(lambda *_: policy, parameter_overrides=overrides)
    with spinning(node) as executor:
        loop = ClosedLoop(probe, node, policy, executor)
        try:
            loop.transition("configure")
            if activate:
                loop.transition("activate")
            yield loop
        finally:
            loop.transition("shutdown")
