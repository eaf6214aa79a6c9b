# SPDX-License-Identifier: Apache-2.0
"""Lessons: they repeat themselves, and say what the expert would do whoever acts and wherever that leads."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from vla_core.geometry import FloatArray
from vla_core.robot_spec import RobotSpec
from vla_sim.experts.catalogue import make_expert
from vla_sim.lesson import IDLE_TASK, IDLE_TICKS, Course, Lesson, LessonTick
from vla_sim.nonsense import HELD_OUT_NONSENSE, nonsense
from vla_sim.tasks import TASKS
from vla_sim.wording import bare, worded

BLOCK_RGB = {"red": (0.85, 0.08, 0.08), "blue": (0.08, 0.22, 0.9), "pink": (0.98, 0.5, 0.78)}
CLEAR_M = 0.1  # nearer to the block the hand may hide it


@pytest.fixture
def lesson(spec: RobotSpec) -> Iterator[Lesson]:
    given = Lesson(spec)
    yield given
    given.close()


def give(
    lesson: Lesson, seed: int, pupil: np.random.Generator | None = None, num_tasks: int = 1
) -> Iterator[LessonTick]:
    lesson.begin(seed, Course(num_tasks, pupil_share=0.0 if pupil is None else 1.0))
    while (tick := lesson.look()) is not None:
        yield tick
        lesson.go_on(None if pupil is None else np.append(pupil.uniform(-1.0, 1.0, 6), 1.0))


def asks_for(instruction: str, task: str) -> bool:
    said = set(instruction.lower().rstrip(".").split())
    return any(set(sentence.split()) - {"the"} <= said for sentence in TASKS[task].sentences)


def numbers(ticks: list[LessonTick]) -> FloatArray:
    seen = [tick.observation for tick in ticks]
    rows = [
        [*tick.action, *tick.points.ravel(), *each.pose_tcp_in_base.position_m, *each.joint_positions_rad]
        for tick, each in zip(ticks, seen, strict=True)
    ]
    return np.array(rows)


def test_equal_seeds_give_equal_lessons_to_the_bit_whatever_came_between(lesson: Lesson, spec: RobotSpec) -> None:
    first = list(give(lesson, 3, num_tasks=2))
    list(give(lesson, 4))
    fresh = Lesson(spec)
    for again in (list(give(lesson, 3, num_tasks=2)), list(give(fresh, 3, num_tasks=2))):
        assert np.array_equal(numbers(first), numbers(again), equal_nan=True)
        assert [(t.instruction, t.task, t.begins) for t in first] == [
            (t.instruction, t.task, t.begins) for t in again
        ]
        for one, other in zip(first, again, strict=True):
            assert all(
                np.array_equal(one.observation.images[n], other.observation.images[n]) for n in spec.cameras
            )
    fresh.close()
    assert sum(tick.begins for tick in first) >= 2
    assert all(asks_for(tick.instruction, tick.task) for tick in first if tick.task != IDLE_TASK)


def test_the_pupil_leads_and_the_labels_are_the_experts(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vla_sim.lesson.IDLE_SHARE", 0.0)
    monkeypatch.setattr("vla_sim.lesson.TIME_LIMIT_TICKS", 40)
    expert, path, errors = None, [], []
    for tick in give(lesson, 8, np.random.default_rng(0)):
        if expert is None or tick.begins:
            expert = make_expert(tick.task)
        pose = tick.observation.pose_tcp_in_base
        errors.append(np.abs(tick.action - expert.act(lesson._world.state(), pose)).max())
        path.append(pose.position_m)
    another = give(lesson, 8, np.random.default_rng(1))
    elsewhere = [tick.observation.pose_tcp_in_base.position_m for tick in islice(another, 12)]
    assert len(errors) > 12
    assert max(errors) == 0.0
    assert np.abs(np.array(path[:12]) - np.array(elsewhere)).max() > 0.005, "the pupil moves the arm"


def test_once_the_task_is_done_the_expert_alone_withdraws(lesson: Lesson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vla_sim.lesson.IDLE_SHARE", 0.0)
    monkeypatch.setattr("vla_sim.lesson.STAYS_SHARE", 0.0)
    lesson.begin(3, Course(1, first_tasks=("turn_on_light",), pupil_share=1.0, pupil_ticks=(90, 91)))
    pupil, aside = make_expert("turn_on_light"), np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    withdrawal_m = []
    while (tick := lesson.look()) is not None:
        pose = tick.observation.pose_tcp_in_base
        proposal = pupil.act(lesson._world.state(), pose)
        if pupil.is_leaving:
            withdrawal_m.append(pose.position_m)
        lesson.go_on(aside if pupil.is_leaving else proposal)
    assert len(withdrawal_m) > 2
    x_m, y_m, z_m = np.ptp(withdrawal_m, axis=0)
    assert z_m > 0.03
    assert max(x_m, y_m) < 0.02


def test_a_sentence_without_meaning_is_answered_by_standing_still(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vla_sim.lesson.IDLE_SHARE", 1.0)
    ticks = list(islice(give(lesson, 0), 2 * IDLE_TICKS))
    said = {sentence for task in TASKS.values() for sentence in (*task.sentences, *task.held_out_sentences)}
    assert [tick.begins for tick in ticks] == 2 * [True, *[False] * (IDLE_TICKS - 1)]
    for tick in ticks:
        assert tick.task == IDLE_TASK
        assert tick.instruction not in said
        assert tick.action.tolist() == [0.0] * 6 + [1.0]
        assert np.isnan(tick.points).all()


def test_nonsense_after_a_lift_does_not_let_the_block_fall(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("lesson.IDLE_SHARE", 0.0), ("lesson.STAYS_SHARE", 1.0), ("who_acts.CLEAN_SHARE", 1.0)):
        monkeypatch.setattr(f"vla_sim.{name}", value)
    seed = next(s for s in range(100) if next(give(lesson, s)).task.startswith("lift"))
    given = give(lesson, seed, num_tasks=2)
    next(given)
    monkeypatch.setattr("vla_sim.lesson.IDLE_SHARE", 1.0)
    idle = [tick for tick in islice(given, 90) if tick.task == IDLE_TASK]
    assert len(idle) >= IDLE_TICKS
    assert {tick.action[6] for tick in idle} == {0.0}
    assert lesson._world.state().held is not None


def test_drawn_nonsense_is_never_what_is_kept_for_tests() -> None:
    rng = np.random.default_rng(1)
    assert not set(HELD_OUT_NONSENSE) & {nonsense(rng) for _ in range(2000)}


@pytest.mark.parametrize("colour", BLOCK_RGB)
@pytest.mark.parametrize("task", ["lift_{}_block", "push_{}_block_left"])
def test_the_named_point_lies_on_the_block_in_both_cameras(lesson: Lesson, task: str, colour: str) -> None:
    seen = dict.fromkeys(("static", "wrist"), 0)
    for tick in lesson.demonstrate(task.format(colour), 2):
        block_m = lesson._world.state().blocks[f"{colour}_block"].position_m
        if np.linalg.norm(tick.observation.pose_tcp_in_base.position_m - block_m) < CLEAR_M:
            break
        for camera, points in zip(tick.observation.images, tick.points, strict=True):
            (u, v), _ = points
            picture = tick.observation.images[camera]
            if not (0.03 < u < 0.97 and 0.03 < v < 0.97):
                continue
            pixel = picture[int(v * picture.shape[0]), int(u * picture.shape[1])].astype(float)
            unit, wanted = pixel / np.linalg.norm(pixel), np.array(BLOCK_RGB[colour])
            assert np.linalg.norm(unit - wanted / np.linalg.norm(wanted)) < 0.3, f"{camera}: {pixel}"
            seen[camera] += 1
    assert min(seen.values()) >= 2


def test_a_reworded_sentence_keeps_what_it_names_and_is_never_one_that_is_held_out() -> None:
    rng = np.random.default_rng(0)
    held_out = {said for task in TASKS.values() for said in task.held_out_sentences}
    for sentence in (said for task in TASKS.values() for said in task.sentences):
        drawn = [worded(sentence, rng) for _ in range(50)]
        words = set(sentence.split()) - {"the"}
        assert all(words <= set(said.lower().rstrip(".").split()) for said in drawn)
        assert sentence in drawn
        assert not held_out & {said.lower().rstrip(".") for said in drawn}


def test_courtesies_do_not_change_what_a_sentence_asks_for() -> None:
    rng = np.random.default_rng(0)
    asked = {name: {bare(said) for said in TASKS[name].sentences} for name in TASKS}
    for name, task in TASKS.items():
        for sentence in task.sentences:
            for said in (worded(sentence, rng) for _ in range(20)):
                assert [other for other in TASKS if bare(said) in asked[other]] == [name], said
    assert bare("Could you please close the drawer for me?") in asked["close_drawer"]
