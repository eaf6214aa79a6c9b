# SPDX-License-Identifier: Apache-2.0
"""The way of the data, live: streams -> observation -> policy -> schedule -> controller -> command.

Everything here runs in the executor's thread, except the policy itself. Two things drive it: pictures of the
leading camera and the command timer step the policy when its clock says so, and the command timer, or a chunk that
has just arrived, sends a command.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.clock import Clock
from rclpy.time import Time

from vla_core.chunk_schedule import make_schedule
from vla_core.controller import ActionController
from vla_core.errors import InstructionError, ObservationRefusedError, RefusalKind
from vla_core.geometry import Pose
from vla_core.instruction import clean_instruction
from vla_core.latency import LatencyMeter
from vla_core.observer import Observer
from vla_core.policy_clock import PolicyClock
from vla_core.policy_contract import Policy
from vla_core.robot_spec import RobotSpec
from vla_core.supervisor import Reason, State, Supervisor, Verdict
from vla_policy_node.inference_thread import InferenceRequest, InferenceResult, InferenceThread
from vla_policy_node.outputs import CommandOutput
from vla_policy_node.parameters import PolicyNodeParameters

# A still command is repeated for this long, against a lost message, then other publishers have the topic.
_STILL_REPEAT_S = 0.5
# A gap of more than this many periods breaks the history that the policy was trained to see.
_HISTORY_GAP_PERIODS = 2.5


class ControlLoop:
    """Runs one policy on one robot.

    Attributes:
        supervisor: What keeps the arm still.
        controller: Actions to guarded commands; holds the guard's counters.
        latency: Stages of the last actions.
        clock: Spacing of the policy's ticks.
        num_actions: Policy actions begun.
        last_inference_ms: Wall time of the last inference; NaN before the first.

    Args:
        spec: The robot.
        policy: The policy; its history belongs to the inference thread from now on.
        parameters: The operator's knobs.
        output: Where commands go.
        ros_clock: The clock that stamps the streams.
        wake: Called in the inference thread when a result is there.
        on_chunk: Called with each chunk that is accepted.
    """

    def __init__(
        self,
        *,
        spec: RobotSpec,
        policy: Policy,
        parameters: PolicyNodeParameters,
        output: CommandOutput,
        ros_clock: Clock,
        wake: Callable[[], None],
        on_chunk: Callable[[InferenceResult], None],
    ) -> None:
        contract = policy.contract
        self._spec = spec
        self._contract = contract
        self._output = output
        self._ros_clock = ros_clock
        self._on_chunk = on_chunk
        self._lead = "static" if "static" in contract.cameras else contract.cameras[0]
        self.supervisor = Supervisor()
        self.observer = Observer(spec)
        self.controller = ActionController(spec, contract.action_space, contract.period_s)
        self.clock = PolicyClock(contract.period_s, 1.0 / spec.cameras[self._lead].rate_hz)
        self.latency = LatencyMeter()
        self.num_actions = 0
        self.last_inference_ms = float("nan")
        self._episode = 0
        self._submitted_ns: int | None = None
        self._progress_ns = 0
        self._undecodable: ObservationRefusedError | None = None
        self._due: InferenceResult | None = None
        self._still_since_ns: int | None = None
        self._parameters = parameters
        self._schedule = make_schedule(parameters.schedule, parameters.num_executed)
        self._thread = InferenceThread(policy, wake)

    # --- what the operator does -------------------------------------------------------------------

    def apply(self, parameters: PolicyNodeParameters) -> None:
        """Take changed parameters."""
        old, self._parameters = self._parameters, parameters
        if (old.schedule, old.num_executed) != (parameters.schedule, parameters.num_executed):
            self._schedule = make_schedule(parameters.schedule, parameters.num_executed)
        if parameters.command_enabled != self._output.command_enabled:
            self._stand_still(self._ros_clock.now())
            self._release()
            self._output.command_enabled = parameters.command_enabled

    def activate(self, *, is_estopped: bool) -> None:
        """Allow motion, unless the emergency stop is latched."""
        self.supervisor.is_active = True
        self.forget_history()
        if is_estopped:
            self.supervisor.estop()
        else:
            self.supervisor.arm()

    def deactivate(self) -> None:
        """Stand still and forget the sentence."""
        self.supervisor.is_active = False
        self.supervisor.disarm()
        self.supervisor.instruction = None
        self._stand_still(self._ros_clock.now())

    def arm(self) -> str | None:
        """Allow motion again, from the measured pose and without history."""
        problem = self.supervisor.arm()
        if problem is None:
            self.forget_history()
        return problem

    def stop(self, *, emergency: bool) -> None:
        """Stand still at once, until ``arm``."""
        if emergency:
            self.supervisor.estop()
        else:
            self.supervisor.disarm()
        self._stand_still(self._ros_clock.now())

    def instruct(self, text: str) -> str | None:
        """Take the text of an instruction; return a sentence when it is refused (the arm then stands still)."""
        try:
            sentence = clean_instruction(text)
        except InstructionError as error:
            self.supervisor.refuse_instruction(str(error))
            self._stand_still(self._ros_clock.now())
            return str(error)
        if self.supervisor.accept_instruction(sentence):
            self._progress_ns = self._ros_clock.now().nanoseconds
            if not sentence:
                self._stand_still(self._ros_clock.now())
            if not sentence or self._parameters.on_new_instruction == "reset":
                self.forget_history()
        return None

    def forget_history(self) -> None:
        """Begin a new episode at the next tick: no history, no rest of a chunk."""
        self.clock.restart()
        self._begin_episode()

    def fail(self, sentence: str) -> None:
        """Stand still until ``arm``, because something in the node has gone wrong."""
        self.supervisor.note_failure(Reason.INTERNAL_ERROR, sentence)
        self._stand_still(self._ros_clock.now())

    @property
    def robot_name(self) -> str:
        """Name of the robot."""
        return self._spec.name

    @property
    def num_skipped(self) -> int:
        """Observations that the policy was too slow to take."""
        return self._thread.num_skipped

    def close(self) -> None:
        """End the inference thread."""
        self._thread.stop()

    # --- what drives the loop ---------------------------------------------------------------------

    def on_message(self, stream: str, message: Any) -> None:
        """Store a message; a picture of the leading camera may step the policy."""
        if self.observer.push(stream, message) and stream == self._lead:
            self._step_policy_if_due(picture_arrived=True)

    def on_command_timer(self) -> Verdict:
        """Step the policy if it is due, send a command, and return why the arm may move or not."""
        self._step_policy_if_due(picture_arrived=False)
        return self._send_command()

    def on_results(self) -> None:
        """Take what the inference thread has finished and act on it at once."""
        for result in self._thread.take_results():
            self._take_result(result)
        self._send_command()

    # --- one step each ----------------------------------------------------------------------------

    def _step_policy_if_due(self, *, picture_arrived: bool) -> None:
        if self._verdict().state not in (State.RUNNING, State.HOLDING):
            return
        requested_ns = time.monotonic_ns()
        now_ns = self._ros_clock.now().nanoseconds
        if not self.clock.is_due(now_ns, picture_arrived):
            return
        try:
            observation = self.observer.observe(now_ns)
        except ObservationRefusedError as refusal:
            self._undecodable = refusal if refusal.kind is RefusalKind.INVALID else None
            self.controller.guard.refuse_observation()
            return
        self._undecodable = None
        self._break_history_after_gap(now_ns)
        self._submitted_ns = now_ns
        instruction = self.supervisor.instruction or ""
        self._thread.submit(
            InferenceRequest(observation, instruction, self._episode, requested_ns, time.monotonic_ns())
        )

    def _break_history_after_gap(self, now_ns: int) -> None:
        longest_ns = _HISTORY_GAP_PERIODS * self._contract.period_s * 1e9
        if self._submitted_ns is not None and now_ns - self._submitted_ns > longest_ns:
            self._begin_episode()

    def _begin_episode(self) -> None:
        self._episode += 1
        self._submitted_ns = None
        self._due = None
        self._progress_ns = self._ros_clock.now().nanoseconds
        self._undecodable = None
        self._schedule.clear()
        self.supervisor.note_action(Reason.NONE)
        if self.controller.is_anchored:
            self.controller.hold(self._progress_ns)

    def _take_result(self, result: InferenceResult) -> None:
        self.last_inference_ms = (result.ended_ns - result.began_ns) * 1e-6
        if result.request.episode != self._episode:
            return
        if result.refusal:
            if result.request.instruction == self.supervisor.instruction:
                self.supervisor.refuse_instruction(result.refusal)
            return
        if result.chunk is None:
            self.supervisor.note_failure(Reason.INFERENCE_ERROR, f"the policy failed: {result.error}")
            return
        self.clock.note_step(result.request.observation.stamp_ns)
        self._on_chunk(result)
        if not np.isfinite(result.chunk.actions).all():
            self.controller.guard.refuse_action()
            self._schedule.clear()
            sentence = "the policy gave an action that is not finite; the arm holds until it gives a good one"
            self.supervisor.note_action(Reason.ACTION_NOT_FINITE, sentence)
            return
        self.supervisor.note_action(Reason.NONE)
        now_ns = self._ros_clock.now().nanoseconds
        if now_ns - result.chunk.stamp_ns > self._parameters.action_timeout_s * 1e9:
            return  # Made from an observation that is too old to act on; the verdict says that actions are late.
        self._progress_ns = now_ns
        self._schedule.push(result.chunk)
        self._due = result

    def _send_command(self) -> Verdict:
        now = self._ros_clock.now()
        verdict = self._verdict()
        if not verdict.may_move:
            self._stand_still(now)
            return verdict
        try:
            measured = self.observer.measured_pose(now.nanoseconds)
        except ObservationRefusedError as refusal:
            self.supervisor.note_observation(refusal)
            self._stand_still(now)
            return self.supervisor.verdict()
        self._still_since_ns = None
        if not self.controller.is_anchored:
            self.controller.anchor(measured, now.nanoseconds)
        self._begin_due_action(measured, now.nanoseconds)
        self._output.move(self.controller.command(now.nanoseconds), measured, now)
        self._measure_latency()
        return verdict

    def _begin_due_action(self, measured: Pose, now_ns: int) -> None:
        action = self._schedule.due(now_ns)
        if action is not None and self.controller.begin(action, measured, now_ns):
            self.num_actions += 1

    def _measure_latency(self) -> None:
        result, self._due = self._due, None
        if result is None:
            return
        request = result.request
        stamp_ns = request.observation.source_stamps_ns[self._lead]
        self.latency.add(
            picture_ms=(request.observation.stamp_ns - stamp_ns) * 1e-6,
            observe_ms=(request.observed_ns - request.requested_ns) * 1e-6,
            queue_ms=(result.began_ns - request.observed_ns) * 1e-6,
            model_ms=(result.ended_ns - result.began_ns) * 1e-6,
            command_ms=(time.monotonic_ns() - result.ended_ns) * 1e-6,
        )

    def _stand_still(self, now: Time) -> None:
        """Hold the pose commanded last (zero velocity for velocity interfaces), then fall silent."""
        self._schedule.clear()
        self._due = None  # what is dropped here has no latency: no command follows from it
        if self._still_since_ns is None:
            self._still_since_ns = now.nanoseconds
        if now.nanoseconds - self._still_since_ns > _STILL_REPEAT_S * 1e9:
            self._release()
            return
        if self.controller.is_anchored:
            self.controller.hold(now.nanoseconds)
            self._output.still(self.controller.command(now.nanoseconds).pose_tcp_in_base, now)

    def _release(self) -> None:
        """Let go of the arm: the next motion begins from where it is then."""
        self.controller.release()
        self._output.forget_gripper()

    def _verdict(self) -> Verdict:
        """Look at everything that can keep the arm still, and decide."""
        now_ns = self._ros_clock.now().nanoseconds
        if not self._thread.is_alive:
            self.supervisor.note_failure(Reason.INFERENCE_DEAD, "the inference thread has ended")
        try:
            self.observer.require_fresh(now_ns)
            self.supervisor.note_observation(self._undecodable)
        except ObservationRefusedError as refusal:
            self.supervisor.note_observation(refusal)
        verdict = self.supervisor.verdict()
        late_s = (now_ns - self._progress_ns) * 1e-9
        if verdict.may_move and late_s > self._parameters.action_timeout_s:
            limit_s = self._parameters.action_timeout_s
            sentence = f"no new action for {late_s:.1f} s, the limit is {limit_s:g} s; the model is slow or stuck"
            return Verdict(State.HOLDING, Reason.ACTION_LATE, sentence)
        return verdict
