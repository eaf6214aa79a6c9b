# SPDX-License-Identifier: Apache-2.0
"""Plots of a dataset, in colours that are read on light and on dark pages."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vla_core.actions.action_space import MOTION_NAMES
from vla_training.inspection.survey import NUM_BINS, EpisodeSample, SplitSurvey

INK, GRID = "#7f8a9c", "#7f8a9c40"
BLUE, ORANGE, GREEN, RED = "#3b82f6", "#f59e0b", "#10b981", "#ef4444"
TIMES = LinearSegmentedColormap.from_list("times", [BLUE, "#a855f7", ORANGE])


def action_histograms(splits: dict[str, SplitSurvey]) -> Figure:
    """Return a histogram per number of the arm's action, the splits laid over each other."""
    figure = Figure(figsize=(10.5, 4.2), layout="constrained")
    edges = np.linspace(-1, 1, NUM_BINS + 1)
    for number, name in enumerate(MOTION_NAMES):
        axes = figure.add_subplot(2, 3, number + 1)
        for (split, found), colour in zip(splits.items(), (BLUE, ORANGE), strict=False):
            counts = found.histograms[number]
            share = counts / max(int(counts.sum()), 1)
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.45, label=split)
            axes.stairs(share, edges, color=colour, linewidth=1.2)
        axes.set_title(name, color=INK, fontsize=10, loc="left")
        if any(found.num_frames for found in splits.values()):
            axes.set_yscale("log")
        axes.set_xlim(-1, 1)
        axes.set_xticks([-1, -0.5, 0, 0.5, 1])
        _quiet(axes)
        if number == 2 and len(splits) > 1:
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def paths(samples: Sequence[EpisodeSample]) -> Figure:
    """Return the TCP paths from above and from the side, coloured by the share of each episode's time."""
    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    views = (("from above", 1, 0, "y, m", "x, m"), ("from the side", 1, 2, "y, m", "z, m"))
    for number, (title, across, up, x_label, y_label) in enumerate(views):
        axes = figure.add_subplot(1, 2, number + 1)
        for sample in samples:
            way = sample.positions_m[:, [across, up]]
            pieces = np.stack([way[:-1], way[1:]], axis=1)
            lines = LineCollection(list(pieces), cmap=TIMES, linewidth=1.6, alpha=0.85)
            lines.set_array(np.linspace(0.0, 1.0, len(pieces)))
            axes.add_collection(lines)
            axes.plot(*way[0], "o", markersize=4, markerfacecolor="none", color=INK, markeredgewidth=1)
            for position_m, opens in sample.gripper_changes:
                axes.plot(
                    position_m[across],
                    position_m[up],
                    "^" if opens else "v",
                    color=GREEN if opens else RED,
                    markersize=6,
                    markeredgewidth=0,
                )
        axes.autoscale_view()
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_title(title, color=INK, fontsize=10, loc="left")
        axes.set_xlabel(x_label, color=INK, fontsize=9)
        axes.set_ylabel(y_label, color=INK, fontsize=9)
        if up == 0:
            axes.invert_yaxis()
        _quiet(axes)
    return figure


def episode_lengths(splits: dict[str, SplitSurvey], period_s: float) -> Figure:
    """Return a histogram of the episodes' durations."""
    figure = Figure(figsize=(5.0, 2.6), layout="constrained")
    axes = figure.add_subplot()
    seconds = [np.array(found.lengths) * period_s for found in splits.values()]
    bins = np.linspace(
        0.0, max((float(each.max()) for each in seconds if len(each)), default=1.0) * 1.02, 25
    ).tolist()
    axes.hist(
        seconds, bins=bins, stacked=True, color=[BLUE, ORANGE][: len(seconds)], label=list(splits), alpha=0.8
    )
    axes.set_xlabel("duration of an episode, s", color=INK, fontsize=9)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if len(splits) > 1:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    _quiet(axes)
    return figure


def _quiet(axes: Any) -> None:
    """Leave nothing of the frame but what is read."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
