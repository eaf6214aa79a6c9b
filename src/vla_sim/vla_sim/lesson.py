# SPDX-License-Identifier: Apache-2.0
"""A lesson: several tasks in a row, and at every tick what the expert would do, whoever moves the arm.

Where only an expert acts, a policy never learns what to do beside the expert's way. So noise, bursts of nonsense,
or a pupil (a policy in training) lead away from it, and the expert says how to go on from there (Ross et al.,
*A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning*, 2011).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from vla_core.geometry import FloatArray
from vla_core.policy_contract import PolicyContract
from vla_core.robot_spec import RobotSpec
from vla_core.schedules import make_schedule
from vla_core.types import ActionChunk, Observation
from vla_sim.cameras import camera_intrinsics, spec_sizes_px
from vla_sim.chains import next_task
from vla_sim.demonstration import STILL_S, sentence_of
from vla_sim.episode import PERIOD_S, TIME_LIMIT_S
from vla_sim.experts.catalogue import EXPERT_SPACE, make_expert
from vla_sim.experts.feedback import FeedbackExpert
from vla_sim.named_places import SLOTS, in_pictures, named_places
from vla_sim.nonsense import nonsense
from vla_sim.policy_world import Driving, PolicyWorld
from vla_sim.tasks import TASKS
from vla_sim.who_acts import PUPIL_TICKS, Actor, draw_actor
from vla_sim.wording import worded

IDLE_TASK = "nothing"
IDLE_SHARE = 0.05
IDLE_TICKS = 10
TIME_LIMIT_TICKS = 90
STAYS_SHARE = 0.6  # of tasks end where they succeed; in the others the arm withdraws before the next sentence


@dataclass(frozen=True)
class Course:
    """What a lesson consists of.

    Attributes:
        num_tasks: Tasks in a row.
        first_tasks: The first of them is one of these; empty: one of all.
        pupil_share: Share of the tasks in which a pupil acts.
        pupil_ticks: Turns of the pupil, before the expert helps, last from the first to below the second.
    """

    num_tasks: int = 5
    first_tasks: tuple[str, ...] = ()
    pupil_share: float = 0.0
    pupil_ticks: tuple[int, int] = PUPIL_TICKS


@dataclass(frozen=True, eq=False)
class LessonTick:
    """One tick.

    Attributes:
        observation: What a policy sees.
        action: (7,) what the expert would do, in ``EXPERT_SPACE``, ``gripper_open`` 0 or 1.
        points: (C, 2, 2) where the named things are in the pictures; see ``named_places``.
        instruction: The sentence.
        task: What it asks for; ``nothing`` for a sentence without meaning.
        begins: Whether the sentence is new.
    """

    observation: Observation
    action: FloatArray
    points: FloatArray
    instruction: str
    task: str
    begins: bool


class Lesson:
    """One world in which lessons are given. One owner, in one thread: it holds GL contexts.

    Args:
        spec: The robot.
        randomise: What of the looks is drawn from the seed; see ``vla_sim.appearance``.
    """

    def __init__(self, spec: RobotSpec, randomise: Collection[str] = ()) -> None:
        sizes_px = spec_sizes_px(spec)
        contract = PolicyContract(
            cameras=tuple(sizes_px),
            image_aspects=tuple(width / height for width, height in sizes_px.values()),
            period_s=PERIOD_S,
            chunk_size=1,
            window_size=1,
            action_space=EXPERT_SPACE,
            is_trained=False,
        )
        driving = Driving(make_schedule=lambda: make_schedule("first_action"))
        self._world = PolicyWorld(spec, contract, driving, randomise)
        self._intrinsics = camera_intrinsics(sizes_px)

    def begin(self, seed: int, course: Course) -> None:
        """Begin a lesson.

        Args:
            seed: Of everything that is drawn.
            course: What it consists of.
        """
        self._seed, self._course = seed, course
        self._rng = np.random.default_rng([seed, 17])
        self._done: list[str] = []
        first = str(self._rng.choice(list(course.first_tasks or TASKS)))
        self._world.reset(seed, first)
        self._begin_task(first)

    def look(self) -> LessonTick | None:
        """Return this tick, or ``None`` when the lesson is over."""
        state = self._world.state()
        if self._task is not None and TASKS[self._task].is_success(self._start, state) and self._ends_at_success:
            self._is_over = True
        if self._is_over and not self._next():
            return None
        observation = self._world.observe()
        self._action = (
            self._expert.act(self._world.state(), observation.pose_tcp_in_base) if self._expert else self._still()
        )
        self._ticks += 1
        limit = TIME_LIMIT_TICKS if self._expert else IDLE_TICKS
        self._is_over = self._ticks >= limit or (self._expert is not None and self._expert.is_done)
        return self._tick(observation, self._action, begins=self._ticks == 1)

    def go_on(self, proposal: FloatArray | None = None) -> None:
        """Let one tick pass.

        Once the task is done, the expert alone withdraws. A pupil that lingers there would fill the lesson with
        "go away" at the very places where, a moment before, the right action was to go on; whether a push was
        long enough cannot be seen in the pictures of a window.

        Args:
            proposal: (7,) what the pupil would do, in ``EXPERT_SPACE``.
        """
        if self._expert is not None and self._expert.is_leaving:
            proposal = None
        self._carry_out(self._actor.choose(self._action, proposal))

    def demonstrate(self, task: str, seed: int) -> Iterator[LessonTick]:
        """Yield the ticks of the demonstration that ``demonstration_bags`` records for a task and a seed.

        The expert acts alone and at once, between two stretches of standing still; there are no ticks of the
        first one, because nothing is commanded in it. Whether the expert succeeds is not looked at.
        """
        self._world.reset(seed, task, softly=False)
        self._task, self._instruction, self._gripper_open = task, sentence_of(task, seed), 1.0
        expert, still_ticks = make_expert(task), round(STILL_S / PERIOD_S)
        for _ in range(still_ticks):
            self._world.rest()
        begin_s = self._world.time_s
        while self._world.time_s < TIME_LIMIT_S:
            observation = self._world.observe()
            action = expert.act(self._world.state(), observation.pose_tcp_in_base)
            if expert.is_done:
                break
            yield self._tick(observation, action, begins=self._world.time_s == begin_s)
            self._carry_out(action)
        for tick in range(still_ticks + 1):
            if tick:
                self._world.advance(None)
            yield self._tick(self._world.observe(), self._still(), begins=False)

    def close(self) -> None:
        """Give the GL contexts back."""
        self._world.close()

    def _tick(self, observation: Observation, action: FloatArray, *, begins: bool) -> LessonTick:
        poses = {name: self._world.camera_pose_in_base(name) for name in self._intrinsics}
        places_m = np.full((len(SLOTS), 3), np.nan)
        if self._task is not None:
            places_m = named_places(TASKS[self._task], self._world.state())
        return LessonTick(
            observation=observation,
            action=action,
            points=in_pictures(places_m, self._intrinsics, poses),
            instruction=self._instruction,
            task=self._task or IDLE_TASK,
            begins=begins,
        )

    def _carry_out(self, action: FloatArray) -> None:
        self._gripper_open = float(action[6])
        chunk = ActionChunk(round(self._world.time_s * 1e9), PERIOD_S, action[None].astype(np.float32))
        self._world.advance(chunk)

    def _next(self) -> bool:
        """Begin the next sentence, if there is one and the blocks are where the arm gets at them."""
        state = self._world.state()
        if len(self._done) >= self._course.num_tasks or not all(
            _is_within_reach(p.position_m) for p in state.blocks.values()
        ):
            return False
        self._world.begin_sentence()
        self._begin_task(next_task(self._seed, self._done, state, self._course.num_tasks - len(self._done)))
        return True

    def _begin_task(self, name: str) -> None:
        rng = self._rng
        is_idle = rng.random() < IDLE_SHARE
        self._task: str | None = None if is_idle else name
        self._expert: FeedbackExpert | None = None if is_idle else make_expert(name)
        self._instruction = worded(nonsense(rng) if is_idle else str(rng.choice(TASKS[name].sentences)), rng)
        self._actor: Actor = draw_actor(rng, self._course.pupil_share, self._course.pupil_ticks)
        self._ends_at_success = rng.random() < STAYS_SHARE
        self._start, self._ticks, self._is_over = self._world.state(), 0, False
        if not self._done:
            self._gripper_open = 1.0
        if not is_idle:
            self._done.append(name)

    def _still(self) -> FloatArray:
        return np.append(np.zeros(6), self._gripper_open)


def _is_within_reach(position_m: FloatArray) -> bool:
    x, y, z = position_m
    return bool(0.28 < x < 0.68 and abs(y) < 0.45 and z > 0.0)
