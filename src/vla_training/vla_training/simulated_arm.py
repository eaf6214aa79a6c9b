# SPDX-License-Identifier: Apache-2.0
"""Actions on the simulated arm of ``vla_sim``: the one place where training knows a robot.

The path is that of a policy's actions on the robot: actions, guard, commands at their rate, arm. Things on the
table do not touch: a dataset does not tell where they were.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from vla_core.actions.action_space import ActionSpace
from vla_core.controller import ActionController
from vla_core.errors import VlaError
from vla_core.geometry import FloatArray, Pose
from vla_core.robot_spec import GuardStageName, RobotSpec
from vla_core.units import NS_PER_S

SETTLE_S = 0.4
_JUST_S = 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class ArmPath:
    """Where the simulated arm went.

    Attributes:
        times_s: (M,) seconds since the first action began.
        poses: M poses, TCP in base.
        interventions: Stage of the guard to how often it changed something, without those that never did.
    """

    times_s: FloatArray
    poses: Pose
    interventions: dict[str, int]


class SimulatedArm:
    """Replays actions, one episode after the other.

    Args:
        spec: The robot; it has the joints of the simulated arm.

    Raises:
        VlaError: ``vla_sim`` is not installed, or the robot is another one.
    """

    def __init__(self, spec: RobotSpec) -> None:
        try:
            from vla_sim.arm_goals import PoseGoal  # type: ignore[import-not-found,unused-ignore]
            from vla_sim.scene.model import ARM_JOINTS  # type: ignore[import-not-found,unused-ignore]
            from vla_sim.tabletop import Tabletop  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise VlaError(
                f"the simulated arm is not here ({error}). Replay needs the package vla_sim and mujoco: build the "
                "workspace with colcon, and source scripts/env.bash"
            ) from None
        if spec.joints.names != ARM_JOINTS:
            raise VlaError(
                f"robot '{spec.name}' has the joints {list(spec.joints.names)}; the simulated arm has "
                f"{list(ARM_JOINTS)}. Replay datasets of that arm"
            )
        self._spec, self._goal_of = spec, PoseGoal
        self._tabletop: Any = Tabletop(with_contacts=False)

    def replay(
        self,
        joints_rad: FloatArray,
        actions: FloatArray,
        *,
        space: ActionSpace,
        period_s: float,
        anchor: Pose | None = None,
    ) -> ArmPath:
        """Return the path that actions lead along.

        Args:
            joints_rad: (7,) joints to begin at.
            actions: (n, 7) normalised arm motion and ``gripper_open``, one per period.
            space: Meaning of the actions.
            period_s: Seconds between two actions.
            anchor: Pose that the arm had been told to take before; ``None`` for where it is.
        """
        table = self._tabletop
        table.begin_at(joints_rad)
        command_period_s = 1.0 / self._spec.command.rate_hz
        # The controller takes one command longer than the period, for actions that come late. Here none does.
        controller = ActionController(self._spec, space, period_s - command_period_s)
        controller.anchor(anchor or table.arm_state().pose_tcp_in_base, 0)
        steps_per_command = max(1, round(command_period_s / table.period_s))
        end_s = len(actions) * period_s + SETTLE_S
        num_begun, times_s, poses = 0, [0.0], [table.arm_state().pose_tcp_in_base]
        for step in range(round(end_s / table.period_s)):
            if step % steps_per_command == 0:
                # A command is due at the end of the step that it is sent for.
                due_s = table.time_s + command_period_s
                while num_begun < len(actions) and num_begun * period_s < due_s - _JUST_S:
                    measured = table.arm_state().pose_tcp_in_base
                    controller.begin(actions[num_begun], measured, _ns(num_begun * period_s))
                    num_begun += 1
                command = controller.command(_ns(due_s))
                table.follow(self._goal_of(command.pose_tcp_in_base))
            table.step(table.period_s)
            times_s.append(table.time_s)
            poses.append(table.arm_state().pose_tcp_in_base)
        return ArmPath(
            times_s=np.array(times_s),
            poses=Pose(
                np.array([pose.position_m for pose in poses]),
                Rotation.concatenate([pose.rotation for pose in poses]),
            ),
            interventions=_counted(controller.guard.interventions),
        )


def _ns(time_s: float) -> int:
    return round(time_s * NS_PER_S)


def _counted(interventions: Mapping[GuardStageName, int]) -> dict[str, int]:
    return {stage: count for stage, count in interventions.items() if count}
