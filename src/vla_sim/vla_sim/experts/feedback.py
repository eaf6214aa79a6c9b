# SPDX-License-Identifier: Apache-2.0
"""From where a skill aims, to the action that leads there."""

import numpy as np

from vla_core.actions.action_space import ActionSpace, action_towards, target_pose
from vla_core.geometry import FloatArray, Pose, shortened
from vla_sim.experts.aim import OPEN, Aim, Skill
from vla_sim.experts.approach import CLEAR_M, risen
from vla_sim.task_state import TabletopState
from vla_sim.tasks import Success

GAIN = 0.7  # of the remaining way per action: the measured pose is old by up to a period


class FeedbackExpert:
    """Solves one task. Owned by one caller.

    What it does depends on the present state alone, but for two things: success counts from the first state, and
    after it the arm withdraws.

    Args:
        skill: What to aim at.
        is_success: Whether the task is done, given the first state and the present one.
        space: Meaning of the actions to produce.
    """

    def __init__(self, skill: Skill, is_success: Success, space: ActionSpace) -> None:
        self._skill = skill
        self._is_success = is_success
        self._space = space
        self._start: TabletopState | None = None
        self._leaving: Aim | None = None
        self._aim: Aim | None = None
        self._gripper_open = OPEN

    @property
    def is_leaving(self) -> bool:
        """Whether the task is done; the arm withdraws."""
        return self._leaving is not None

    @property
    def is_done(self) -> bool:
        """Whether the task is done and the arm has withdrawn."""
        return self.is_leaving and self._aim is None

    def act(self, state: TabletopState, pose_tcp_in_base: Pose) -> FloatArray:
        """Return the (7,) action for this moment: six numbers in [-1, 1], then ``gripper_open`` 0 or 1.

        Args:
            state: The task state, possibly some ten milliseconds old.
            pose_tcp_in_base: Measured TCP pose.
        """
        self._start = self._start or state
        if self._leaving is None and self._is_success(self._start, state):
            self._leaving = Aim(risen(pose_tcp_in_base, CLEAR_M), self._gripper_open)
        self._aim = self._leaving or self._skill(state, pose_tcp_in_base)
        self._gripper_open = self._aim.gripper_open
        action = self._towards(self._aim, pose_tcp_in_base)
        if self._leaving is not None and np.linalg.norm(action[:3]) < 0.5:
            self._aim = None
        return action

    def act_ahead(self, state: TabletopState, pose_tcp_in_base: Pose, count: int) -> FloatArray:
        """Return (count, 7): the action for this moment, then those that follow towards the same aim.

        They assume an arm that does what it is told. What is aimed at later is not foreseen.
        """
        actions = [self.act(state, pose_tcp_in_base)]
        for _ in range(count - 1):
            pose_tcp_in_base = target_pose(self._space, pose_tcp_in_base, actions[-1])
            still = np.append(np.zeros(6), actions[-1][6])
            actions.append(still if self._aim is None else self._towards(self._aim, pose_tcp_in_base))
        return np.stack(actions)

    def _towards(self, aim: Aim, pose: Pose) -> FloatArray:
        wanted = GAIN * action_towards(self._space, pose, aim.pose)
        return np.concatenate([shortened(wanted[:3], aim.speed), shortened(wanted[3:6], 1.0), [aim.gripper_open]])
