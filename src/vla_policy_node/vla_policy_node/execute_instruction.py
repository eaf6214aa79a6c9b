# SPDX-License-Identifier: Apache-2.0
"""The action ``/vla/execute_instruction``: follow one sentence for a limited time."""

import math
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.node import Node
from rclpy.task import Future

from vla_core.supervisor import Reason, State, Verdict
from vla_core.units import NS_PER_S
from vla_msgs.action import ExecuteInstruction
from vla_policy_node.control_loop import ControlLoop


@dataclass
class _Run:
    """One goal in progress."""

    handle: Any
    instruction: str
    began_s: float
    actions_before: int
    outcome: Future


class ExecuteInstructionServer:
    """Serves one goal at a time; a newer goal or instruction supersedes the older one.

    Args:
        node: The node.
        loop: Where instructions go.
    """

    def __init__(self, node: Node, loop: ControlLoop) -> None:
        self._node = node
        self._loop = loop
        self._run: _Run | None = None
        self._server = ActionServer(
            node,
            ExecuteInstruction,
            "vla/execute_instruction",
            execute_callback=self._execute,
            goal_callback=lambda _: GoalResponse.ACCEPT,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def update(self, verdict: Verdict) -> None:
        """Send feedback and end the goal whose time is over; called at the command rate."""
        run = self._run
        if run is None:
            return
        goal = run.handle.request
        remaining_s = goal.time_limit_s - (self._now_s() - run.began_s)
        ended = self._why_it_ends(run, verdict, remaining_s)
        if ended is not None:
            self._run = None
            run.outcome.set_result(ended)
            return
        run.handle.publish_feedback(
            ExecuteInstruction.Feedback(
                state=int(verdict.state),
                reason=int(verdict.reason),
                remaining_s=max(0.0, remaining_s),
                actions_executed=self._loop.driver.num_actions - run.actions_before,
            )
        )

    def destroy(self) -> None:
        """End the goal in progress and remove the server."""
        if self._run is not None:
            self._run.outcome.set_result((ExecuteInstruction.Result.STOPPED, "the node was cleaned up"))
            self._run = None
        self._server.destroy()

    def _why_it_ends(self, run: _Run, verdict: Verdict, remaining_s: float) -> tuple[int, str] | None:
        result = ExecuteInstruction.Result
        if run.handle.is_cancel_requested:
            self._loop.instruct("")
            return result.CANCELED, "the client cancelled the goal; the arm is still"
        if verdict.state in (State.STOPPED, State.INACTIVE):
            return result.STOPPED, verdict.detail
        if verdict.reason is Reason.INSTRUCTION_REFUSED:
            return result.INSTRUCTION_REFUSED, verdict.detail
        if verdict.reason is Reason.INSTRUCTION_EMPTY:
            return result.STOPPED, verdict.detail
        if self._loop.supervisor.instruction != run.instruction:
            return result.SUPERSEDED, "another instruction came"
        if remaining_s <= 0.0:
            self._loop.instruct("")
            return result.NONE, ""
        return None

    async def _execute(self, handle: Any) -> ExecuteInstruction.Result:
        refusal = self._refusal(handle.request)
        if refusal is not None:
            handle.abort()
            return ExecuteInstruction.Result(error_code=refusal[0], error_msg=refusal[1])
        if self._run is not None:
            outcome = (ExecuteInstruction.Result.SUPERSEDED, "another goal came")
            self._run.outcome.set_result(outcome)
        instruction = self._loop.supervisor.instruction or ""
        run = _Run(handle, instruction, self._now_s(), self._loop.driver.num_actions, Future())
        self._run = run
        error_code, error_msg = await run.outcome
        if error_code == ExecuteInstruction.Result.NONE:
            handle.succeed()
        elif error_code == ExecuteInstruction.Result.CANCELED:
            handle.canceled()
        else:
            handle.abort()
        return ExecuteInstruction.Result(
            error_code=error_code,
            error_msg=error_msg,
            executed_s=self._now_s() - run.began_s,
            actions_executed=self._loop.driver.num_actions - run.actions_before,
        )

    def _refusal(self, goal: ExecuteInstruction.Goal) -> tuple[int, str] | None:
        result = ExecuteInstruction.Result
        if not (math.isfinite(goal.time_limit_s) and goal.time_limit_s > 0.0):
            return result.TIME_LIMIT_REFUSED, f"time_limit_s must be above 0, found {goal.time_limit_s}"
        if not goal.instruction.strip():
            return result.INSTRUCTION_REFUSED, "the instruction is empty; send a sentence"
        verdict = self._loop.supervisor.verdict(self._node.get_clock().now().nanoseconds)
        if verdict.state in (State.STOPPED, State.INACTIVE):
            return result.NOT_READY, verdict.detail
        problem = self._loop.instruct(goal.instruction)
        return None if problem is None else (result.INSTRUCTION_REFUSED, problem)

    def _now_s(self) -> float:
        return self._node.get_clock().now().nanoseconds / NS_PER_S
