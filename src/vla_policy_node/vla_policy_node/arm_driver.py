# SPDX-License-Identifier: Apache-2.0
"""The way from chunks to the arm: schedule -> controller and guard -> output; and the ways to stop it.

The supervisor decides whether the arm may move; what the guard does not let pass is told to it here.
"""

import time

from rclpy.clock import Clock
from rclpy.time import Time

from vla_core.controller import ActionController
from vla_core.geometry import Pose
from vla_core.observer import Proprioception
from vla_core.policy_contract import PolicyContract
from vla_core.robot_spec import RobotSpec
from vla_core.soft_start import SoftStart
from vla_core.supervisor import Reason, Supervisor
from vla_core.types import ActionChunk, Command
from vla_policy_node.outputs import CommandOutput
from vla_policy_node.parameters import PolicyNodeParameters

# Stages that hold the arm for as long as the supervisor knows a reason of its own.
_FOUND_ELSEWHERE = ("age", "start")
_LONGEST_BRAKING_S = 1.0


class ArmDriver:
    """Moves one arm, or lets it come to rest.

    Attributes:
        controller: Actions to guarded commands; holds the guard's counters.
        output: Where commands go.
        num_actions: Policy actions begun.

    Args:
        spec: The robot.
        contract: What the policy promises.
        parameters: The operator's knobs.
        supervisor: Told what the guard does not let pass.
        output: Where commands go.
    """

    def __init__(
        self,
        spec: RobotSpec,
        contract: PolicyContract,
        parameters: PolicyNodeParameters,
        supervisor: Supervisor,
        output: CommandOutput,
    ) -> None:
        self.controller = ActionController(spec, contract.action_space, contract.period_s)
        self.output = output
        self.num_actions = 0
        self._supervisor = supervisor
        self._parameters = parameters
        self._schedule = parameters.make_schedule()
        self._soft_start = SoftStart(spec.limits.soft_start_s)
        self._wants_path = spec.command.interface == "joint_trajectory"
        self._period_s = 1.0 / spec.command.rate_hz

    @property
    def is_leaving(self) -> bool:
        """Whether the robot is to get no commands any more, but still gets those that bring it to rest."""
        return self.output.command_enabled and not self._parameters.command_enabled

    def apply(self, parameters: PolicyNodeParameters) -> None:
        """Take changed parameters."""
        old, self._parameters = self._parameters, parameters
        if not old.has_schedule_of(parameters):
            self._schedule = parameters.make_schedule()
        if parameters.command_enabled and not self.output.command_enabled:
            self.release()
            self.output.enable(True)

    def take(self, chunk: ActionChunk) -> bool:
        """Take a chunk for the schedule; return whether its numbers are finite (otherwise the arm holds)."""
        if not self.controller.guard.are_finite(chunk.actions):
            self.drop_actions()
            self._note_trip()
            return False
        self._schedule.push(chunk)
        return True

    def drop_actions(self) -> None:
        """Forget what has not been begun."""
        self._schedule.clear()

    def begin_episode(self) -> None:
        """Forget what has not been begun, and end what has."""
        self.drop_actions()
        if self.controller.is_anchored:
            self.controller.hold()

    def arm(self) -> None:
        """Forget what the guard has stopped for."""
        self.controller.guard.forget_trip(armed=True)

    def note_age(self, sentence: str) -> None:
        """Count that streams have begun to forbid actions."""
        self.controller.guard.intervene("age", sentence)
        self._note_trip()

    def look_at(self, measured: Pose) -> None:
        """See whether motion may begin at the measured pose."""
        problem = self.controller.why_not_move(measured)
        if self._supervisor.note_pose(problem):
            self.controller.guard.intervene("start", str(problem))
            self._note_trip()

    def move(self, measured: Proprioception, now: Time) -> None:
        """Begin the action that is due, if one is, and send the command of this moment."""
        pose = measured.pose_tcp_in_base
        if self.controller.has_been_silent(now.nanoseconds):
            self.release()
        if not self.controller.is_anchored:
            self.controller.anchor(pose, now.nanoseconds)
            self._soft_start.begin(now.nanoseconds)
        action = self._schedule.due(now.nanoseconds)
        if action is not None:
            share = self._soft_start.share(now.nanoseconds)
            self.num_actions += self.controller.begin(action, pose, now.nanoseconds, share)
        command = self.controller.command(now.nanoseconds)
        self._send(command, measured, now, is_new_path=action is not None)

    def stand_still(self, now: Time) -> None:
        """Come to rest within the limits, say so for a while (a pose, zero velocity), then let go of the arm."""
        self.drop_actions()
        if self.controller.has_been_silent(now.nanoseconds):
            self.release()
        if not self.controller.is_anchored:
            return
        was_moving = not self.controller.is_held
        self.controller.hold()
        held = self.controller.command(now.nanoseconds).pose_tcp_in_base
        if not self.controller.guard.is_at_rest:
            self._send(Command(held, None), None, now, is_new_path=was_moving)
        elif not self.output.stand_still(held, now) or self._is_driven_by_others(now):
            self.release()

    def leave(self, now: Time) -> None:
        """Come to rest, say so, and send only shadows from then on."""
        self.stand_still(now)
        if not self.controller.is_anchored or self.output.has_said_still:
            self.release()
            self.output.enable(False)

    def close(self, clock: Clock) -> None:
        """Come to rest before this returns: nobody sends a command afterwards."""
        deadline_s = time.monotonic() + _LONGEST_BRAKING_S
        while self.controller.is_anchored and not self.output.has_said_still and time.monotonic() < deadline_s:
            self.stand_still(clock.now())
            time.sleep(self._period_s)

    def release(self) -> None:
        """Let go of the arm: the next motion begins from where it is then."""
        self.controller.release()
        self.output.release()

    def _send(self, command: Command, measured: Proprioception | None, now: Time, *, is_new_path: bool) -> None:
        """Send a command and, where the interface wants it, the path that follows."""
        ahead = None
        if self._wants_path and is_new_path:
            ahead = self.controller.path_ahead(self._schedule.upcoming(), now.nanoseconds)
        problem = self.output.move(command, measured, now, ahead)
        if problem is not None:
            self.controller.guard.intervene("joints", problem.sentence, can_clamp=problem.can_clamp)
        self._note_trip()

    def _note_trip(self) -> None:
        """Tell the supervisor what the guard does not let pass."""
        trip = self.controller.guard.trip
        if trip is None:
            return
        if trip.needs_arming:
            sentence = f"{trip.detail}. Find the cause, then call ~/arm"
            self._supervisor.note_failure(Reason.GUARD_STOP, sentence)
        elif trip.stage not in _FOUND_ELSEWHERE:
            reason = Reason.ACTION_NOT_FINITE if trip.stage == "finite" else Reason.GUARD_HOLD
            sentence = f"{trip.detail}; the arm holds until the policy asks for something that passes"
            self._supervisor.note_action(sentence, reason)

    def _is_driven_by_others(self, now: Time) -> bool:
        return self._supervisor.verdict(now.nanoseconds).is_driven_by_others
