# SPDX-License-Identifier: Apache-2.0
"""The action at each tick: from what the arm was told, or from where it went."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vla_core.actions.action_space import ActionSpace, action_towards
from vla_core.geometry import FloatArray, Pose, angle_rad, distance_m
from vla_core.robot_spec import RobotSpec
from vla_training.conversion.config import Source
from vla_training.conversion.tick_table import TickTable

MotionSource = Literal["command", "measured"]


@dataclass(frozen=True, eq=False, kw_only=True)
class MotionLabels:
    """Actions of n consecutive ticks; the last one asks to stay.

    Attributes:
        targets: n poses, TCP in base, that each action leads to.
        units: (n, 6) normalised actions before they are clipped.
        moved_m: (n,) length of each action's motion, metres.
        moved_rad: (n,) angle of its rotation, radians.
    """

    targets: tuple[Pose, ...]
    units: FloatArray
    moved_m: FloatArray
    moved_rad: FloatArray


def label_motion(
    table: TickTable, first: int, last: int, *, spec: RobotSpec, space: ActionSpace, source: MotionSource
) -> MotionLabels:
    """Return the actions of ticks ``first`` to ``last``, which have observations and equal spacing.

    The action at a tick leads to the next tick: to the pose measured there, or to the pose that the arm had been
    told to take by then, from the pose that the live controller would start from.
    """
    pairs = [_way(table, tick, spec, source) for tick in range(first, last)]
    here = _known(table.poses[last])
    pairs.append((here, here))
    return MotionLabels(
        targets=tuple(target for _, target in pairs),
        units=np.array([action_towards(space, start, target) for start, target in pairs]),
        moved_m=np.array([distance_m(start, target) for start, target in pairs]),
        moved_rad=np.array([angle_rad(start, target) for start, target in pairs]),
    )


def runs_with_commands(table: TickTable, runs: Sequence[range]) -> list[range]:
    """Return each run from the tick before the first command of the bag on; empty runs for what is all before.

    The action at that tick leads from the measured pose to the first command, as the live controller's does.
    """
    ticks = (tick for tick, command in enumerate(table.commands) if command is not None)
    first = max(next(ticks, len(table) + 1) - 1, 0)
    return [range(min(max(run.start, first), run.stop), run.stop) for run in runs]


def gripper_decisions(table: TickTable, spec: RobotSpec, source: Source) -> FloatArray:
    """Return (T,) what the gripper had been asked for until each tick: 0 close, 1 open.

    Measured openings are decided with the robot spec's hysteresis; at refused ticks the last decision stays.
    Before the first command the measured opening decides in any case.
    """
    measured = _with_hysteresis(table.gripper_open, spec.gripper.hysteresis / 2.0)
    if source == "measured":
        return measured
    return np.where(np.isfinite(table.gripper_command), table.gripper_command, measured)


def _with_hysteresis(opening: FloatArray, margin: float) -> FloatArray:
    known = opening[np.isfinite(opening)]
    decision = 1.0 if not len(known) or known[0] > 0.5 else 0.0
    decisions = np.empty(len(opening))
    for tick, value in enumerate(opening):
        if value > 0.5 + margin:
            decision = 1.0
        elif value < 0.5 - margin:
            decision = 0.0
        decisions[tick] = decision
    return decisions


def _way(table: TickTable, tick: int, spec: RobotSpec, source: MotionSource) -> tuple[Pose, Pose]:
    """Return from where to where the action at a tick leads."""
    measured = _known(table.poses[tick])
    if source == "measured":
        return measured, _known(table.poses[tick + 1])
    told, told_next = table.commands[tick], _known(table.commands[tick + 1])
    if spec.command.interface == "twist":
        told = told or Pose.identity()
        step_m = told_next.position_m - told.position_m
        turn = told_next.rotation * told.rotation.inv()
        return measured, Pose(measured.position_m + step_m, turn * measured.rotation)
    return measured if told is None else _reference(told, measured, spec), told_next


def _reference(told: Pose, measured: Pose, spec: RobotSpec) -> Pose:
    """Return the pose that the live controller applies an action to (``vla_core.controller``)."""
    command = spec.command
    strayed = distance_m(told, measured) > command.reanchor_m or angle_rad(told, measured) > command.reanchor_rad
    return measured if command.reference == "measured" or strayed else told


def _known(pose: Pose | None) -> Pose:
    assert pose is not None, "the range holds a tick without a pose"
    return pose
