# SPDX-License-Identifier: Apache-2.0
"""Grippers that are commanded by an action: goals on change, nobody waits, and what goes wrong is a warning.

The behaviour is shown on an action type of this suite; with control_msgs, where it is installed, on the real ones.
"""

import importlib.util
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from closed_loop import CONTRACT, Probe, SwingingPolicy, closed_loop, spinning, wait_until
from interface_bench import listening, spec_with
from rcl_interfaces.msg import Log
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Float64MultiArray

from vla_core.robot_spec import RobotSpec
from vla_msgs.action import ExecuteInstruction
from vla_policy_node.outputs.gripper_action import GripperActionOutput, control_msgs_action
from vla_policy_node.policy_node import PolicyNode

pytestmark = pytest.mark.ros

ACTION = "gripper_controller/gripper_cmd"
has_control_msgs = importlib.util.find_spec("control_msgs") is not None
needs_control_msgs = pytest.mark.skipif(not has_control_msgs, reason="control_msgs is not installed here")


class Gripper:
    """An action server that notes each goal, takes a while over it, and ends it as it is told."""

    def __init__(self, node: Node, action_type: Any, value_of: Any, name: str = ACTION) -> None:
        self.goals: list[float] = []
        self.accepts, self.succeeds, self.takes_s = True, True, 0.0
        self._type, self._value_of = action_type, value_of
        self.server = ActionServer(
            node,
            action_type,
            name,
            execute_callback=self._execute,
            goal_callback=lambda _: GoalResponse.ACCEPT if self.accepts else GoalResponse.REJECT,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )

    def _execute(self, handle: ServerGoalHandle) -> Any:
        self.goals.append(self._value_of(handle.request))
        time.sleep(self.takes_s)
        handle.succeed() if self.succeeds else handle.abort()
        return self._type.Result()


@pytest.fixture
def driver(ros: None) -> Iterator[Node]:
    """A node for action servers, in threads of its own."""
    node = Node("gripper_driver")
    executor = MultiThreadedExecutor(num_threads=3)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield node
    executor.shutdown()
    thread.join(5.0)
    node.destroy_node()


@pytest.fixture
def client(ros: None) -> Iterator[tuple[Node, list[str]]]:
    """A node for the output under test, and what it logs."""
    node, logged = Node("gripper_client"), []
    node.create_subscription(Log, "/rosout", lambda m: logged.append(f"{m.name}: {m.msg}"), 100)
    with spinning(node):
        yield node, logged


def output_of(node: Node) -> GripperActionOutput:
    def make_goal(value: float) -> ExecuteInstruction.Goal:
        return ExecuteInstruction.Goal(time_limit_s=value)

    return GripperActionOutput(node, ACTION, ExecuteInstruction, make_goal)


def test_an_action_that_is_not_there_is_a_warning_and_is_used_once_it_is(
    driver: Node, client: tuple[Node, list[str]]
) -> None:
    node, logged = client
    output = output_of(node)
    wait_until(lambda: not output.send(0.04) and any("is not there" in line for line in logged), "a warning")
    gripper = Gripper(driver, ExecuteInstruction, lambda goal: goal.time_limit_s)
    wait_until(lambda: output.send(0.04), "the server")
    wait_until(lambda: gripper.goals == [0.04], "the goal")
    output.destroy()


def test_nobody_waits_for_a_slow_gripper_and_a_newer_goal_needs_no_end_of_the_older(
    driver: Node, client: tuple[Node, list[str]]
) -> None:
    gripper = Gripper(driver, ExecuteInstruction, lambda goal: goal.time_limit_s)
    gripper.takes_s = 0.5
    output = output_of(client[0])
    wait_until(lambda: output.send(0.04), "the server")
    wait_until(lambda: gripper.goals == [0.04], "the first goal")
    began_s = time.monotonic()
    assert output.send(0.0)
    assert time.monotonic() - began_s < 0.1
    wait_until(lambda: gripper.goals == [0.04, 0.0], "the second goal")
    output.destroy()


@pytest.mark.parametrize(("accepts", "words"), [(False, "has rejected"), (True, "has given up")])
def test_a_gripper_that_does_not_do_it_is_a_warning(
    driver: Node, client: tuple[Node, list[str]], accepts: bool, words: str
) -> None:
    gripper = Gripper(driver, ExecuteInstruction, lambda goal: goal.time_limit_s)
    gripper.accepts, gripper.succeeds = accepts, False
    node, logged = client
    output = output_of(node)
    wait_until(lambda: output.send(0.04), "the server")
    wait_until(lambda: any(words in line and ACTION in line for line in logged), "a warning")
    output.destroy()


def action_spec(folder: Path, interface: str) -> str:
    return spec_with(
        folder,
        (
            "  topic: gripper_controller/commands",
            f"  interface: {interface}\n  action: {interface}/move\n  max_effort: 20.0",
        ),
    )


@pytest.mark.skipif(has_control_msgs, reason="control_msgs is installed here")
@pytest.mark.parametrize("interface", ["gripper_command", "parallel_gripper_command"])
def test_without_control_msgs_configure_says_so(ros: None, tmp_path: Path, interface: str) -> None:
    overrides = [Parameter("robot_spec", value=action_spec(tmp_path, interface))]
    node, listener = PolicyNode(lambda *_: SwingingPolicy(CONTRACT), parameter_overrides=overrides), Probe()
    with spinning(listener):
        assert node.trigger_configure().name == "FAILURE"
        wait_until(lambda: listener.status is not None and "control_msgs" in listener.status.detail, "the reason")
        node.destroy_node()


@needs_control_msgs
@pytest.mark.parametrize("interface", ["gripper_command", "parallel_gripper_command"])
def test_the_real_actions_get_a_goal_on_change_only(
    robot: Probe, driver: Node, tmp_path: Path, interface: str
) -> None:
    spec = action_spec(tmp_path, interface)
    action_type, _ = control_msgs_action(RobotSpec.load(spec).gripper)
    heard: list[Any] = []
    gripper = Gripper(
        driver, action_type, lambda goal: heard.append(goal.command) or len(heard), f"{interface}/move"
    )
    policy = SwingingPolicy()
    opening = [1.0]
    policy.misbehave = lambda actions: actions[:, 6].fill(opening[0])
    with closed_loop(robot, policy, robot_spec=spec) as loop:
        loop.run()
        wait_until(lambda: len(heard) == 1, "the first goal")
        opening[0] = 0.0
        wait_until(lambda: len(heard) == 2, "the second goal")
        num_ticks = policy.num_ticks
        wait_until(lambda: policy.num_ticks > num_ticks + 5, "more ticks")
    assert len(gripper.goals) == 2
    if interface == "gripper_command":
        assert [(goal.position, goal.max_effort) for goal in heard] == [(0.04, 20.0), (0.0, 20.0)]
    else:
        assert [list(goal.name) for goal in heard] == [["finger_joint"]] * 2
        assert [(goal.position[0], goal.effort[0]) for goal in heard] == [(0.04, 20.0), (0.0, 20.0)]


@needs_control_msgs
def test_in_shadow_mode_the_action_gets_nothing(robot: Probe, driver: Node, tmp_path: Path) -> None:
    spec = action_spec(tmp_path, "gripper_command")
    action_type, _ = control_msgs_action(RobotSpec.load(spec).gripper)
    gripper = Gripper(driver, action_type, lambda goal: goal.command.position, "gripper_command/move")
    with (
        listening(robot, Float64MultiArray, "/policy_node/shadow/gripper_command/move") as shadow,
        closed_loop(robot, robot_spec=spec, command_enabled=False),
    ):
        robot.say("swing")
        wait_until(lambda: [message.data[0] for message in shadow] == [0.04], "the shadow")
        assert not gripper.goals
