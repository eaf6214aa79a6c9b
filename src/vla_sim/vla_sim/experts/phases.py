# SPDX-License-Identifier: Apache-2.0
"""A scripted expert: phases with a goal pose each, followed by feedback of the measured state.

Each phase ends when its goal is reached, when its condition holds, or when its time is over; no phase counts on
anything having happened. A script that ends without success, or loses hold of its object, starts again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vla_core.actions.action_space import ActionSpace, action_towards, target_pose
from vla_core.geometry import FloatArray, Pose, angle_rad, distance_m, shortened
from vla_sim.task_state import TabletopState
from vla_sim.tasks import Success

Goal = Callable[[TabletopState, Pose], Pose]
Condition = Callable[[TabletopState], bool]
GAIN = 0.7  # of the remaining way per action: the measured pose is old by up to a period
MAX_ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One part of a motion.

    Attributes:
        goal: Where to go, asked once when the phase begins (from the state and the measured TCP pose).
        gripper_open: 0 or 1.
        speed: Fraction of the largest action.
        near_m: The goal counts as reached within this distance.
        near_rad: ... and this angle.
        min_ticks: Actions to spend at least.
        max_ticks: Actions to spend at most.
        until: Ends the phase early when it holds.
        require: Must hold at the end of the phase, or the script starts again.
    """

    goal: Goal
    gripper_open: float
    speed: float = 1.0
    near_m: float = 0.006
    near_rad: float = 0.06
    min_ticks: int = 0
    max_ticks: int = 70
    until: Condition | None = None
    require: Condition | None = None


class PhasedExpert:
    """Solves one task by going through phases. Owned by one caller.

    Args:
        phases: What to do, in order.
        is_success: Whether the task is done, given the first state and the present one.
        space: Meaning of the actions to produce.
    """

    def __init__(self, phases: Sequence[Phase], is_success: Success, space: ActionSpace) -> None:
        self._phases = tuple(phases)
        self._is_success = is_success
        self._space = space
        self._start: TabletopState | None = None
        self._goal: Pose | None = None
        self._attempts = 0
        self._done = False
        self._gripper_open = 1.0
        self._enter(0)

    @property
    def is_done(self) -> bool:
        """Whether the expert has finished, with success or without."""
        return self._done

    def act(self, state: TabletopState, pose_tcp_in_base: Pose) -> FloatArray:
        """Return the (7,) action for this moment: six numbers in [-1, 1], then ``gripper_open`` 0 or 1.

        Args:
            state: The task state, possibly some ten milliseconds old.
            pose_tcp_in_base: Measured TCP pose.
        """
        self._start = self._start or state
        while not self._done and self._is_over(state, pose_tcp_in_base):
            self._advance(state)
        if self._done:
            return np.array([0.0] * 6 + [self._gripper_open])
        phase = self._phases[self._index]
        self._ticks += 1
        self._gripper_open = phase.gripper_open
        return np.append(self._arm_action(phase, pose_tcp_in_base), phase.gripper_open)

    def act_ahead(self, state: TabletopState, pose_tcp_in_base: Pose, count: int) -> FloatArray:
        """Return (count, 7): the action for this moment, then those that follow in the same phase.

        They assume an arm that does what it is told. What comes after the phase is not foreseen.
        """
        actions = [self.act(state, pose_tcp_in_base)]
        for _ in range(count - 1):
            pose_tcp_in_base = target_pose(self._space, pose_tcp_in_base, actions[-1])
            motion = np.zeros(6) if self._done else self._arm_action(self._phases[self._index], pose_tcp_in_base)
            actions.append(np.append(motion, self._gripper_open))
        return np.stack(actions)

    def _is_over(self, state: TabletopState, pose: Pose) -> bool:
        phase = self._phases[self._index]
        if self._goal is None:
            self._goal = phase.goal(state, pose)
        if self._ticks < phase.min_ticks:
            return False
        if self._ticks >= phase.max_ticks or (phase.until is not None and phase.until(state)):
            return True
        is_near = distance_m(pose, self._goal) < phase.near_m and angle_rad(pose, self._goal) < phase.near_rad
        return phase.until is None and is_near

    def _advance(self, state: TabletopState) -> None:
        require = self._phases[self._index].require
        is_lost = require is not None and not require(state)
        if not is_lost and self._index + 1 < len(self._phases):
            self._enter(self._index + 1)
            return
        assert self._start is not None
        self._attempts += 1
        self._done = self._is_success(self._start, state) or self._attempts >= MAX_ATTEMPTS
        self._enter(0)

    def _enter(self, index: int) -> None:
        self._index, self._ticks = index, 0
        self._goal = None

    def _arm_action(self, phase: Phase, pose: Pose) -> FloatArray:
        assert self._goal is not None
        wanted = GAIN * action_towards(self._space, pose, self._goal)
        return np.concatenate([shortened(wanted[:3], phase.speed), shortened(wanted[3:6], 1.0)])
