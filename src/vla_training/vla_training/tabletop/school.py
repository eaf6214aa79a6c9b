# SPDX-License-Identifier: Apache-2.0
"""Several lessons side by side, with one pupil for all of them: lessons in, rows of a dataset out.

Shapes: F frames of a lesson, C cameras, K slots, S side of a picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vla_core.actions.action_space import ActionSpace, action_towards, target_pose
from vla_core.actions.gripper import calvin_from_open
from vla_core.checkpoint import load_checkpoint
from vla_core.geometry import FloatArray
from vla_core.model.resize import resize
from vla_core.policy import BatchedPolicy
from vla_core.robot_spec import RobotSpec
from vla_core.types import Observation
from vla_training.datasets.dataset_card import GRIPPER_WIDTH_OPEN_M
from vla_training.datasets.frame_store import Annotation


@dataclass(frozen=True)
class LessonPlan:
    """What the lessons of a dataset are like.

    Attributes:
        robot: Robot spec.
        num_tasks: Tasks in a row.
        first_tasks: The first of them is one of these; empty: one of all.
        size_px: Side of the square pictures that are kept.
        pupil: Checkpoint of the pupil, or ``None``.
        pupil_share: Share of the tasks in which the pupil acts.
        pupil_ticks: Its turns, before the expert helps, last from the first to below the second.
        side_by_side: Lessons at the same time in a process.
        randomise: What of the looks of a lesson its seed draws: ``light``, ``camera``, ``table``.
    """

    robot: Path
    num_tasks: int = 5
    first_tasks: tuple[str, ...] = ()
    size_px: int = 84
    pupil: Path | None = None
    pupil_share: float = 0.7
    pupil_ticks: tuple[int, int] = (5, 20)
    side_by_side: int = 8
    randomise: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LessonRows:
    """A lesson as rows, frames numbered from 0.

    Attributes:
        seed: Of the lesson.
        pictures: Camera to (F, 3, S, S) uint8.
        robot_obs: (F, 15), as in ``FrameNumbers``.
        rel_actions: (F, 7) what the expert would do, in units of ``EXPERT_SPACE``, gripper -1 or +1.
        points: (F, C, K, 2), as in ``NamedPoints``.
        annotations: Its sentences.
    """

    seed: int
    pictures: dict[str, NDArray[np.uint8]]
    robot_obs: FloatArray
    rel_actions: FloatArray
    points: NDArray[np.float32]
    annotations: tuple[Annotation, ...]


@dataclass
class _Desk:
    """One lesson that is under way. Owned by a ``School``."""

    lesson: Any
    seed: int
    ticks: list[Any] = field(default_factory=list)


class School:
    """Gives lessons. Use and close it in one thread.

    Args:
        plan: What they are like.
    """

    def __init__(self, plan: LessonPlan) -> None:
        from vla_sim.experts.catalogue import EXPERT_SPACE  # type: ignore[import-not-found,unused-ignore]
        from vla_sim.lesson import Course, Lesson  # type: ignore[import-not-found,unused-ignore]

        torch.set_num_threads(1)
        self._plan = plan
        self._space: ActionSpace = EXPERT_SPACE
        spec = RobotSpec.load(plan.robot)
        self._lessons = [Lesson(spec, plan.randomise) for _ in range(plan.side_by_side)]
        self._course = Course(
            num_tasks=plan.num_tasks,
            first_tasks=plan.first_tasks,
            pupil_share=plan.pupil_share if plan.pupil else 0.0,
            pupil_ticks=plan.pupil_ticks,
        )
        self._cameras = tuple(spec.cameras)
        self._pupil = None if plan.pupil is None else BatchedPolicy(load_checkpoint(plan.pupil), plan.side_by_side)

    def close(self) -> None:
        """Give the renderers back."""
        for lesson in self._lessons:
            lesson.close()

    def teach(self, seeds: Sequence[int]) -> Iterator[LessonRows]:
        """Yield the rows of each lesson when it is over."""
        waiting = list(seeds)
        desks: list[_Desk | None] = [self._begin(lesson, waiting) for lesson in self._lessons]
        while any(desks):
            for place, desk in enumerate(desks):
                if desk is None:
                    continue
                tick = desk.lesson.look()
                if tick is not None:
                    desk.ticks.append(tick)
                    continue
                yield self._rows(desk)
                desks[place] = self._begin(desk.lesson, waiting)
                if desks[place] is not None:
                    desks[place].ticks.append(desks[place].lesson.look())  # type: ignore[union-attr]
            self._go_on(desks)

    def _begin(self, lesson: Any, waiting: list[int]) -> _Desk | None:
        if not waiting:
            return None
        seed = waiting.pop(0)
        lesson.begin(seed, self._course)
        return _Desk(lesson, seed)

    def _go_on(self, desks: Sequence[_Desk | None]) -> None:
        proposals = self._proposals(desks)
        for desk, proposal in zip(desks, proposals, strict=True):
            if desk is not None:
                desk.lesson.go_on(proposal)

    def _proposals(self, desks: Sequence[_Desk | None]) -> list[FloatArray | None]:
        """Return what the pupil would do in each lesson, in the expert's space."""
        busy = next((desk for desk in desks if desk is not None), None)
        if self._pupil is None or busy is None:
            return [None] * len(desks)
        ticks = [(desk or busy).ticks[-1] for desk in desks]
        self._pupil.reset([tick.begins for tick in ticks])
        chunks = self._pupil.infer([tick.observation for tick in ticks], [tick.instruction for tick in ticks])
        return [
            self._in_experts_space(chunk.actions[0], tick.observation)
            for chunk, tick in zip(chunks, ticks, strict=True)
        ]

    def _in_experts_space(self, action: NDArray[np.float32], observation: Observation) -> FloatArray:
        assert self._pupil is not None
        pose = observation.pose_tcp_in_base
        wanted = target_pose(self._pupil.contract.action_space, pose, action[:6])
        return np.append(action_towards(self._space, pose, wanted), float(action[6] > 0.5))

    def _rows(self, desk: _Desk) -> LessonRows:
        ticks = desk.ticks
        observations = [tick.observation for tick in ticks]
        begins = [*(i for i, tick in enumerate(ticks) if tick.begins), len(ticks)]
        annotations = [
            Annotation(first, end - 1, ticks[first].instruction, ticks[first].task)
            for first, end in pairwise(begins)
            if end - first > 1
        ]
        actions = np.stack([tick.action for tick in ticks])
        actions[:, 6] = calvin_from_open(actions[:, 6])
        return LessonRows(
            seed=desk.seed,
            pictures={name: self._planes([each.images[name] for each in observations]) for name in self._cameras},
            robot_obs=np.stack([_robot_obs(each) for each in observations]),
            rel_actions=actions,
            points=np.stack([tick.points for tick in ticks]).astype(np.float32),
            annotations=tuple(annotations),
        )

    def _planes(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        planes = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
        side = self._plan.size_px
        if planes.shape[2:] == (side, side):
            return planes.numpy()
        squares = resize(planes.flatten(0, 1), side, "bicubic").to(torch.uint8)
        return squares.view(len(pictures), 3, side, side).numpy()


def _robot_obs(observation: Observation) -> FloatArray:
    pose = observation.pose_tcp_in_base
    width_m = observation.gripper_open * GRIPPER_WIDTH_OPEN_M
    joints = observation.joint_positions_rad
    return np.concatenate([pose.position_m, pose.euler_xyz_rad, [width_m], joints, [0.0]])
