# SPDX-License-Identifier: Apache-2.0
"""The trial logbook: a node that writes down how trials on the arm end, when it is told by service.

It only listens: it never speaks to the arm. What may be noted when is decided in ``vla_core.trial_log``.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from vla_core.errors import ConfigError, VlaError
from vla_core.instruction import clean_instruction
from vla_core.trial_log import Trial, TrialLog
from vla_msgs.msg import Instruction, PolicyStatus
from vla_policy_node.inputs import AnyDurabilitySubscription
from vla_policy_node.spinning import spin_until_asked_to_end

_LOOK_PERIOD_S = 0.5
_ASK_PERIOD_S = 2.0


class TrialLogbook(Node):
    """Writes a logbook.

    Parameters: ``log`` (the file), ``policy_node`` (name of the node that acts), ``checkpoint`` (what acts; empty
    asks the policy node), ``failure_reason`` (of the next failure; empty again once it is written).

    Args:
        kwargs: Handed to ``Node``.

    Raises:
        VlaError: Parameter ``log`` is empty, or the file cannot be used.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("trial_logbook", **kwargs)
        for name, default in (
            ("log", ""),
            ("policy_node", "policy_node"),
            ("checkpoint", ""),
            ("failure_reason", ""),
        ):
            self.declare_parameter(name, default)
        if not self._text("log"):
            raise ConfigError("parameter 'log' is empty; give the file of the logbook, for example trials.jsonl")
        self._log = TrialLog(Path(self._text("log")).expanduser())
        self._said, self._in_force, self._checkpoint = "", "", ""
        policy_node = self._text("policy_node")
        self._policy_parameters = AsyncParameterClient(self, policy_node)
        self._heard = AnyDurabilitySubscription(self, Instruction, "vla/instruction", self._on_instruction)
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(PolicyStatus, f"{policy_node}/status", self._on_status, latched)
        for name, act in (
            ("begin", self._begin),
            ("success", lambda: self._log.succeed(time.time_ns())),
            ("failure", self._fail),
            ("intervention", lambda: self._log.intervene(time.time_ns())),
            ("discard", lambda: self._log.discard(time.time_ns())),
        ):
            self.create_service(Trigger, f"~/{name}", self._answer(act))
        # A simulated clock may stand still; these may not.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_LOOK_PERIOD_S, self._heard.look_for_latched_publisher, clock=steady)
        self.create_timer(_ASK_PERIOD_S, self._on_ask_timer, clock=steady)
        self.get_logger().info(f"ready; {len(self._log.trials)} trials so far in {self._text('log')}")

    def destroy_node(self) -> None:
        """Let go of the file; an open trial stays open."""
        self._log.close()
        super().destroy_node()

    def _begin(self) -> Trial:
        sentence = self._in_force or self._said
        return self._log.begin(sentence, self._text("checkpoint") or self._checkpoint, time.time_ns())

    def _fail(self) -> Trial:
        trial = self._log.fail(self._text("failure_reason"), time.time_ns())
        self.set_parameters([Parameter("failure_reason", value="")])
        return trial

    def _answer(self, act: Callable[[], Trial]) -> Callable[[Any, Any], Any]:
        """Return a service callback that answers with the trial after ``act``, or with why it refuses."""

        def callback(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                response.success, response.message = True, self._words(act())
                self.get_logger().info(response.message)
            except VlaError as error:
                response.success, response.message = False, str(error)
                self.get_logger().error(response.message)
            return response

        return callback

    def _words(self, trial: Trial) -> str:
        outcome = "begun" if trial.outcome == "unfinished" else trial.outcome
        reason = f" ({trial.reason})" if trial.reason else ""
        helped = f", interventions: {trial.interventions}" if trial.interventions else ""
        return f"trial {len(self._log.trials)} {outcome}{reason}: {trial.instruction} [{trial.checkpoint}]{helped}"

    def _on_instruction(self, message: Instruction) -> None:
        try:
            self._said = clean_instruction(message.text) or self._said  # an empty one only stops the arm
        except VlaError as error:
            self.get_logger().warning(str(error))

    def _on_status(self, status: PolicyStatus) -> None:
        self._in_force = status.instruction

    def _on_ask_timer(self) -> None:
        """Ask for the checkpoint, again and again: the policy node may be started anew with another one."""
        if self._policy_parameters.services_are_ready():
            self._policy_parameters.get_parameters(["checkpoint"], callback=self._on_checkpoint)

    def _on_checkpoint(self, answer: Any) -> None:
        values = [] if answer.result() is None else answer.result().values
        if values:
            self._checkpoint = str(parameter_value_to_python(values[0]) or "")

    def _text(self, name: str) -> str:
        return str(self.get_parameter(name).value)


def run(args: list[str] | None = None) -> int:
    """Spin a logbook until SIGINT or SIGTERM; return the exit code."""
    return spin_until_asked_to_end(TrialLogbook, args)


def main() -> None:
    """Entry point of ``ros2 run vla_policy_node trial_logbook``."""
    sys.exit(run())


if __name__ == "__main__":
    main()
