# SPDX-License-Identifier: Apache-2.0
"""One episode without ROS, faster than real time: expert -> controller and guard -> arm -> physics.

The path from action to arm is the one that a policy's actions take on the robot.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vla_core.actions.gripper import command_from_open
from vla_core.controller import ActionController
from vla_core.geometry import FloatArray
from vla_core.robot_spec import RobotSpec
from vla_core.types import Command
from vla_sim.arm_goals import PoseGoal
from vla_sim.experts.catalogue import EXPERT_SPACE, make_expert
from vla_sim.tabletop import Tabletop
from vla_sim.tasks import task_named

PERIOD_S = 0.1
TIME_LIMIT_S = 40.0

OnTick = Callable[[Tabletop, FloatArray], None]


class Witness(Protocol):
    """Sees all of an episode."""

    def on_command(self, time_s: float, command: Command) -> None:
        """See a command that is sent at a simulated time."""

    def on_step(self, tabletop: Tabletop) -> None:
        """See the world as the episode begins, and after each control step."""


@dataclass(frozen=True, eq=False)
class EpisodeResult:
    """How an episode went.

    Attributes:
        task: Name of the task.
        seed: Seed of the start scene.
        is_success: Whether the task was fulfilled when the expert had finished.
        duration_s: Simulated time.
        actions: (N, 7) policy actions, one per period.
    """

    task: str
    seed: int
    is_success: bool
    duration_s: float
    actions: FloatArray


def run_episode(
    tabletop: Tabletop,
    spec: RobotSpec,
    task_name: str,
    seed: int,
    *,
    time_limit_s: float = TIME_LIMIT_S,
    on_tick: OnTick | None = None,
    witness: Witness | None = None,
    still_s: float = 0.0,
) -> EpisodeResult:
    """Return how the scripted expert solves a task from a seed's start scene.

    Args:
        tabletop: The world; it is reset.
        spec: The robot, for rates and limits.
        task_name: Name of the task.
        seed: Seed of the start scene.
        time_limit_s: Simulated time after which the episode ends.
        on_tick: Called with world and action at each policy tick, before the action takes effect.
        witness: Shown every command and every control step.
        still_s: How long the arm stands still before the first action and after the last one.
    """
    expert = make_expert(task_name, EXPERT_SPACE)
    controller = ActionController(spec, EXPERT_SPACE, PERIOD_S)
    start = tabletop.reset(seed, task_name)
    if witness is not None:
        witness.on_step(tabletop)
    advance(tabletop, still_s, witness)
    controller.anchor(tabletop.arm_state().pose_tcp_in_base, _now_ns(tabletop))
    actions: list[FloatArray] = []
    while tabletop.time_s < time_limit_s:
        arm = tabletop.arm_state()
        action = expert.act(tabletop.state(), arm.pose_tcp_in_base)
        if expert.is_done:
            break
        if on_tick is not None:
            on_tick(tabletop, action)
        actions.append(action)
        controller.begin(action, arm.pose_tcp_in_base, _now_ns(tabletop))
        carry_out(tabletop, controller, spec, PERIOD_S, witness)
    carry_out(tabletop, controller, spec, still_s, witness)
    return EpisodeResult(
        task=task_name,
        seed=seed,
        is_success=task_named(task_name).is_success(start, tabletop.state()),
        duration_s=tabletop.time_s,
        actions=np.array(actions).reshape(-1, 7),
    )


def carry_out(
    tabletop: Tabletop,
    controller: ActionController,
    spec: RobotSpec,
    duration_s: float,
    witness: Witness | None = None,
) -> None:
    """Let the arm follow the controller's commands for a duration, rounded to whole command periods."""
    command_period_s = 1.0 / spec.command.rate_hz
    for _ in range(round(duration_s / command_period_s)):
        # A command is due at the end of the step that it is sent for.
        command = controller.command(_now_ns(tabletop) + round(command_period_s * 1e9))
        if witness is not None:
            witness.on_command(tabletop.time_s, command)
        tabletop.follow(PoseGoal(command.pose_tcp_in_base))
        if command.gripper_open is not None:
            tabletop.grip(
                command_from_open(
                    command.gripper_open, closed=spec.gripper.command_closed, opened=spec.gripper.command_open
                )
            )
        advance(tabletop, command_period_s, witness)


def advance(tabletop: Tabletop, duration_s: float, witness: Witness | None = None) -> None:
    """Let simulated time pass while nothing is commanded, rounded to whole control steps."""
    if witness is None:
        tabletop.step(duration_s)
        return
    for _ in range(round(duration_s / tabletop.period_s)):
        tabletop.step(tabletop.period_s)
        witness.on_step(tabletop)


def _now_ns(tabletop: Tabletop) -> int:
    return round(tabletop.time_s * 1e9)
