# SPDX-License-Identifier: Apache-2.0
"""Everything that exists between configure and cleanup: the control loop, its topics and timers."""

import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import Bool

from vla_core.actions.action_space import units_from_action
from vla_core.observer import stream_topics
from vla_core.policy_contract import Policy
from vla_core.robot_spec import RobotSpec
from vla_core.supervisor import Supervisor, Verdict
from vla_core.training_domain import DomainWatch
from vla_core.types import ActionChunk
from vla_core.units import NS_PER_S
from vla_msgs.msg import Instruction
from vla_policy_node.arm_authority import ArmAuthority
from vla_policy_node.black_box import BlackBox
from vla_policy_node.control_loop import ControlLoop
from vla_policy_node.execute_instruction import ExecuteInstructionServer
from vla_policy_node.inference_thread import InferenceRequest, InferenceResult
from vla_policy_node.inputs import AnyDurabilitySubscription, subscribe_streams
from vla_policy_node.markers import MarkerPublisher
from vla_policy_node.outputs import CommandOutput
from vla_policy_node.parameters import PolicyNodeParameters
from vla_policy_node.reporting import Reporter

# Period of the diagnostics, and of the look for latched publishers.
_SLOW_PERIOD_S = 0.5
# Period of the look at the dead-man button and at other publishers of commands.
_AUTHORITY_PERIOD_S = 0.05


class RunningPolicy:
    """A policy on its robot's topics.

    Attributes:
        loop: The control loop.

    Args:
        node: The node whose topics these are.
        reporter: Tells people what happens.
        supervisor: What keeps the arm still.
        spec: The robot.
        policy: The policy.
        parameters: The operator's knobs.

    Raises:
        ConfigError: The command interface or the gripper needs something that is not there: kinematics, a URDF,
            mink, control_msgs.
    """

    def __init__(
        self,
        *,
        node: Node,
        reporter: Reporter,
        supervisor: Supervisor,
        spec: RobotSpec,
        policy: Policy,
        parameters: PolicyNodeParameters,
    ) -> None:
        self._node = node
        self._reporter = reporter
        self._status_period_ns = NS_PER_S / parameters.status_rate_hz
        self._last_verdict: Verdict | None = None
        self._last_status_ns = 0
        self._is_closed = False
        self._last_sentence = ""
        with ExitStack() as opened:
            output = CommandOutput(node, spec, parameters.command_enabled)
            opened.callback(output.destroy)
            output.on_sent = self._remember
            arrived = node.create_guard_condition(self.at_edge(self._on_results))
            opened.callback(node.destroy_guard_condition, arrived)
            self._box = _black_box(node, parameters)
            opened.callback(self._box.close)
            reporter.on_published = self._remember
            self._domain_watch = DomainWatch(policy.contract.domain)
            self._markers = MarkerPublisher(node, spec, policy.contract.action_space)
            opened.callback(self._markers.destroy)
            self.loop = ControlLoop(
                spec=spec,
                policy=policy,
                parameters=parameters,
                supervisor=supervisor,
                output=output,
                ros_clock=node.get_clock(),
                wake=arrived.trigger,
                on_chunk=self._report_chunk,
            )
            opened.callback(_close, policy)
            opened.callback(self.loop.close)
            self._action_server = ExecuteInstructionServer(node, self.loop)
            opened.callback(self._action_server.destroy)
            self._open_topics(opened)
            self._open_timers(opened, 1.0 / spec.command.rate_hz)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Stand still, and let go of everything in the reverse order."""
        self._is_closed = True
        self._opened.close()

    def at_edge(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``callback`` such that an error in it stops the arm instead of the process."""

        def guarded(*arguments: Any) -> Any:
            if self._is_closed:
                return None  # what was already waiting in the executor comes too late
            try:
                return callback(*arguments)
            except Exception as error:
                self._node.get_logger().error(traceback.format_exc())
                self.loop.fail(f"the node failed: {type(error).__name__}: {error}")
                return None

        return guarded

    def report(self, verdict: Verdict) -> None:
        """Publish the status."""
        now = self._node.get_clock().now()
        self._last_verdict, self._last_status_ns = verdict, now.nanoseconds
        self._reporter.publish_status(now, verdict, self.loop, self._domain_watch.warnings)
        self._box.look(verdict, now.nanoseconds)

    def _open_topics(self, opened: ExitStack) -> None:
        node = self._node
        self._topics_of_streams = {
            stream: node.resolve_topic_name(topic) for stream, topic in stream_topics(self.loop.spec).items()
        }
        for stream in subscribe_streams(node, self.loop.spec, self.at_edge(self._on_stream)):
            opened.callback(node.destroy_subscription, stream)
        self._spoken = [
            AnyDurabilitySubscription(node, Instruction, "vla/instruction", self.at_edge(self._on_instruction)),
            AnyDurabilitySubscription(node, Bool, "vla/estop", self.at_edge(self._on_estop)),
        ]
        for topic in self._spoken:
            opened.callback(topic.destroy)
        self._authority = ArmAuthority(node, self.loop.spec.command.topic, self.at_edge(self.loop.note_others))
        opened.callback(self._authority.destroy)

    def _open_timers(self, opened: ExitStack, command_period_s: float) -> None:
        # A simulated clock may stand still; the watch over the arm may not.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        callbacks = {
            self._on_command_timer: command_period_s,
            self._on_authority_timer: _AUTHORITY_PERIOD_S,
            self._on_slow_timer: _SLOW_PERIOD_S,
        }
        for callback, period_s in callbacks.items():
            timer = self._node.create_timer(period_s, self.at_edge(callback), clock=steady)
            opened.callback(self._node.destroy_timer, timer)

    def _on_command_timer(self) -> None:
        verdict, last = self.loop.on_command_timer(), self._last_verdict
        self._action_server.update(verdict)
        has_changed = last is None or (verdict.state, verdict.reason) != (last.state, last.reason)
        if has_changed:
            detail = f": {verdict.detail}" if verdict.detail else ""
            self._node.get_logger().info(f"{verdict.state.name.lower()}{detail}")
        # A status of the future is old, too: the clock has jumped back.
        age_ns = self._node.get_clock().now().nanoseconds - self._last_status_ns
        if has_changed or not 0 <= age_ns < self._status_period_ns:
            self.report(verdict)

    def _on_results(self) -> None:
        self.loop.on_results()

    def _on_authority_timer(self) -> None:
        self._authority.look(self.loop.parameters)

    def _on_slow_timer(self) -> None:
        for topic in self._spoken:
            topic.look_for_latched_publisher()
        self._authority.look_for_latched_publishers()
        self._markers.show_boxes()
        if self._last_verdict is not None:
            now = self._node.get_clock().now()
            self._reporter.publish_diagnostics(now, self._last_verdict, self.loop, self._domain_watch.warnings)

    def _on_stream(self, stream: str, message: Any) -> None:
        self._remember(self._topics_of_streams[stream], message)
        self.loop.on_message(stream, message)

    def _remember(self, topic: str, message: Any) -> None:
        self._box.note(topic, message, self._node.get_clock().now().nanoseconds)

    def _on_instruction(self, message: Instruction) -> None:
        self._remember(self._node.resolve_topic_name("vla/instruction"), message)
        problem = self.loop.instruct(message.text)
        if problem is not None:
            self._node.get_logger().error(problem)

    def _on_estop(self, message: Bool) -> None:
        self.loop.press_estop(message.data)

    def _report_chunk(self, result: InferenceResult) -> None:
        assert isinstance(result.outcome, ActionChunk)
        self._look_for_the_unusual(result.request, result.outcome)
        pose = result.request.observation.pose_tcp_in_base
        self._markers.show(result.outcome, pose, self.loop.driver.controller.guard.interventions)
        self._reporter.publish_chunk(result.request.instruction, result.outcome, result.inference_ms, self.loop)

    def _look_for_the_unusual(self, request: InferenceRequest, chunk: ActionChunk) -> None:
        if request.instruction != self._last_sentence:
            self._last_sentence = request.instruction
            warning = self._domain_watch.note_sentence(request.instruction)
            if warning is not None:
                self._node.get_logger().warning(warning)
        pose, space = request.observation.pose_tcp_in_base, self.loop.contract.action_space
        self._domain_watch.note_tick(
            units_from_action(space, chunk.actions[0], pose.euler_xyz_rad), pose.position_m
        )


def _black_box(node: Node, parameters: PolicyNodeParameters) -> BlackBox:
    folder = Path(parameters.black_box_dir).expanduser() if parameters.black_box_dir else None
    return BlackBox(folder, parameters.black_box_s, node.get_logger().warning)


def _close(policy: Policy) -> None:
    """Let go of what a policy holds outside this process, if it does."""
    close = getattr(policy, "close", None)
    if close is not None:
        close()
