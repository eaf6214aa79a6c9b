# SPDX-License-Identifier: Apache-2.0
"""Numbers of a run as they come: JSON lines, TensorBoard, and curves to look at."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from vla_core.whole_file import write_whole


class MetricsLog:
    """Writes numbers of one run.

    Args:
        metrics: The file of JSON lines.
        tensorboard: Folder for TensorBoard.
        first_step: Step that the run goes on with; what an interrupted run has logged behind it is taken back.
    """

    def __init__(self, metrics: Path, tensorboard: Path, first_step: int) -> None:
        kept = [row for row in read_metrics(metrics) if row["step"] <= first_step]
        write_whole(metrics, "".join(f"{json.dumps(row)}\n" for row in kept).encode())
        self._file = metrics.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(tensorboard), purge_step=first_step + 1 if first_step else None)

    def write(self, step: int, kind: str, values: dict[str, float], **labels: str) -> None:
        """Write numbers that belong to a step.

        Args:
            step: Number of updates until now.
            kind: ``training`` or ``validation``.
            values: Name to number.
            labels: What else tells the line from others, such as the source.
        """
        row: dict[str, Any] = {"step": step, "kind": kind, **labels, **values}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        group = "/".join([kind, *labels.values()])
        for name, value in values.items():
            self._board.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Write what is held back."""
        self._file.close()
        self._board.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of metrics; a last line that was cut short is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def plot_curves(rows: list[dict[str, Any]]) -> Figure:
    """Return the course of the losses, the gripper and the learning rate."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    panels = {"loss": ("loss", "arm"), "gripper": ("gripper_accuracy",), "learning rate": ("learning_rate",)}
    for axes, (title, names) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name in names:
            _curve(axes, rows, name)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if title == "loss" and axes.lines:
            axes.set_yscale("log")
        if axes.lines:
            axes.legend(fontsize=8)
    return figure


def _curve(axes: Any, rows: list[dict[str, Any]], name: str) -> None:
    groups: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if name in row:
            label = " ".join([row["kind"], row.get("source", ""), name]).replace("  ", " ")
            groups.setdefault(label, []).append((row["step"], row[name]))
    for label, points in groups.items():
        style = "-" if label.startswith("training") else "o-"
        axes.plot(*zip(*points, strict=True), style, label=label, markersize=3, linewidth=1.2)
