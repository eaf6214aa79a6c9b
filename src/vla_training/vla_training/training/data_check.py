# SPDX-License-Identifier: Apache-2.0
"""A page that shows what the model is shown: pictures after augmentation, sentences, actions, and named points.

Most long runs that come to nothing could have been stopped by looking at it.
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vla_core.actions.action_space import MOTION_NAMES
from vla_core.images import ImageSpec
from vla_training.datasets.augmentation import Augmentation
from vla_training.datasets.batches import collate, pictures_to_device, points_in_pictures
from vla_training.datasets.window_dataset import WindowSample
from vla_training.reports.page import (
    Block,
    Picture,
    Section,
    Table,
    Text,
    contact_sheet,
    png_of_figure,
    png_of_pixels,
    write_page,
)
from vla_training.training.grounding import is_in_picture
from vla_training.training.preparation import Preparation

_SAMPLES = 6
_HISTOGRAM_SAMPLES = 200
_AT_LIMIT = 0.999
_SLOT_COLOURS = ((255, 0, 255), (0, 255, 255), (255, 255, 0), (0, 255, 0))
_SLOT_WORDS = ("magenta", "cyan", "yellow", "green")


def write_data_check(prepared: Preparation, path: Path) -> Path:
    """Write the page of a run before its first step; return its path."""
    keys = prepared.mixture.epoch(0)
    numbers = np.linspace(0, len(keys) - 1, min(_SAMPLES, len(keys))).astype(int)
    samples = [prepared.training[(int(keys[n, 0]), int(keys[n, 1]), int(n))] for n in numbers]
    return write_page(
        path,
        "What the model is shown",
        [
            _sources(prepared),
            _actions(prepared),
            *(_sample(prepared, number, each) for number, each in enumerate(samples, start=1)),
        ],
        subtitle=f"{prepared.mixture.epoch_size} samples per epoch, actions in frame "
        f"{prepared.sources.action_space.frame}, {1 / prepared.sources.card.period_s:.3g} Hz",
    )


def _sources(prepared: Preparation) -> Section:
    size = prepared.mixture.epoch_size
    entries = prepared.sources.statistics["sources"].items()
    rows = [
        [name, entry["num_annotations"], entry["num_instructions"], windows, count, f"{count / size:.0%}"]
        for (name, entry), windows, count in zip(
            entries, prepared.mixture.sizes, prepared.mixture.counts, strict=True
        )
    ]
    columns = ["source", "annotations", "sentences", "windows", "samples per epoch", "share"]
    short = [source.index.num_too_short for source in prepared.training.sources if source.index.num_too_short]
    blocks: list[Block] = [Table(columns, rows)]
    blocks += [Text(f"{count} annotations are shorter than the window and not used", "warning") for count in short]
    return Section("Sources", blocks)


def _actions(prepared: Preparation) -> Section:
    figure = Figure(figsize=(12, 2.2), layout="constrained")
    blocks: list[Block] = []
    panels = figure.subplots(1, 7)
    for source, name in zip(prepared.training.sources, prepared.sources.statistics["sources"], strict=True):
        actions = source.sampled_actions(_HISTOGRAM_SAMPLES)
        for axes, column, title in zip(panels, actions.T, (*MOTION_NAMES, "gripper_open"), strict=True):
            axes.hist(column, bins=41, range=(-1.05, 1.05), alpha=0.6, density=True, label=name)
            axes.set_title(title, fontsize=9)
            axes.set_yticks([])
        at_limit = (np.abs(actions[:, :6]) > _AT_LIMIT).mean(axis=0)
        for dimension, share in zip(MOTION_NAMES, at_limit, strict=True):
            if share > 0.1:
                blocks.append(Text(f"{name}: {share:.0%} of {dimension} lie at the limit of [-1, 1]", "warning"))
        opened = actions[:, 6].mean()
        if opened in (0.0, 1.0):
            blocks.append(Text(f"{name}: the gripper is always {'open' if opened else 'closed'}", "warning"))
    panels[0].legend(fontsize=7)
    return Section("Actions, as the model learns them", [Picture(png_of_figure(figure), wide=True), *blocks])


def _sample(prepared: Preparation, number: int, sample: WindowSample) -> Section:
    cameras = prepared.config.model.cameras
    augmentation = Augmentation(prepared.data.augmentation, prepared.config.run.seed)
    spec = prepared.config.model.image
    batch = collate([sample])
    shown = pictures_to_device(batch, cameras, spec, augmentation, device=torch.device("cpu"))[0]
    points = points_in_pictures(batch, cameras, spec, augmentation)
    sheets = []
    for place, camera in enumerate(cameras):
        pictures = [_pixels(tick, spec) for tick in shown[:, place]]
        if points is not None:
            pictures = [_marked(each, at) for each, at in zip(pictures, points[0, :, place], strict=True)]
        sheets.append(Picture(png_of_pixels(contact_sheet(pictures)), camera + _legend(points), wide=True))
    plot = Picture(png_of_figure(_plot(sample)), "actions of the window; grey: behind the end, not trained on")
    return Section(f"Sample {number}: \u201c{sample.instruction}\u201d", [*sheets, plot])


def _pixels(picture: torch.Tensor, spec: ImageSpec) -> NDArray[np.uint8]:
    """Return a normalised picture (3, S, S) as (S, S, 3) uint8."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    levels = (picture * std + mean).clamp(0, 1) * 255
    return levels.permute(1, 2, 0).round().to(torch.uint8).numpy()


def _marked(picture: NDArray[np.uint8], points_K2: torch.Tensor) -> NDArray[np.uint8]:
    """Return a picture (S, S, 3) with a cross on each named point that lies in it."""
    marked, side = picture.copy(), len(picture)
    arm = max(side // 40, 1)
    for slot, point in enumerate(points_K2):
        if not is_in_picture(point):
            continue
        column, row = (point * side).long().clamp(max=side - 1).tolist()
        colour = _SLOT_COLOURS[slot % len(_SLOT_COLOURS)]
        marked[max(row - arm, 0) : row + arm + 1, column] = colour
        marked[row, max(column - arm, 0) : column + arm + 1] = colour
    return marked


def _legend(points_BTCK2: torch.Tensor | None) -> str:
    """Return what crosses mean, to be put behind a camera's name."""
    if points_BTCK2 is None:
        return ""
    slots = range(points_BTCK2.shape[3])
    return "; crosses: " + ", ".join(f"slot {slot} {_SLOT_WORDS[slot % len(_SLOT_WORDS)]}" for slot in slots)


def _plot(sample: WindowSample) -> Figure:
    figure = Figure(figsize=(7, 1.8), layout="constrained")
    axes = figure.subplots()
    ticks = np.arange(len(sample.actions))
    for column, name in zip(sample.actions.T, (*MOTION_NAMES, "gripper_open"), strict=True):
        axes.plot(ticks, column, label=name, linewidth=1.2, drawstyle="steps-post")
    if not sample.is_valid.all():
        axes.axvspan(int(sample.is_valid.argmin()), ticks[-1], color="0.9")
    axes.set_ylim(-1.1, 1.1)
    axes.legend(fontsize=6, ncol=7, loc="lower center")
    return figure
