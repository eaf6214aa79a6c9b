# SPDX-License-Identifier: Apache-2.0
"""Collect lessons on the simulated tabletop into a packed dataset, without ROS; with a pupil: a round of DAgger.

An interrupted command goes on where it was.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from vla_core.checkpoint_card import RobotSnapshot
from vla_core.config import read_yaml, to_plain
from vla_core.errors import ConfigError, VlaError
from vla_core.robot_spec import RobotSpec
from vla_core.whole_file import write_yaml
from vla_training.datasets.dataset_card import DATASET_FILE, DatasetCard
from vla_training.evaluation.run_journal import checkpoint_identity
from vla_training.evaluation.worker_pool import run_in_processes
from vla_training.tabletop.lesson_dataset import LessonShelf
from vla_training.tabletop.school import LessonPlan, School

VALIDATION_SEED = 900_000
LESSONS_FILE = "lessons.yaml"
_ROUNDS = 2  # lessons that a worker gives one after the other before it tells


@dataclass(frozen=True)
class _MakeTeacher:
    """Makes what a worker process does: give lessons, and put them on the shelf."""

    plan: LessonPlan
    split: Path

    def __call__(self) -> Callable[[Sequence[int]], int]:
        school, shelf = School(self.plan), LessonShelf(self.split)

        def teach(seeds: Sequence[int]) -> int:
            for rows in school.teach(seeds):
                shelf.put(rows)
            return len(seeds)

        return teach


def collect(
    plan: LessonPlan,
    out: Path,
    *,
    lessons: int,
    validation: int,
    seed: int,
    processes: int,
    show_progress: bool = True,
) -> list[Path]:
    """Return the splits of a dataset of lessons, in the packed layout.

    Args:
        plan: What lessons are like.
        out: Folder of the dataset.
        lessons: Number of lessons to train on; their seeds are ``seed`` and the following.
        validation: Number of lessons for validation, from seeds of their own.
        seed: Of the first lesson.
        processes: That give lessons.
        show_progress: Draw a bar with the time that is left.

    Raises:
        VlaError: There is another dataset, or the robot is another one.
    """
    if lessons < 1 or validation < 0 or not 0 <= seed <= VALIDATION_SEED - lessons:
        raise ConfigError(
            f"{lessons} lessons from seed {seed} and {validation} for validation: at least one lesson, below the "
            f"seed {VALIDATION_SEED}, from which those for validation are counted"
        )
    if not 0 < plan.pupil_ticks[0] < plan.pupil_ticks[1]:
        raise ConfigError(
            f"pupil_ticks = {list(plan.pupil_ticks)}: two numbers above 0, the second the larger one"
        )
    _check_names(plan.first_tasks)
    _write_card(out, plan)
    _require_same_lessons(out / LESSONS_FILE, plan, {"lessons": lessons, "validation": validation, "seed": seed})
    splits = {"training": range(seed, seed + lessons)}
    if validation:
        splits["validation"] = range(VALIDATION_SEED + seed, VALIDATION_SEED + seed + validation)
    return [
        _collect_split(plan, out / name, seeds, processes, show_progress=show_progress)
        for name, seeds in splits.items()
    ]


def _collect_split(
    plan: LessonPlan, split: Path, seeds: Sequence[int], processes: int, *, show_progress: bool
) -> Path:
    shelf = LessonShelf(split)
    missing = shelf.missing(seeds)
    size = plan.side_by_side * _ROUNDS
    groups = [missing[at : at + size] for at in range(0, len(missing), size)]
    with tqdm(
        total=len(seeds),
        initial=len(seeds) - len(missing),
        unit="lesson",
        desc=split.name,
        disable=not show_progress,
    ) as bar:
        for count in run_in_processes(_MakeTeacher(plan, split), groups, processes=processes):
            bar.update(count)
    return shelf.gather(seeds)


def _check_names(tasks: Sequence[str]) -> None:
    from vla_sim.tasks import task_named  # type: ignore[import-not-found,unused-ignore]

    for name in tasks:
        task_named(name)


def _write_card(out: Path, plan: LessonPlan) -> None:
    from vla_sim.episode import PERIOD_S  # type: ignore[import-not-found,unused-ignore]
    from vla_sim.experts.catalogue import EXPERT_SPACE  # type: ignore[import-not-found,unused-ignore]

    card = DatasetCard(
        robot=RobotSnapshot.of(RobotSpec.load(plan.robot)), action_space=EXPERT_SPACE, period_s=PERIOD_S
    )
    out.mkdir(parents=True, exist_ok=True)
    path = out / DATASET_FILE
    if path.exists() and DatasetCard.load(out) != card:
        raise ConfigError(f"{path}: this folder holds another dataset. Give another --out")
    write_yaml(path, to_plain(card))


def _require_same_lessons(path: Path, plan: LessonPlan, counts: dict[str, int]) -> None:
    """Refuse to mix lessons of two kinds in one folder; note what kind they are."""
    pupil = None
    if plan.pupil is not None:
        pupil = {**checkpoint_identity(plan.pupil), "share": plan.pupil_share, "ticks": list(plan.pupil_ticks)}
    kind = {
        **counts,
        "num_tasks": plan.num_tasks,
        "first_tasks": list(plan.first_tasks),
        "size_px": plan.size_px,
        "randomise": list(plan.randomise),
        "pupil": pupil,
    }
    found = read_yaml(path) if path.exists() else kind
    found = found if isinstance(found, dict) else {}
    for key, wanted in kind.items():
        if found.get(key) != wanted:
            raise ConfigError(
                f"{path}: the lessons there have {key} = {found.get(key)!r}, these have {wanted!r}. "
                "Give another --out"
            )
    write_yaml(path, kind)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    plan = LessonPlan(
        robot=options.robot,
        num_tasks=options.tasks_in_a_row,
        first_tasks=tuple(sorted(set(options.first_tasks))),
        size_px=options.size_px,
        pupil=options.pupil,
        pupil_share=options.pupil_share,
        pupil_ticks=tuple(options.pupil_ticks),
        side_by_side=options.side_by_side,
        randomise=tuple(sorted(set(options.randomise))),
    )
    try:
        splits = collect(
            plan,
            options.out,
            lessons=options.lessons,
            validation=options.validation,
            seed=options.seed,
            processes=options.processes,
            show_progress=not options.quiet,
        )
    except (VlaError, OSError) as error:
        print(f"collect_tabletop: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("collect_tabletop: stopped. The same command goes on where this one ended", file=sys.stderr)
        return 130
    print(f"collected {', '.join(map(str, splits))}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collect_tabletop", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the dataset")
    add("--lessons", type=int, default=100, metavar="N", help="lessons of several tasks (%(default)s)")
    add("--validation", type=int, default=10, metavar="N", help="lessons for validation (%(default)s)")
    add("--seed", type=int, default=0, help="of the first lesson (%(default)s)")
    add(
        "--tasks-in-a-row",
        type=int,
        default=LessonPlan.num_tasks,
        metavar="N",
        help="tasks of a lesson (%(default)s)",
    )
    add("--first-tasks", nargs="+", default=[], metavar="NAME", help="the first is one of these (default: any)")
    add("--size-px", type=int, default=LessonPlan.size_px, help="side of the pictures that are kept (%(default)s)")
    add("--pupil", type=Path, metavar="CHECKPOINT", help="policy that acts beside the expert")
    add(
        "--pupil-share",
        type=float,
        default=LessonPlan.pupil_share,
        help="share of the tasks in which it acts (%(default)s)",
    )
    add(
        "--pupil-ticks",
        type=int,
        nargs=2,
        default=LessonPlan.pupil_ticks,
        metavar=("FROM", "BELOW"),
        help="its turns last so many ticks, before the expert helps (%(default)s)",
    )
    add("--robot", type=Path, default=Path("config/robots/sim_arm.yaml"), metavar="SPEC.yaml")
    add(
        "--side-by-side",
        type=int,
        default=LessonPlan.side_by_side,
        metavar="K",
        help="lessons at the same time in a process (%(default)s)",
    )
    add("--processes", type=int, default=os.cpu_count() or 1, metavar="P", help="(%(default)s)")
    add(
        "--randomise",
        nargs="+",
        default=[],
        choices=("light", "camera", "table"),
        metavar="LOOK",
        help="light, camera, table: drawn from the seed of each lesson (default: as the model has them)",
    )
    add("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    sys.exit(main())
