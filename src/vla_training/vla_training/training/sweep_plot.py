# SPDX-License-Identifier: Apache-2.0
"""The curves of several runs in one plot."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from vla_training.training.metrics_log import read_metrics
from vla_training.training.run_folder import RunFolder

_MOST_NAMED = 12


def plot_sweep(out: Path, names: Sequence[str]) -> Figure:
    """Return the loss over the steps of runs in a folder, the best first.

    Args:
        out: Folder of the runs.
        names: Names of their folders.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2), ("training", "validation"), strict=True):
        for place, name in enumerate(names):
            rows = [row for row in read_metrics(RunFolder(out / name).metrics) if row["kind"] == kind]
            points = [(row["step"], row["loss"]) for row in rows if row.get("source", "mean") == "mean"]
            if points:
                label = name if place < _MOST_NAMED else None
                axes.plot(*zip(*points, strict=True), linewidth=1.2, label=label)
        axes.set_title(f"{kind} loss")
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.set_yscale("log")
            axes.legend(fontsize=6)
    return figure
