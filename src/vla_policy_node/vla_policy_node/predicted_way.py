# SPDX-License-Identifier: Apache-2.0
"""Where a chunk would lead the TCP from here, and what the guard would take away from it.

The guard's stages for actions (``finite``, ``step``, ``workspace``) are those of the command path; what its stages
for commands do depends on time, and is not foretold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_core.actions.action_space import ActionSpace, target_pose
from vla_core.geometry import Pose, angle_rad, distance_m
from vla_core.guard import Guard
from vla_core.robot_spec import GuardStageName, RobotSpec

_SAME = 1e-6  # metres and radians


@dataclass(frozen=True, eq=False)
class Step:
    """One action of a chunk; poses are of the TCP in base.

    Attributes:
        asked: Where the policy would go.
        admitted: Where the guard would let it go.
        stages: Stages of the guard that would step in; empty where both poses are one.
    """

    asked: Pose
    admitted: Pose
    stages: tuple[GuardStageName, ...]

    @property
    def is_shortened(self) -> bool:
        """Whether the guard would take something away."""
        return (
            bool(self.stages)
            or distance_m(self.asked, self.admitted) > _SAME
            or angle_rad(self.asked, self.admitted) > _SAME
        )


def predicted_way(
    actions: NDArray[np.float32], space: ActionSpace, spec: RobotSpec, start_tcp_in_base: Pose
) -> tuple[Step, ...]:
    """Return what each action of a chunk leads to, up to the first that the guard would refuse.

    Args:
        actions: (N, 7) of a chunk.
        space: Their meaning.
        spec: The robot.
        start_tcp_in_base: Pose to begin at.
    """
    guard = Guard(spec.limits, 1.0 / spec.command.rate_hz)
    steps: list[Step] = []
    reference = start_tcp_in_base
    for action in actions:
        before = guard.interventions.copy()
        if not guard.are_finite(action):
            return (*steps, Step(reference, reference, ("finite",)))
        asked = target_pose(space, reference, action)
        admitted = guard.admit(reference, asked)
        stages = tuple(stage for stage, count in guard.interventions.items() if count > before[stage])
        steps.append(Step(asked, reference if admitted is None else admitted, stages))
        if admitted is None:
            break
        reference = admitted
    return tuple(steps)


def first_of_each_stage(way: Sequence[Step]) -> dict[GuardStageName, Step]:
    """Return where each stage of the guard steps in for the first time."""
    found: dict[GuardStageName, Step] = {}
    for step in way:
        for stage in step.stages:
            found.setdefault(stage, step)
    return found
