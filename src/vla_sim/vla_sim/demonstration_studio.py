# SPDX-License-Identifier: Apache-2.0
"""One demonstration after the other into bags that are there whole or not at all, in one process or several."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from vla_core.episode_record import EpisodeRecord
from vla_core.errors import VlaError
from vla_core.robot_spec import RobotSpec
from vla_sim.demonstration import STILL_S, note_of, sentence_of
from vla_sim.rendering_backend import select_rendering_backend

Storage = Literal["mcap", "sqlite3"]
ATTEMPTS = 5
NEXT_ATTEMPT = 10_000
FIRST_NS = 1_700_000_000 * 1_000_000_000
EPISODE_NS = 100 * 1_000_000_000
DRAFTS = ".draft."


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One bag that shall be there.

    Attributes:
        folder: Where.
        task: Name of the task.
        seed: Seed of scene, sentence and sensor noise; the next attempts add ``NEXT_ATTEMPT`` to it.
        storage: Storage of the bag.
        keep_failed: Take an episode that failed as it is.
    """

    folder: Path
    task: str
    seed: int
    storage: Storage = "mcap"
    keep_failed: bool = False


class Studio:
    """A world and its cameras, for many episodes. Use and close it in one thread.

    Args:
        spec: The robot; cameras, rates, limits.
    """

    def __init__(self, spec: RobotSpec) -> None:
        select_rendering_backend()
        from vla_sim.cameras import Cameras, spec_sizes_px
        from vla_sim.tabletop import Tabletop

        self._spec = spec
        self._tabletop = Tabletop()
        self._cameras = Cameras(spec_sizes_px(spec))

    def close(self) -> None:
        """Give the renderers back."""
        self._cameras.close()

    def record(self, recipe: Recipe) -> EpisodeRecord:
        """Record a bag; the folder appears when all of it is there.

        Raises:
            VlaError: The expert failed in every attempt.
        """
        for attempt in range(ATTEMPTS):
            seed = recipe.seed + attempt * NEXT_ATTEMPT
            draft = recipe.folder.parent / f"{DRAFTS}{os.getpid()}" / recipe.folder.name
            shutil.rmtree(draft, ignore_errors=True)
            draft.parent.mkdir(exist_ok=True)
            try:
                record = self._record(recipe, seed, draft)
                if record.outcome == "success" or recipe.keep_failed:
                    record.save(draft)
                    draft.replace(recipe.folder)
                    return record
            finally:
                shutil.rmtree(draft.parent, ignore_errors=True)
        raise VlaError(
            f"{recipe.folder.name}: the expert failed in {ATTEMPTS} scenes, of the seeds {recipe.seed}, "
            f"{recipe.seed + NEXT_ATTEMPT}, ... Give another --seed, or --keep-failed to record failures"
        )

    def _record(self, recipe: Recipe, seed: int, folder: Path) -> EpisodeRecord:
        from vla_sim.bag_recording import BagRecording
        from vla_sim.episode import run_episode

        start_ns = FIRST_NS + seed * EPISODE_NS
        self._cameras.reset(seed)
        with BagRecording(
            folder, self._spec, self._cameras, storage=recipe.storage, start_ns=start_ns
        ) as recording:
            result = run_episode(self._tabletop, self._spec, recipe.task, seed, witness=recording, still_s=STILL_S)
        return EpisodeRecord(
            robot=self._spec.name,
            instruction=sentence_of(recipe.task, seed),
            outcome="success" if result.is_success else "failure",
            note=note_of(recipe.task, seed),
            started_ns=start_ns,
            ended_ns=recording.ended_ns,
        )


def record_all(spec: RobotSpec, recipes: Sequence[Recipe], workers: int) -> Iterator[EpisodeRecord]:
    """Yield the record of each bag when all of it is there.

    Args:
        spec: The robot.
        recipes: The bags.
        workers: Processes.

    Raises:
        VlaError: An expert failed in every attempt, or a worker process was killed.
    """
    if min(workers, len(recipes)) > 1:
        yield from _in_pool(spec, recipes, workers)
    elif recipes:
        studio = Studio(spec)
        try:
            yield from map(studio.record, recipes)
        finally:
            studio.close()


def _in_pool(spec: RobotSpec, recipes: Sequence[Recipe], workers: int) -> Iterator[EpisodeRecord]:
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_begin_worker, initargs=(spec, os.getpid())
    )
    try:
        for future in as_completed([pool.submit(_record_in_worker, recipe) for recipe in recipes]):
            yield future.result()
    except BrokenProcessPool as error:
        raise VlaError(
            "a worker process was killed, perhaps for want of memory. Run the command again, with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_studio: Any = None
"""The studio of this worker process."""


def _begin_worker(spec: RobotSpec, parent: int) -> None:
    global _studio  # noqa: PLW0603 - a pool hands its workers nothing but globals
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says it in a sentence
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _studio = Studio(spec)


def _end_with(parent: int) -> None:
    """End this worker when its parent was killed."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _record_in_worker(recipe: Recipe) -> EpisodeRecord:
    record: EpisodeRecord = _studio.record(recipe)
    return record
