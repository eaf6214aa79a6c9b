# SPDX-License-Identifier: Apache-2.0
"""The policy node: a managed node. What it runs between configure and cleanup is in ``running_policy``.

configure loads and warms up, activate arms, deactivate holds, cleanup lets go of everything.
"""

import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from vla_core.errors import ConfigError, VlaError
from vla_core.policy_contract import Policy
from vla_core.robot_spec import RobotSpec
from vla_core.supervisor import Supervisor
from vla_policy_node.control_loop import ControlLoop
from vla_policy_node.knobs import declare_knobs, read_knobs
from vla_policy_node.parameters import PolicyNodeParameters
from vla_policy_node.policy_loader import load_policy
from vla_policy_node.reporting import Reporter
from vla_policy_node.running_policy import RunningPolicy

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
        self._supervisor = Supervisor()
        self._running: RunningPolicy | None = None
        declare_knobs(self, PolicyNodeParameters)
        self.add_post_set_parameters_callback(self._on_parameters)
        self._reporter = Reporter(self)
        self.create_service(Trigger, "~/reset", self._answer(_reset))
        self.create_service(Trigger, "~/arm", self._answer(_arm))
        self.create_service(Trigger, "~/disarm", self._answer(_disarm))
        self.create_service(Trigger, "~/estop", self._on_estop)
        self._say_why_inactive("the node is not configured")

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load robot spec and checkpoint, check that they fit, warm up, and open the topics."""
        try:
            self._running = self._configure()
        except VlaError as error:
            return self._fail_to_configure(str(error), str(error))
        except Exception as error:  # rclpy would swallow it without a word
            sentence = f"configuring failed: {type(error).__name__}: {error}"
            return self._fail_to_configure(sentence, traceback.format_exc())
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Arm, unless the emergency stop is latched: a sentence now moves the arm, if commands are enabled."""
        assert self._running is not None
        self._running.loop.activate()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold."""
        assert self._running is not None
        self._running.loop.deactivate()
        self._running.report(self._supervisor.verdict(self.get_clock().now().nanoseconds))
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of topics and model."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold, then let go of everything."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> RunningPolicy:
        parameters = read_knobs(self, PolicyNodeParameters)
        if not parameters.robot_spec:
            raise ConfigError(
                "parameter 'robot_spec' is empty; give the path of a robot spec (config/robots/*.yaml)"
            )
        spec = RobotSpec.load(parameters.robot_spec)
        policy = self._policy_loader(parameters, spec)
        policy.contract.check_fits(spec)
        if not policy.contract.is_trained:
            self.get_logger().warning("UNTRAINED policy: its weights are random, its motion means nothing")
        return RunningPolicy(
            node=self,
            reporter=self._reporter,
            supervisor=self._supervisor,
            spec=spec,
            policy=policy,
            parameters=parameters,
        )

    def _fail_to_configure(self, sentence: str, log: str) -> TransitionCallbackReturn:
        self.get_logger().error(log)
        self._say_why_inactive(sentence)
        return TransitionCallbackReturn.FAILURE

    def _release(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None
        self._say_why_inactive("the node is not configured")

    def _say_why_inactive(self, sentence: str) -> None:
        self._reporter.publish_inactive(self.get_clock().now(), sentence)

    def _on_parameters(self, _: Any) -> None:
        if self._running is not None:
            self._running.at_edge(lambda loop: loop.apply(read_knobs(self, PolicyNodeParameters)))(
                self._running.loop
            )

    def _on_estop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Latch the emergency stop, configured or not."""
        if self._running is None:
            self._supervisor.latch_estop()
        else:
            self._running.loop.latch_estop()
        response.success, response.message = True, "stopped; call ~/arm to go on"
        return response

    def _answer(self, act: Callable[[ControlLoop], str | None]) -> Callable[[Any, Any], Trigger.Response]:
        """Return a service callback that acts on the control loop and answers with the problem, if any."""

        def callback(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            if self._running is None:
                problem: str | None = "the node is not configured; configure and activate it first"
            else:
                problem = act(self._running.loop)
            response.success, response.message = problem is None, problem or (act.__doc__ or "")
            return response

        return callback


def _reset(loop: ControlLoop) -> None:
    """History and the rest of the chunk are forgotten."""
    loop.forget_history()


def _arm(loop: ControlLoop) -> str | None:
    """Armed."""
    return loop.arm()


def _disarm(loop: ControlLoop) -> None:
    """Disarmed; the arm is still."""
    loop.disarm()


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
    return bool(node.trigger_configure() == done and node.trigger_activate() == done)


def main() -> None:
    """Entry point of ``ros2 run vla_policy_node policy_node``."""
    sys.exit(run())


if __name__ == "__main__":
    main()
