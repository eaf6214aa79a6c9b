# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from typing import Any

import pytest
from action_msgs.msg import GoalStatus
from closed_loop import ClosedLoop, Probe, closed_loop, wait_until
from rclpy.action import ActionClient

from vla_msgs.action import ExecuteInstruction
from vla_msgs.msg import PolicyStatus

pytestmark = pytest.mark.ros
Result = ExecuteInstruction.Result


class Goal:
    """One goal sent to the action server."""

    def __init__(self, client: ActionClient, text: str, time_limit_s: float) -> None:
        self.feedback: list[Any] = []
        goal = ExecuteInstruction.Goal(instruction=text, time_limit_s=time_limit_s)
        sent = client.send_goal_async(goal, feedback_callback=lambda message: self.feedback.append(message))
        wait_until(sent.done, "the goal to be answered")
        self.handle = sent.result()
        assert self.handle.accepted
        self._result = self.handle.get_result_async()

    def result(self) -> Any:
        wait_until(self._result.done, "a result")
        return self._result.result()


@pytest.fixture
def loop(robot: Probe) -> Iterator[ClosedLoop]:
    with closed_loop(robot) as running:
        yield running


@pytest.fixture
def client(loop: ClosedLoop) -> Iterator[ActionClient]:
    made = ActionClient(loop.probe, ExecuteInstruction, "/vla/execute_instruction")
    assert made.wait_for_server(10.0)
    yield made
    made.destroy()


def test_a_goal_is_followed_until_its_time_is_over(loop: ClosedLoop, client: ActionClient) -> None:
    goal = Goal(client, "swing", 1.5)
    loop.probe.wait_for_state(PolicyStatus.STATE_RUNNING)
    outcome = goal.result()
    assert outcome.status == GoalStatus.STATUS_SUCCEEDED
    assert (outcome.result.error_code, outcome.result.error_msg) == (Result.NONE, "")
    assert outcome.result.executed_s == pytest.approx(1.5, abs=0.3)
    assert outcome.result.actions_executed > 5
    assert goal.feedback[-1].feedback.remaining_s < 0.5
    loop.probe.wait_for_state(PolicyStatus.STATE_IDLE)
    loop.probe.wait_until_still()


@pytest.mark.parametrize(
    ("text", "time_limit_s", "error_code"),
    [
        ("", 1.0, Result.INSTRUCTION_REFUSED),
        ("a" * 10_240, 1.0, Result.INSTRUCTION_REFUSED),
        ("swing", 0.0, Result.TIME_LIMIT_REFUSED),
        ("swing", float("nan"), Result.TIME_LIMIT_REFUSED),
    ],
)
def test_a_wrong_goal_is_aborted_with_a_typed_error(
    loop: ClosedLoop, client: ActionClient, text: str, time_limit_s: float, error_code: int
) -> None:
    outcome = Goal(client, text, time_limit_s).result()
    assert outcome.status == GoalStatus.STATUS_ABORTED
    assert outcome.result.error_code == error_code
    assert outcome.result.error_msg
    assert loop.policy.num_ticks == 0


def test_cancelling_stops_the_arm(loop: ClosedLoop, client: ActionClient) -> None:
    goal = Goal(client, "swing", 30.0)
    loop.probe.wait_for_state(PolicyStatus.STATE_RUNNING)
    goal.handle.cancel_goal_async()
    outcome = goal.result()
    assert outcome.status == GoalStatus.STATUS_CANCELED
    assert outcome.result.error_code == Result.CANCELED
    loop.probe.wait_for_state(PolicyStatus.STATE_IDLE)


def test_another_sentence_or_goal_supersedes(loop: ClosedLoop, client: ActionClient) -> None:
    first = Goal(client, "swing", 30.0)
    second = Goal(client, "swing back", 30.0)
    assert first.result().result.error_code == Result.SUPERSEDED
    loop.probe.say("swing again")
    assert second.result().result.error_code == Result.SUPERSEDED


def test_the_emergency_stop_ends_a_goal_and_refuses_the_next(loop: ClosedLoop, client: ActionClient) -> None:
    goal = Goal(client, "swing", 30.0)
    loop.probe.wait_for_state(PolicyStatus.STATE_RUNNING)
    loop.probe.press_estop()
    assert goal.result().result.error_code == Result.STOPPED
    assert Goal(client, "swing", 1.0).result().result.error_code == Result.NOT_READY
