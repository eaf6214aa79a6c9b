# SPDX-License-Identifier: Apache-2.0
"""The policy node with the scripted expert in the place of the model.

The expert sees the true state of the simulated tabletop, as no model does; everything after it (action, guard,
command) is the path of a learned policy.
"""

import sys
import threading

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState

from vla_core.actions.action_space import ActionSpace
from vla_core.errors import InstructionError
from vla_core.policy_contract import PolicyContract
from vla_core.robot_spec import RobotSpec
from vla_core.types import ActionChunk, Observation
from vla_policy_node.parameters import PolicyNodeParameters
from vla_policy_node.policy_node import run
from vla_sim.experts.feedback import FeedbackExpert
from vla_sim.experts.catalogue import make_expert
from vla_sim.task_state import TabletopState
from vla_sim.tasks import TASKS, Task

PERIOD_S = 0.1


def task_of(sentence: str) -> Task:
    """Return the task that a sentence asks for.

    Raises:
        InstructionError: No task has this sentence.
    """
    for task in TASKS.values():
        if sentence in task.sentences:
            return task
    known = "; ".join(task.sentences[0] for task in TASKS.values())
    raise InstructionError(f"instruction: the expert does not know '{sentence}'; it knows: {known}")


class ExpertPolicy:
    """Scripted experts behind the interface of a policy."""

    def __init__(self, spec: RobotSpec) -> None:
        cameras = tuple(spec.cameras)
        self._contract = PolicyContract(
            cameras=cameras,
            image_aspects=tuple(spec.cameras[name].width_px / spec.cameras[name].height_px for name in cameras),
            period_s=PERIOD_S,
            chunk_size=1,
            window_size=1,
            action_space=ActionSpace(frame="tcp"),
            is_trained=True,
        )
        self._expert: FeedbackExpert | None = None
        self._instruction = ""
        self._state: JointState | None = None
        self._node = rclpy.create_node("expert_eyes")
        self._node.create_subscription(JointState, "task_state", self._store, qos_profile_sensor_data)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    @property
    def contract(self) -> PolicyContract:
        """What the expert promises and needs."""
        return self._contract

    def reset(self) -> None:
        """Begin again."""
        self._expert = None

    def infer(self, observation: Observation, instruction: str) -> ActionChunk:
        """Return the expert's next action as a chunk of one."""
        if self._expert is None or instruction != self._instruction:
            self._expert = make_expert(task_of(instruction).name, self._contract.action_space)
            self._instruction = instruction
        if self._state is None:
            raise RuntimeError("task_state has not been published: the expert needs the simulated robot")
        state = TabletopState.from_scalars(self._state.name, self._state.position)
        action = self._expert.act(state, observation.pose_tcp_in_base)
        return ActionChunk(observation.stamp_ns, PERIOD_S, np.asarray(action, dtype=np.float32)[None])

    def close(self) -> None:
        """Stop looking at the tabletop."""
        self._executor.shutdown()
        self._thread.join()

    def _store(self, message: JointState) -> None:
        self._state = message


def main() -> int:
    """Run the policy node with an expert instead of a checkpoint; return the exit code."""
    experts: list[ExpertPolicy] = []

    def load_expert(parameters: PolicyNodeParameters, spec: RobotSpec) -> ExpertPolicy:
        experts.append(ExpertPolicy(spec))
        return experts[-1]

    try:
        return run(load_expert)
    finally:
        for expert in experts:
            expert.close()


if __name__ == "__main__":
    sys.exit(main())
