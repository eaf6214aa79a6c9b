# SPDX-License-Identifier: Apache-2.0
"""Record demonstrations of the scripted experts as rosbag2 bags, without ROS and faster than real time.

Each episode is one bag with an ``episode.yaml`` beside it, as the live recorder leaves them. A run that was killed
goes on when it is run again: a bag is there whole or not at all. Equal tasks and seeds give equal bags.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import yaml

from vla_core.config import to_plain
from vla_core.episode_record import EPISODE_FILE
from vla_core.errors import ConfigError, VlaError
from vla_core.robot_spec import RobotSpec
from vla_sim.demonstration_studio import DRAFTS, Recipe, Storage, record_all

ROBOT_FILE = "robot.yaml"


def record_demonstrations(
    out: Path,
    spec: RobotSpec,
    tasks: Sequence[str],
    *,
    episodes: int,
    seed: int = 0,
    storage: Storage = "mcap",
    compressed: bool = False,
    keep_failed: bool = False,
    workers: int = 1,
    show_progress: bool = False,
) -> list[Path]:
    """Record bags ``out/<task>_<seed>`` and return their folders; those that are there stay as they are.

    ``out/robot.yaml`` is the robot spec that the bags fit.

    Args:
        out: Folder of the bags.
        spec: The robot.
        tasks: Names of tasks.
        episodes: Bags of each task.
        seed: Seed of the first bag of each task; the others follow.
        storage: Storage of the bags.
        compressed: Record JPEG pictures under ``<topic>/compressed``.
        keep_failed: Keep episodes in which the expert failed, too.
        workers: Processes.
        show_progress: Draw a bar with the time that is left.

    Raises:
        VlaError: A task does not exist, the robot does not fit, or an expert failed in every attempt.
    """
    spec = with_jpeg(spec) if compressed else spec
    _check(spec, tasks, episodes)
    out.mkdir(parents=True, exist_ok=True)
    _write_robot(out / ROBOT_FILE, spec)
    for draft in out.glob(f"{DRAFTS}*"):
        shutil.rmtree(draft, ignore_errors=True)
    recipes = [
        Recipe(
            folder=out / f"{task}_{number:05d}", task=task, seed=number, storage=storage, keep_failed=keep_failed
        )
        for task in dict.fromkeys(tasks)
        for number in range(seed, seed + episodes)
    ]
    missing = [recipe for recipe in recipes if not (recipe.folder / EPISODE_FILE).exists()]
    bar = _progress(len(recipes), len(recipes) - len(missing), show_progress)
    for _ in record_all(spec, missing, workers):
        bar(1)
    return [recipe.folder for recipe in recipes]


def with_jpeg(spec: RobotSpec) -> RobotSpec:
    """Return the robot with JPEG pictures on the topics that image_transport gives them."""
    kind: Literal["sensor_msgs/msg/CompressedImage"] = "sensor_msgs/msg/CompressedImage"
    cameras = {
        name: camera if camera.type == kind else replace(camera, type=kind, topic=f"{camera.topic}/compressed")
        for name, camera in spec.cameras.items()
    }
    return replace(spec, cameras=cameras)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    began_s = time.monotonic()
    try:
        bags = record_demonstrations(
            options.out,
            RobotSpec.load(options.robot),
            options.tasks or _all_tasks(),
            episodes=options.episodes,
            seed=options.seed,
            storage=options.storage,
            compressed=options.compressed,
            keep_failed=options.keep_failed,
            workers=options.workers,
            show_progress=not options.quiet,
        )
    except (VlaError, OSError) as error:
        print(f"demonstration_bags: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demonstration_bags: stopped. The same command goes on where this one ended", file=sys.stderr)
        return 130
    print(
        f"{len(bags)} bags in {options.out}, {time.monotonic() - began_s:.0f} s; their robot spec is {ROBOT_FILE}"
    )
    return 0


def _all_tasks() -> list[str]:
    from vla_sim.tasks import TASKS

    return list(TASKS)


def _check(spec: RobotSpec, tasks: Sequence[str], episodes: int) -> None:
    from vla_sim.scene.model import ARM_JOINTS
    from vla_sim.tasks import task_named

    for task in tasks:
        task_named(task)
    if episodes < 1:
        raise ConfigError(f"episodes is {episodes}; at least one of each task can be recorded")
    if spec.joints.names != ARM_JOINTS or spec.command.interface != "target_pose":
        raise ConfigError(
            f"robot '{spec.name}' has the joints {list(spec.joints.names)} and takes {spec.command.interface}; "
            f"the experts move {list(ARM_JOINTS)} by target_pose. Use config/robots/sim_arm.yaml or a copy of it"
        )


def _write_robot(path: Path, spec: RobotSpec) -> None:
    if path.exists() and RobotSpec.load(path) != spec:
        raise ConfigError(
            f"{path}: the bags there have another robot spec (or other --compressed). Give another --out"
        )
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(yaml.safe_dump(to_plain(spec), sort_keys=False, allow_unicode=True), encoding="utf-8")
    draft.replace(path)


def _progress(total: int, done: int, show: bool) -> Callable[[int], object]:
    if not show:
        return lambda count: None
    from tqdm import tqdm

    return tqdm(total=total, initial=done, unit="bag").update


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="demonstration_bags", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    add = parser.add_argument
    add("--tasks", nargs="+", default=[], metavar="TASK", help="for example open_drawer (default: all)")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the bags")
    add("--robot", type=Path, default=Path("config/robots/sim_arm.yaml"), metavar="SPEC.yaml")
    add("--episodes", type=int, default=1, help="bags of each task (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of the first bag of each task (default: %(default)s)")
    add("--storage", choices=("mcap", "sqlite3"), default="mcap", help="default: %(default)s")
    add("--compressed", action="store_true", help="record JPEG pictures")
    add("--keep-failed", action="store_true", help="keep episodes in which the expert failed")
    add("--workers", type=int, default=1, help="processes (default: %(default)s)")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    sys.exit(main())
