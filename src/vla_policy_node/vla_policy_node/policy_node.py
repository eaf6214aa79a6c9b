# SPDX-License-Identifier: Apache-2.0
"""The policy node: a managed node that configures the parts, and connects them to ROS.

configure loads and warms up, activate arms, deactivate holds, cleanup lets go of everything.
"""

import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from vla_core.errors import ConfigError, VlaError
from vla_core.policy_contract import Policy
from vla_core.robot_spec import RobotSpec
from vla_core.supervisor import Verdict
from vla_msgs.msg import Instruction
from vla_policy_node.control_loop import ControlLoop
from vla_policy_node.execute_instruction import ExecuteInstructionServer
from vla_policy_node.inputs import AnyDurabilitySubscription, subscribe_streams
from vla_policy_node.outputs import CommandOutput
from vla_policy_node.parameters import PolicyNodeParameters, declare, read
from vla_policy_node.policy_loader import load_policy
from vla_policy_node.reporting import Reporter

# Period of the diagnostics and of the look for latched publishers.
_LOOK_AROUND_S = 0.5

# Without timers nothing else wakes the executor after a signal.
_LOOK_FOR_SIGNALS_S = 0.2

PolicyLoader = Callable[[PolicyNodeParameters, RobotSpec], Policy]


class PolicyNode(LifecycleNode):
    """Runs a policy on a robot.

    Args:
        policy_loader: Makes the policy at configure time; by default it loads the checkpoint.
        kwargs: Handed to ``LifecycleNode``.
    """

    def __init__(self, policy_loader: PolicyLoader = load_policy, **kwargs: Any) -> None:
        super().__init__("policy_node", **kwargs)
        self._policy_loader = policy_loader
        self._loop: ControlLoop | None = None
        self._interfaces: list[Callable[[], Any]] = []
        self._estop_pressed = False
        self._is_estopped = False
        self._last_verdict: Verdict | None = None
        self._last_status_ns = 0
        self._why_inactive = "the node is not configured"
        declare(self)
        self.add_post_set_parameters_callback(self._on_parameters)
        self._reporter = Reporter(self)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(Trigger, "~/arm", self._on_arm)
        self.create_service(Trigger, "~/disarm", self._on_disarm)
        self._reporter.publish_inactive(self.get_clock().now(), self._why_inactive)

    # --- lifecycle --------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load robot spec and checkpoint, check that they fit, warm up, and open the topics."""
        try:
            self._configure()
        except Exception as error:  # rclpy would swallow it without a word
            self._release()
            is_ours = isinstance(error, VlaError)
            self._why_inactive = str(error) if is_ours else f"configuring failed: {type(error).__name__}: {error}"
            self.get_logger().error(self._why_inactive if is_ours else traceback.format_exc())
            self._reporter.publish_inactive(self.get_clock().now(), self._why_inactive)
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Arm, unless the emergency stop is latched: a sentence now moves the arm, if commands are enabled."""
        assert self._loop is not None
        self._loop.activate(is_estopped=self._is_estopped)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold."""
        assert self._loop is not None
        self._loop.deactivate()
        self._report(self._loop.supervisor.verdict())
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of topics and model."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold, then let go of everything."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        parameters = read(self)
        if not parameters.robot_spec:
            raise ConfigError(
                "parameter 'robot_spec' is empty; give the path of a robot spec (config/robots/*.yaml)"
            )
        self._spec = RobotSpec.load(parameters.robot_spec)
        policy = self._policy_loader(parameters, self._spec)
        self._contract = policy.contract
        self._contract.check_fits(self._spec)
        if not self._contract.is_trained:
            self.get_logger().warning("UNTRAINED policy: its weights are random, its motion means nothing")
        output = CommandOutput(self, self._spec, parameters.command_enabled)
        arrived = self.create_guard_condition(self._at_edge(self._on_results))
        self._loop = ControlLoop(
            spec=self._spec,
            policy=policy,
            parameters=parameters,
            output=output,
            ros_clock=self.get_clock(),
            wake=arrived.trigger,
            on_chunk=lambda result: self._reporter.publish_chunk(result, self._contract, self._spec),
        )
        self._open_topics(parameters, output, arrived)

    def _open_topics(self, parameters: PolicyNodeParameters, output: CommandOutput, arrived: Any) -> None:
        assert self._loop is not None
        self._action_server = ExecuteInstructionServer(self, self._loop)
        streams = subscribe_streams(self, self._spec, self._at_edge(self._loop.on_message))
        self._spoken = [
            AnyDurabilitySubscription(self, Instruction, "vla/instruction", self._at_edge(self._on_instruction)),
            AnyDurabilitySubscription(self, Bool, "vla/estop", self._on_estop),
        ]
        # A simulated clock may stand still; the watch over the arm may not.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        timers = [
            self.create_timer(period_s, self._at_edge(callback), clock=steady)
            for period_s, callback in (
                (1.0 / self._spec.command.rate_hz, self._on_command_timer),
                (_LOOK_AROUND_S, self._look_around),
            )
        ]
        self._status_period_ns = 1e9 / parameters.status_rate_hz
        self._interfaces = [
            *[lambda timer=timer: self.destroy_timer(timer) for timer in timers],
            *[lambda subscription=stream: self.destroy_subscription(subscription) for stream in streams],
            *[topic.destroy for topic in self._spoken],
            self._action_server.destroy,
            lambda: self.destroy_guard_condition(arrived),
            output.destroy,
        ]

    def _release(self) -> None:
        if self._loop is not None:
            self._loop.deactivate()
            self._loop.close()
        for destroy in self._interfaces:
            destroy()
        self._interfaces, self._loop = [], None
        self._why_inactive = "the node is not configured"

    # --- callbacks --------------------------------------------------------------------------------

    def _at_edge(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Return ``callback`` such that an error in it stops the arm instead of the process."""

        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception as error:
                if self._loop is None:
                    raise
                self.get_logger().error(traceback.format_exc())
                self._loop.fail(f"the node failed: {type(error).__name__}: {error}")

        return guarded

    def _on_command_timer(self) -> None:
        assert self._loop is not None
        verdict = self._loop.on_command_timer()
        self._action_server.update(verdict)
        changed = self._last_verdict is None or (verdict.state, verdict.reason) != (
            self._last_verdict.state,
            self._last_verdict.reason,
        )
        if changed:
            self._log_change(verdict)
        if changed or self.get_clock().now().nanoseconds - self._last_status_ns >= self._status_period_ns:
            self._report(verdict)

    def _on_results(self) -> None:
        if self._loop is not None:
            self._loop.on_results()

    def _look_around(self) -> None:
        """Tell the diagnostics, and see whether a latched publisher has come."""
        assert self._loop is not None
        for topic in self._spoken:
            topic.look_for_latched_publisher()
        if self._last_verdict is not None:
            self._reporter.publish_diagnostics(
                self.get_clock().now(), self._last_verdict, self._loop, self._contract
            )

    def _on_instruction(self, message: Instruction) -> None:
        assert self._loop is not None
        problem = self._loop.instruct(message.text)
        if problem is not None:
            self.get_logger().error(problem)

    def _on_estop(self, message: Bool) -> None:
        assert self._loop is not None
        self._estop_pressed = message.data
        if message.data:
            self._is_estopped = True
            self._loop.stop(emergency=True)

    def _on_parameters(self, _: Any) -> None:
        if self._loop is not None:
            self._loop.apply(read(self))

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._loop is None:
            return _answer(response, self._why_inactive)
        self._loop.forget_history()
        return _answer(response, None, "history and the rest of the chunk are forgotten")

    def _on_arm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._loop is None:
            return _answer(response, self._why_inactive)
        if self._estop_pressed:
            return _answer(response, "the emergency stop is still pressed; publish false on vla/estop first")
        problem = self._loop.arm()
        self._is_estopped = self._is_estopped and problem is not None
        return _answer(response, problem, "armed")

    def _on_disarm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._loop is None:
            return _answer(response, self._why_inactive)
        self._loop.stop(emergency=False)
        return _answer(response, None, "disarmed; the arm is still")

    # --- telling ----------------------------------------------------------------------------------

    def _log_change(self, verdict: Verdict) -> None:
        detail = f": {verdict.detail}" if verdict.detail else ""
        self.get_logger().info(f"{verdict.state.name.lower()}{detail}")

    def _report(self, verdict: Verdict) -> None:
        assert self._loop is not None
        self._last_verdict = verdict
        now = self.get_clock().now()
        self._last_status_ns = now.nanoseconds
        enabled = self.get_parameter("command_enabled").value
        self._reporter.publish_status(now, verdict, self._loop, self._contract, enabled)


def _answer(response: Trigger.Response, problem: str | None, done: str = "") -> Trigger.Response:
    response.success, response.message = problem is None, problem or done
    return response


def run(policy_loader: PolicyLoader = load_policy, args: list[str] | None = None) -> int:
    """Spin a policy node until SIGINT or SIGTERM, then hold and let go; return the exit code."""
    # rclpy's own handlers would end the context at once, and with it the chance of a last still command.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    node = PolicyNode(policy_loader)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if node.get_parameter("autostart").value and not _autostart(node):
            return 1
        while rclpy.ok() and not interrupted.is_set():
            executor.spin_once(timeout_sec=_LOOK_FOR_SIGNALS_S)
    finally:
        node.trigger_shutdown()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _autostart(node: PolicyNode) -> bool:
    done = TransitionCallbackReturn.SUCCESS
    return node.trigger_configure() == done and node.trigger_activate() == done


def main() -> None:
    """Entry point of ``ros2 run vla_policy_node policy_node``."""
    sys.exit(run())


if __name__ == "__main__":
    main()
