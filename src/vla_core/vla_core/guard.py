# SPDX-License-Identifier: Apache-2.0
"""The last word before a command leaves: small enough to read in one sitting.

Fixed order, each stage counting what it did:

1. ``finite``     a NaN or infinite action or pose is refused; the arm holds.
2. ``age``        a missing, old or frozen stream is refused; the arm holds. (Found by the observer, counted here.)
3. ``step``       one policy action asks for no more than ``max_step``; clamped along its direction.
4. ``speed``      two consecutive commands differ by no more than ``max_speed * dt``; clamped along the way.
5. ``workspace``  goal and target stay in the box; clamped per axis.

``admit`` runs stages 1, 3 and 5 once per policy action (a goal outside the box would have to be undone by as many
actions as led there), ``limit`` runs 1, 4 and 5 once per command. A pose that starts outside the box (a person put
it there) may come back in, at limited speed, and never goes further out.

This is software on a general-purpose computer: it is not a certified safety function (``docs/safety.md``).
"""

from collections import Counter
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_core.geometry import Pose, angle_rad, distance_m, step_towards
from vla_core.robot_spec import LimitsSpec


class GuardStage(Enum):
    """Stages of the guard, in their fixed order."""

    FINITE = "finite"
    AGE = "age"
    STEP = "step"
    SPEED = "speed"
    WORKSPACE = "workspace"


class Guard:
    """Keeps targets inside the limits of one robot.

    Attributes:
        interventions: How often each stage changed or refused something since the start.
    """

    def __init__(self, limits: LimitsSpec) -> None:
        self._limits = limits
        self._box_min_m = np.array(limits.workspace_min_m)
        self._box_max_m = np.array(limits.workspace_max_m)
        self.interventions: Counter[GuardStage] = Counter(dict.fromkeys(GuardStage, 0))

    def admit(self, reference: Pose, goal: Pose) -> Pose | None:
        """Return the goal of one policy action, clamped to one step and to the box; ``None`` refuses it.

        Both poses are of the TCP in the base frame.
        """
        if not _is_finite(goal):
            self.interventions[GuardStage.FINITE] += 1
            return None
        limits = self._limits
        goal = self._clamp(GuardStage.STEP, reference, goal, limits.max_step_m, limits.max_step_rad)
        return self._keep_in_workspace(reference, goal)

    def why_not_start_at(self, measured: Pose, margin_m: float) -> str | None:
        """Return why no motion may begin at ``measured``: it is further than ``margin_m`` outside the box.

        A pose like this is a driver's error (millimetres for metres, another frame) or an arm that a person must
        bring back. Commanding it, or the way back from it, would be a large motion that no policy has asked for.
        """
        outside_m = np.maximum(self._box_min_m - measured.position_m, measured.position_m - self._box_max_m).max()
        if _is_finite(measured) and outside_m <= margin_m:
            return None
        where = ", ".join(f"{value:.3f}" for value in measured.position_m)
        return (
            f"the measured TCP pose ({where} m) is {outside_m:.3f} m outside the workspace of the robot spec. "
            "Bring the arm back, or correct the driver or the workspace"
        )

    def limit(self, previous: Pose, target: Pose, dt_s: float) -> Pose:
        """Return the pose to command now; ``previous`` when the target is not finite.

        Args:
            previous: Pose commanded ``dt_s`` ago, TCP in base.
            target: Pose asked for, TCP in base.
            dt_s: Time since the previous command, seconds.
        """
        if not _is_finite(target):
            self.interventions[GuardStage.FINITE] += 1
            return previous
        reach_m, reach_rad = self._limits.max_speed_m_s * dt_s, self._limits.max_speed_rad_s * dt_s
        target = self._clamp(GuardStage.SPEED, previous, target, reach_m, reach_rad)
        return self._keep_in_workspace(previous, target)

    def are_finite(self, actions: NDArray[Any]) -> bool:
        """Return whether all numbers of actions of any shape are finite; stage 1 for what the policy says."""
        is_finite = bool(np.isfinite(actions).all())
        self.interventions[GuardStage.FINITE] += not is_finite
        return is_finite

    def count_refused_observation(self) -> None:
        """Count that missing, old or frozen streams have begun to forbid actions (stage 2)."""
        self.interventions[GuardStage.AGE] += 1

    def _clamp(self, stage: GuardStage, start: Pose, end: Pose, reach_m: float, reach_rad: float) -> Pose:
        """Shorten the way from ``start`` to ``end`` until translation and rotation are both within reach."""
        length_m, turn_rad = distance_m(start, end), angle_rad(start, end)
        if length_m <= reach_m and turn_rad <= reach_rad:
            return end
        self.interventions[stage] += 1
        fraction = min(
            reach_m / length_m if length_m > reach_m else 1.0,
            reach_rad / turn_rad if turn_rad > reach_rad else 1.0,
        )
        return step_towards(start, end, fraction)

    def _keep_in_workspace(self, previous: Pose, target: Pose) -> Pose:
        lowest_m = np.minimum(self._box_min_m, previous.position_m)
        highest_m = np.maximum(self._box_max_m, previous.position_m)
        position_m = np.clip(target.position_m, lowest_m, highest_m)
        if np.array_equal(position_m, target.position_m):
            return target
        self.interventions[GuardStage.WORKSPACE] += 1
        return Pose(position_m, target.rotation)


def _is_finite(pose: Pose) -> bool:
    return bool(np.isfinite(pose.position_m).all() and np.isfinite(pose.rotation.as_quat()).all())
