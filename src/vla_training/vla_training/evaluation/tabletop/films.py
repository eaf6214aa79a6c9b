# SPDX-License-Identifier: Apache-2.0
"""Films of failures: a trial is done once more from its seed, alone, and filmed. Equal seeds repeat themselves."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from vla_core.types import Observation, RgbImage
from vla_training.conversion.lerobot_video import VideoWriter
from vla_training.evaluation.tabletop.evaluation import PolicyMaker
from vla_training.evaluation.tabletop.plan import CHAINS, TASKS
from vla_training.evaluation.tabletop.results import TrialResult, digest_of_trial
from vla_training.evaluation.tabletop.rollout import BatchPolicy, roll_out
from vla_training.evaluation.tabletop.simulator import Simulator, TabletopSimulator, Trial, World
from vla_training.reports.page import contact_sheet

_HEIGHT_PX, _CAPTION_PX, _FONT_PX = 256, 32, 14
_NUM_STILLS, _STILL_PX = 3, 144
_INK, _GROUND = (230, 233, 239), (23, 28, 38)


@dataclass(frozen=True, eq=False)
class Film:
    """A filmed trial.

    Attributes:
        path: The MP4.
        title: What failed.
        text: Sentence and outcome.
        stills: Some of its pictures side by side; (H, W, 3) uint8.
    """

    path: Path
    title: str
    text: str
    stills: NDArray[np.uint8]


def failures(results: Iterable[TrialResult], per_task: int) -> list[TrialResult]:
    """Return the first failures of each task, and of chains as many as of a task."""
    chosen: list[TrialResult] = []
    taken = Counter[str]()
    for result in results:
        name = str(result.trial["task"]) if result.kind == TASKS else result.kind
        if result.kind in (TASKS, CHAINS) and not result.legs[-1].success and taken[name] < per_task:
            taken[name] += 1
            chosen.append(result)
    return chosen


def film_failures(
    policy: PolicyMaker,
    simulator: TabletopSimulator,
    results: Sequence[TrialResult],
    folder: Path,
    *,
    show_progress: bool = False,
) -> list[Film]:
    """Film trials; return the films in the same order. Those that are there are not filmed again.

    Args:
        policy: Makes the policy.
        simulator: Makes world and referees.
        results: What to film.
        folder: Gets the films.
        show_progress: Draw a bar with the time that is left.
    """
    missing = [result for result in results if not (folder / _name(result)).exists()]
    if missing:
        alone = policy(1)
        world = simulator.world(alone.contract)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for result in tqdm(missing, unit="film", disable=not show_progress):
                _shoot(alone, simulator, world, simulator.trial(**result.trial), folder / _name(result))
        finally:
            world.close()
    return [_film(result, folder / _name(result)) for result in results]


def gallery(films: Sequence[Film]) -> NDArray[np.uint8]:
    """Return the stills of films below each other, each under its title; (H, W, 3) uint8."""
    width_px = max(film.stills.shape[1] for film in films)
    rows = [Image.new("RGB", (width_px, _CAPTION_PX + film.stills.shape[0]), _GROUND) for film in films]
    for row, film in zip(rows, films, strict=True):
        row.paste(Image.fromarray(film.stills), (0, _CAPTION_PX))
        _write_caption(row, f"{film.title}: {film.text}")
    return np.concatenate([np.asarray(row) for row in rows])


def _name(result: TrialResult) -> str:
    return f"{result.legs[-1].task}_seed{result.trial['seed']}_{digest_of_trial(result.trial)[:6]}.mp4"


def _shoot(policy: BatchPolicy, simulator: Simulator, world: World, trial: Trial, path: Path) -> None:
    frames: list[NDArray[np.uint8]] = []

    def on_tick(world: World, observation: Observation, sentence: str) -> None:
        frames.append(_frame({**observation.images, **world.other_pictures()}, sentence))

    list(roll_out(policy, simulator, [world], [trial], on_tick))
    _write(path, frames, round(1.0 / policy.contract.period_s))


def _film(result: TrialResult, path: Path) -> Film:
    leg = result.legs[-1]
    outcome = "success" if leg.success else "failure"
    first = f"first came {leg.first}" if leg.first else "no task came true"
    place = f", task {len(result.legs)} of a chain" if result.kind == CHAINS else ""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, _NUM_STILLS).round().astype(int)]
    return Film(
        path=path,
        title=f"{leg.task}, seed {result.trial['seed']}{place}",
        text=f'"{leg.sentence}": {outcome} after {leg.duration_s:.1f} s, {first}',
        stills=contact_sheet(chosen, height_px=_STILL_PX),
    )


def _frame(images: dict[str, RgbImage], caption: str) -> NDArray[np.uint8]:
    """Return all pictures side by side, the static camera on the left, below the sentence."""
    names = sorted(images, key=lambda name: (name != "static", name))
    row = contact_sheet([images[name] for name in names], height_px=_HEIGHT_PX)
    frame = Image.new("RGB", (row.shape[1] + row.shape[1] % 2, _HEIGHT_PX + _CAPTION_PX), _GROUND)
    frame.paste(Image.fromarray(row), (0, _CAPTION_PX))
    _write_caption(frame, caption)
    return np.asarray(frame)


def _write_caption(picture: Image.Image, text: str) -> None:
    font = ImageFont.load_default(_FONT_PX)
    ImageDraw.Draw(picture).text((8, _CAPTION_PX // 2), text, _INK, font, anchor="lm")


def _write(path: Path, frames: Sequence[NDArray[np.uint8]], fps: int) -> None:
    partial = path.with_name(f".{path.name}")
    height_px, width_px = frames[0].shape[:2]
    video = VideoWriter(partial, fps, width_px, height_px)
    for frame in frames:
        video.add(frame)
    video.close()
    partial.replace(path)
