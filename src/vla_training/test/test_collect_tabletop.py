# SPDX-License-Identifier: Apache-2.0
"""Lessons as a dataset: kills, other settings, a pupil, and that what is written can be trained on."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vla_core.errors import ConfigError
from vla_core.robot_spec import RobotSpec
from vla_training.collect_tabletop import VALIDATION_SEED, collect, main
from vla_training.datasets.named_points import NamedPoints
from vla_training.datasets.splits import open_split
from vla_training.init_checkpoint import init_checkpoint
from vla_training.tabletop.school import LessonPlan, LessonRows, School

pytest.importorskip("mujoco")

ROBOT = Path(__file__).parents[3] / "config" / "robots" / "sim_arm.yaml"
PLAN = LessonPlan(robot=ROBOT, num_tasks=1, size_px=32, side_by_side=1)
SHORT = ["--robot", str(ROBOT), "--tasks-in-a-row", "1", "--size-px", "32", "--processes", "1", "--quiet"]
LESSONS = 6


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lessons")
    counts = ["--lessons", str(LESSONS), "--validation", "1", "--side-by-side", "3"]
    assert main(["--out", str(out), *counts, *SHORT]) == 0
    return out


def test_lessons_can_be_trained_on(dataset: Path) -> None:
    from vla_sim.experts.catalogue import EXPERT_SPACE
    from vla_sim.tasks import TASKS

    split = open_split(dataset, "training")
    assert split.card.action_space == EXPERT_SPACE
    assert split.card.period_s == 0.1
    assert len(split.annotations) >= LESSONS - 1
    held_out = {said for task in TASKS.values() for said in task.held_out_sentences}
    assert not held_out & {annotation.instruction for annotation in split.annotations}
    actions = split.numbers.rel_actions
    assert np.abs(actions[:, :6]).max() <= 1.0
    assert set(actions[:, 6]) == {-1.0, 1.0}
    ids = np.array([split.annotations[0].start])
    assert split.pictures("wrist", ids).shape == (1, 32, 32, 3)
    points = NamedPoints.load(split.folder)
    assert points is not None
    assert points.points.shape == (len(actions), 2, 2, 2)
    assert points.cameras == ("static", "wrist")
    assert not set(map(str, dataset.glob(".*"))), "no draft is left"


def test_a_killed_command_goes_on_to_an_equal_dataset(dataset: Path, tmp_path: Path) -> None:
    counts = ["--lessons", str(LESSONS), "--validation", "1", "--side-by-side", "1"]
    command = [sys.executable, "-m", "vla_training.collect_tabletop", "--out", str(tmp_path), *counts, *SHORT]
    process = subprocess.Popen(command)
    deadline_s = time.monotonic() + 120
    while len(list(tmp_path.glob(".training.lessons/lesson_*.npz"))) < 2:
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob(".training.lessons/lesson_*.npz")}
    assert 2 <= len(kept) < LESSONS
    assert not (tmp_path / "training").exists()
    assert main(command[3:]) == 0
    for split in ("training", "validation"):
        names = {path.name for path in (dataset / split).iterdir()}
        assert {path.name for path in (tmp_path / split).iterdir()} == names
        for name in names - {"named_points.npz"}:
            assert (tmp_path / split / name).read_bytes() == (dataset / split / name).read_bytes(), name
        ours, theirs = NamedPoints.load(tmp_path / split), NamedPoints.load(dataset / split)
        assert ours is not None
        assert theirs is not None
        assert np.array_equal(ours.points, theirs.points, equal_nan=True)


def test_looks_that_are_drawn_change_the_pictures_and_nothing_else(dataset: Path, tmp_path: Path) -> None:
    counts = ["--lessons", "2", "--validation", "0", "--randomise", "light", "table"]
    assert main(["--out", str(tmp_path), *counts, *SHORT]) == 0
    plain, drawn = open_split(dataset, "training"), open_split(tmp_path, "training")
    num = len(drawn.numbers.ids)
    assert np.array_equal(drawn.numbers.rel_actions, plain.numbers.rel_actions[:num])
    ids = drawn.numbers.ids[:5]
    difference = drawn.pictures("static", ids).astype(int) - plain.pictures("static", ids)
    assert np.abs(difference).mean() > 5.0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--lessons", "7"], "have lessons = 6, these have 7"),
        (["--tasks-in-a-row", "2"], "have num_tasks = 1, these have 2. Give another --out"),
        (["--first-tasks", "open_drawer"], "have first_tasks = [], these have ['open_drawer']"),
        (["--first-tasks", "juggle"], "juggle"),
        (["--pupil-ticks", "9", "9"], "the second the larger one"),
        (["--randomise", "light"], "have randomise = [], these have ['light']"),
        (["--lessons", "0"], "at least one lesson"),
        (["--seed", str(VALIDATION_SEED)], "below the seed 900000"),
    ],
)
def test_what_cannot_be_done_is_said(
    dataset: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    counts = ["--lessons", str(LESSONS), "--validation", "1"]
    assert main(["--out", str(dataset), *SHORT, *counts, *options]) == 1
    assert sentence in capsys.readouterr().err


def test_a_pupil_leads_elsewhere_and_any_number_of_lessons_side_by_side_gives_the_same(tmp_path: Path) -> None:
    pupil = init_checkpoint(RobotSpec.load(ROBOT), tmp_path / "untrained")

    def taught(side_by_side: int, pupil: Path | None) -> dict[int, LessonRows]:
        plan = LessonPlan(
            robot=ROBOT, num_tasks=1, size_px=32, side_by_side=side_by_side, pupil=pupil, pupil_share=1.0
        )
        school = School(plan)
        rows = {lesson.seed: lesson for lesson in school.teach([14, 15])}
        school.close()
        return rows

    alone, together = taught(1, pupil), taught(2, pupil)
    for seed, rows in alone.items():
        for name in ("robot_obs", "rel_actions"):
            assert np.allclose(getattr(rows, name), getattr(together[seed], name), atol=1e-3)
        assert rows.annotations == together[seed].annotations
    clean = taught(2, None)
    assert any(not np.array_equal(alone[seed].robot_obs, clean[seed].robot_obs) for seed in alone)


def test_lessons_with_and_without_a_pupil_are_not_mixed(tmp_path: Path) -> None:
    pupil = init_checkpoint(RobotSpec.load(ROBOT), tmp_path / "untrained")
    counts = {"lessons": 1, "validation": 0, "seed": 0, "processes": 1, "show_progress": False}
    collect(PLAN, tmp_path / "out", **counts)
    with pytest.raises(ConfigError, match=r"have pupil = None, these have .*untrained"):
        collect(replace(PLAN, pupil=pupil), tmp_path / "out", **counts)


def test_a_plan_and_the_simulator_mean_the_same_course_where_nothing_is_said() -> None:
    from vla_sim.lesson import Course

    course = Course()
    assert (course.num_tasks, course.first_tasks) == (LessonPlan.num_tasks, LessonPlan.first_tasks)
    assert course.pupil_ticks == LessonPlan.pupil_ticks
