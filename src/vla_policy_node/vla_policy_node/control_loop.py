# SPDX-License-Identifier: Apache-2.0
"""The way of the data, live: streams -> observation -> policy -> arm driver.

Everything here runs in the executor's thread, except the policy itself. Two things drive it: pictures of the
leading camera and the command timer step the policy when its clock says so, and the command timer, or a chunk that
has just arrived, sends a command.
"""

import time
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock
from rclpy.time import Time

from vla_core.errors import InstructionError, ObservationRefusedError, PolicyUnreachableError, RefusalKind
from vla_core.instruction import clean_instruction
from vla_core.latency import LatencyMeter
from vla_core.observer import Observer, Proprioception
from vla_core.policy_clock import PolicyClock
from vla_core.policy_contract import Policy
from vla_core.robot_spec import RobotSpec
from vla_core.supervisor import Reason, Supervisor, Verdict
from vla_core.types import ActionChunk
from vla_core.units import NS_PER_MS
from vla_policy_node.arm_driver import ArmDriver
from vla_policy_node.inference_thread import InferenceRequest, InferenceResult, InferenceThread
from vla_policy_node.outputs import CommandOutput
from vla_policy_node.parameters import PolicyNodeParameters


class ControlLoop:
    """Runs one policy on one robot.

    Attributes:
        spec: The robot.
        contract: What the policy promises.
        observer: The newest messages of all streams.
        supervisor: What keeps the arm still.
        driver: The way from chunks to commands.
        clock: Spacing of the policy's ticks.
        latency: Stages of the last actions.
        parameters: The operator's knobs.
        last_inference_ms: Wall time of the last inference; NaN before the first.

    Args:
        spec: The robot.
        policy: The policy; its history belongs to the inference thread from now on.
        parameters: The operator's knobs.
        supervisor: What keeps the arm still; it outlives this loop.
        output: Where commands go.
        ros_clock: The clock that stamps the streams.
        wake: Called in the inference thread when a result is there.
        on_chunk: Called with each result that holds a chunk.
    """

    def __init__(
        self,
        *,
        spec: RobotSpec,
        policy: Policy,
        parameters: PolicyNodeParameters,
        supervisor: Supervisor,
        output: CommandOutput,
        ros_clock: Clock,
        wake: Callable[[], None],
        on_chunk: Callable[[InferenceResult], None],
    ) -> None:
        self.spec = spec
        self.contract = policy.contract
        self.supervisor = supervisor
        self.observer = Observer(spec)
        self.driver = ArmDriver(spec, self.contract, parameters, supervisor, output)
        self._lead = "static" if "static" in self.contract.cameras else self.contract.cameras[0]
        self.clock = PolicyClock(self.contract.period_s, 1.0 / spec.cameras[self._lead].rate_hz)
        self.latency = LatencyMeter()
        self.last_inference_ms = float("nan")
        self._ros_clock = ros_clock
        self._on_chunk = on_chunk
        self._episode = 0
        self._last_ns = 0
        self._undecodable: ObservationRefusedError | None = None
        self._measured: Proprioception | None = None
        self._due: InferenceResult | None = None
        self.parameters = parameters
        supervisor.begin()
        supervisor.action_timeout_s = parameters.action_timeout_s
        self._thread = InferenceThread(policy, wake)

    @property
    def num_skipped(self) -> int:
        """Observations that the policy was too slow to take."""
        return self._thread.num_skipped

    def close(self) -> None:
        """Stand still and end the inference thread."""
        self.deactivate()
        self.driver.close(self._ros_clock)
        self._thread.stop()

    def apply(self, parameters: PolicyNodeParameters) -> None:
        """Take changed parameters."""
        self.parameters = parameters
        self.supervisor.action_timeout_s = parameters.action_timeout_s
        self.driver.apply(parameters)

    def activate(self) -> None:
        """Allow motion, unless the emergency stop is latched."""
        self.supervisor.activate()
        self.forget_history()

    def deactivate(self) -> None:
        """Stand still and forget the sentence."""
        self.supervisor.deactivate()
        self._stand_still(self._ros_clock.now())

    def arm(self) -> str | None:
        """Allow motion again, from the measured pose and without history; return why not, if not."""
        problem = self.supervisor.arm()
        if problem is None:
            self.driver.arm()
            self.forget_history()
        return problem

    def disarm(self) -> None:
        """Stand still at once, until ``arm``."""
        self.supervisor.disarm()
        self._stand_still(self._ros_clock.now())

    def press_estop(self, pressed: bool) -> None:
        """Stand still at once when the button is pressed, until ``arm``."""
        self.supervisor.press_estop(pressed)
        if pressed:
            self._stand_still(self._ros_clock.now())

    def latch_estop(self) -> None:
        """Stand still at once, until ``arm``; there is no button to be released."""
        self.supervisor.latch_estop()
        self._stand_still(self._ros_clock.now())

    def note_others(self, reason: Reason, problem: str | None) -> None:
        """Take that somebody else keeps the arm, or (``None``) does not any more: then motion begins anew."""
        if self.supervisor.note_others(reason, problem):
            self._stand_still(self._ros_clock.now())
            self.forget_history()

    def fail(self, sentence: str) -> None:
        """Stand still until ``arm``, because something in the node has gone wrong."""
        self.supervisor.note_failure(Reason.INTERNAL_ERROR, sentence)
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
            now = self._ros_clock.now()
            self.supervisor.note_progress(now.nanoseconds)
            if not sentence:
                self._stand_still(now)
            if not sentence or self.parameters.on_new_instruction == "reset":
                self.forget_history()
        return None

    def forget_history(self) -> None:
        """Begin a new episode at the next tick: no history, no rest of a chunk."""
        now_ns = self._ros_clock.now().nanoseconds
        self.clock.restart(now_ns)
        self._begin_episode(now_ns)

    def on_message(self, stream: str, message: Any) -> None:
        """Store a message; a picture of the leading camera may step the policy."""
        if self.observer.push(stream, message) and stream == self._lead:
            now = self._now()
            self._look(now.nanoseconds)
            self._step_policy_if_due(now.nanoseconds, picture_arrived=True)

    def on_command_timer(self) -> Verdict:
        """Step the policy if it is due, send a command, and return why the arm may move or not."""
        now = self._now()
        self._look(now.nanoseconds)
        self._step_policy_if_due(now.nanoseconds, picture_arrived=False)
        return self._send_command(now)

    def on_results(self) -> None:
        """Take what the inference thread has finished and act on it at once."""
        now = self._now()
        for result in self._thread.take_results():
            self._take_result(result, now.nanoseconds)
        self._look(now.nanoseconds)
        self._send_command(now)

    def _now(self) -> Time:
        """Return the time; after a clock that jumped back, what was remembered of the future is forgotten."""
        now = self._ros_clock.now()
        if now.nanoseconds < self._last_ns:
            self._last_ns = now.nanoseconds
            self.driver.release()
            self.forget_history()
        self._last_ns = now.nanoseconds
        return now

    def _look(self, now_ns: int) -> None:
        """Tell the supervisor what can be seen from here: streams, measured pose, inference thread."""
        if not self._thread.is_alive:
            self.supervisor.note_failure(Reason.INFERENCE_DEAD, "the inference thread has ended")
        try:
            self.observer.require_fresh(now_ns)
            self._measured = self.observer.measured(now_ns)
            self.driver.look_at(self._measured.pose_tcp_in_base)
            refusal = self._undecodable
        except ObservationRefusedError as found:
            refusal = found
        if self.supervisor.note_observation(refusal):
            assert refusal is not None, "news of an observation that is refused"
            self.driver.note_age(str(refusal))

    def _step_policy_if_due(self, now_ns: int, *, picture_arrived: bool) -> None:
        wants_observations = self.supervisor.verdict(now_ns).wants_observations
        if not wants_observations or not self.clock.is_due(now_ns, picture_arrived):
            return
        requested_ns = time.monotonic_ns()
        try:
            observation = self.observer.observe(now_ns)
        except ObservationRefusedError as refusal:
            # What is stale is seen again at each look; what cannot be decoded only here.
            self._undecodable = refusal if refusal.kind is RefusalKind.INVALID else None
            return
        self._undecodable = None
        if self.clock.begin_tick(now_ns):
            self._begin_episode(now_ns)
        instruction = self.supervisor.instruction or ""
        observed_ns = time.monotonic_ns()
        self._thread.submit(InferenceRequest(observation, instruction, self._episode, requested_ns, observed_ns))

    def _begin_episode(self, now_ns: int) -> None:
        self._episode += 1
        self._undecodable = None
        self._due = None
        self.supervisor.note_action(None)
        self.supervisor.note_progress(now_ns)
        self.driver.begin_episode()

    def _take_result(self, result: InferenceResult, now_ns: int) -> None:
        self.last_inference_ms = result.inference_ms
        if result.request.episode != self._episode:
            return
        if isinstance(result.outcome, ActionChunk):
            self.clock.note_step(result.request.observation.stamp_ns)
            self._on_chunk(result)
            self._take_chunk(result, result.outcome, now_ns)
        elif isinstance(result.outcome, PolicyUnreachableError):
            self.driver.drop_actions()
            self.supervisor.note_action(str(result.outcome), Reason.POLICY_UNREACHABLE)
        elif not isinstance(result.outcome, InstructionError):
            self.supervisor.note_failure(Reason.INFERENCE_ERROR, f"the policy failed: {result.outcome!r}")
        elif result.request.instruction == self.supervisor.instruction:
            self.supervisor.refuse_instruction(str(result.outcome))

    def _take_chunk(self, result: InferenceResult, chunk: ActionChunk, now_ns: int) -> None:
        self.supervisor.note_action(None)
        is_too_old = self.supervisor.is_too_old(chunk.stamp_ns, now_ns)
        # The verdict goes on to say that actions are late.
        if not is_too_old and self.driver.take(chunk):
            self.supervisor.note_progress(now_ns)
            self._due = result

    def _send_command(self, now: Time) -> Verdict:
        verdict = self.supervisor.verdict(now.nanoseconds)
        if self.driver.is_leaving:
            self.driver.leave(now)
        elif not verdict.may_move:
            self._stand_still(now)
        else:
            assert self._measured is not None, "the look that allowed motion has seen the pose"
            self.driver.move(self._measured, now)
            self._measure_latency()
        return verdict

    def _measure_latency(self) -> None:
        result, self._due = self._due, None
        if result is None:
            return
        request = result.request
        stamp_ns = request.observation.source_stamps_ns[self._lead]
        self.latency.add(
            picture_ms=(request.observation.stamp_ns - stamp_ns) / NS_PER_MS,
            observe_ms=(request.observed_ns - request.requested_ns) / NS_PER_MS,
            queue_ms=(result.began_ns - request.observed_ns) / NS_PER_MS,
            model_ms=result.inference_ms,
            command_ms=(time.monotonic_ns() - result.ended_ns) / NS_PER_MS,
        )

    def _stand_still(self, now: Time) -> None:
        """Let the arm come to rest; no command follows from what the policy said last, so it has no latency."""
        self._due = None
        self.driver.stand_still(now)
