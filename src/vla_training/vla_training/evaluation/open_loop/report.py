# SPDX-License-Identifier: Apache-2.0
"""An open-loop evaluation as numbers, as lines of text, and as a page that one wants to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vla_core.actions.action_space import ActionSpace
from vla_training.evaluation.open_loop.episode import EpisodeOutcome
from vla_training.evaluation.open_loop.errors import AXES, ErrorSums
from vla_training.evaluation.open_loop.evaluation import OpenLoopResult
from vla_training.evaluation.open_loop.targets import targets_of
from vla_training.reports.page import (
    Block,
    Figures,
    Picture,
    Section,
    Table,
    Text,
    png_of_figure,
    write_page,
)

POLICY = "policy"
_COLOURS = ("#2563eb", "#98a2b3", "#b45309", "#0f8a5f")
_WORST_ROWS = 200


def open_loop_numbers(result: OpenLoopResult) -> dict[str, Any]:
    """Return everything as plain data for JSON; NaN becomes ``null``."""
    median_ms, high_ms = result.latency_ms
    numbers = {
        **result.identity,
        "is_trained": result.contract.is_trained,
        "episodes": len(result.outcomes),
        "ticks": sum(len(outcome) for outcome in result.outcomes),
        "inference_ms": {"p50": median_ms, "p95": high_ms},
        "first_action": {name: errors.first.to_plain() for name, errors in _everyone(result)},
        "whole_chunk": {name: errors.to_plain() for name, errors in _everyone(result)},
        "per_episode": [
            {
                "episode": outcome.key,
                "sentences": list(dict.fromkeys(outcome.sentences)),
                **errors.first.to_plain(),
            }
            for outcome, errors in zip(result.outcomes, result.errors, strict=True)
        ],
        "skipped": list(result.skipped),
    }
    plain: dict[str, Any] = _without_nan(numbers)
    return plain


def open_loop_summary(result: OpenLoopResult) -> str:
    """Return the main numbers in lines of text."""
    median_ms, high_ms = result.latency_ms
    lines = [f"{len(result.outcomes)} episodes, first action of each chunk (the one that is executed):"]
    for name, errors in _everyone(result):
        distance_mm, distance_deg = errors.first.distance_mm_deg
        lines.append(
            f"  {name:16s} L1 {errors.first.l1:.4f}  MSE {errors.first.mse:.4f}  {distance_mm:6.2f} mm  "
            f"{distance_deg:5.2f} deg  gripper F1 {errors.first.gripper_f1:.3f}"
        )
    lines.append(f"inference {median_ms:.1f} ms (p50), {high_ms:.1f} ms (p95)")
    return "\n".join(lines)


def write_open_loop_page(path: Path, result: OpenLoopResult) -> Path:
    """Write the page; return its path."""
    first, (median_ms, high_ms) = result.all_errors.first, result.latency_ms
    distance_mm, distance_deg = first.distance_mm_deg
    figures = Figures(
        {
            "L1 of the first action, normalised": f"{first.l1:.4f}",
            "distance of the pose asked for": f"{distance_mm:.2f} mm, {distance_deg:.2f}°",
            "gripper F1": f"{first.gripper_f1:.3f}",
            "inference p50, p95": f"{median_ms:.1f}, {high_ms:.1f} ms",
        }
    )
    sections = [
        Section("Against policies that see nothing", [*_judgement(result), _comparison(result)]),
        Section("Over the chunk", [Picture(png_of_figure(_over_chunk(result)), wide=True)]),
        Section("Per axis", [_per_axis(result)]),
        Section(
            "Predicted and recorded", [block for number in _shown(result) for block in _episode(result, number)]
        ),
        Section("Episodes, the worst first", [_episodes(result)]),
    ]
    if result.skipped:
        sections.append(Section("Left out", [Text(sentence, "warning") for sentence in result.skipped]))
    subtitle = (
        f"checkpoint {result.identity['checkpoint']}, {len(result.outcomes)} episodes, "
        f"{sum(len(outcome) for outcome in result.outcomes)} ticks at {1 / result.contract.period_s:.4g} Hz"
    )
    return write_page(path, "Open loop", sections, subtitle=subtitle, key_figures=figures)


def _everyone(result: OpenLoopResult) -> list[tuple[str, ErrorSums]]:
    return [(POLICY, result.all_errors), *result.baseline_errors.items()]


def _judgement(result: OpenLoopResult) -> list[Block]:
    blocks: list[Block] = []
    if not result.contract.is_trained:
        blocks.append(Text("This checkpoint is UNTRAINED: its numbers mean nothing.", "bad"))
    own = result.all_errors.first.l1
    best = min(("zero action", "mean action"), key=lambda name: result.baseline_errors[name].first.l1)
    limit = result.baseline_errors[best].first.l1
    if own < limit:
        blocks.append(Text(f"The policy's first action is {1 - own / limit:.0%} nearer than '{best}'.", "good"))
    else:
        blocks.append(Text(f"The policy's first action is no nearer than '{best}': it has not learned.", "bad"))
    return blocks


def _comparison(result: OpenLoopResult) -> Table:
    columns = ["", "L1", "MSE", "mm", "degrees", "gripper F1", "gripper accuracy", "L1, whole chunk"]
    rows = [
        [
            name,
            errors.first.l1,
            errors.first.mse,
            *map(float, errors.first.distance_mm_deg),
            errors.first.gripper_f1,
            errors.first.gripper_accuracy,
            errors.l1,
        ]
        for name, errors in _everyone(result)
    ]
    caption = (
        "First action of each chunk. L1 and MSE of normalised arm actions; mm and degrees between the poses that "
        "are asked for. 'mean action' knows the mean of these episodes, 'previous action' the action recorded one "
        "tick before"
    )
    return Table(columns, rows, caption)


def _per_axis(result: OpenLoopResult) -> Table:
    first = result.all_errors.first
    values = zip(AXES, ("mm",) * 3 + ("degrees",) * 3, first.l1_per_axis, first.offset_per_axis, strict=True)
    rows = [[axis, float(l1), f"{offset:.3f} {unit}"] for axis, unit, l1, offset in values]
    return Table(["axis", "L1, normalised", "along the tool's axis"], rows, "First action of each chunk, means")


def _over_chunk(result: OpenLoopResult) -> Figure:
    figure = Figure(figsize=(11, 2.8), layout="constrained")
    panels = figure.subplots(1, 3)
    titles = ("L1, normalised", "distance, mm", "distance, degrees")
    for (name, errors), colour in zip(_everyone(result), _COLOURS, strict=True):
        steps = np.arange(len(errors.count))
        curves = (errors.l1_per_step, *errors.distance_per_step.T)
        for axes, curve, title in zip(panels, curves, titles, strict=True):
            axes.plot(steps, curve, marker="o", markersize=3, color=colour, label=name, linewidth=1.4)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("step of the chunk")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.3)
    for axes in panels:
        axes.set_ylim(bottom=0)  # behind the last curve: it ends the search for the upper limit
    panels[0].legend(fontsize=8)
    return figure


def _shown(result: OpenLoopResult) -> Sequence[int]:
    """Return the best, the middle and the worst episode."""
    order = np.argsort([errors.first.l1 for errors in result.errors])
    return list(dict.fromkeys(int(order[place]) for place in (-1, len(order) // 2, 0)))


def _episode(result: OpenLoopResult, number: int) -> list[Block]:
    outcome, errors = result.outcomes[number], result.errors[number]
    sentences = "; ".join(dict.fromkeys(outcome.sentences))
    caption = f"{outcome.key}: {sentences} (L1 {errors.first.l1:.4f})"
    space = result.contract.action_space
    return [
        Picture(png_of_figure(_curves(outcome)), caption, wide=True),
        Picture(png_of_figure(_path(outcome, space)), "path of the tool in base; blue: where the policy would go"),
    ]


def _curves(outcome: EpisodeOutcome) -> Figure:
    figure = Figure(figsize=(12, 2.0), layout="constrained")
    ticks = np.arange(len(outcome))
    recorded = np.where(outcome.is_valid[:, None], outcome.recorded, np.nan)
    for axes, column, name in zip(figure.subplots(1, 7), range(7), (*AXES, "gripper open"), strict=True):
        axes.plot(ticks, recorded[:, column], color="#98a2b3", linewidth=1.6, label="recorded")
        axes.plot(ticks, outcome.predicted[:, 0, column], color=_COLOURS[0], linewidth=1.2, label="predicted")
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.set_ylim(*((-0.05, 1.05) if column == 6 else (-1.1, 1.1)))
    figure.axes[0].legend(fontsize=6)
    return figure


def _path(outcome: EpisodeOutcome, space: ActionSpace) -> Figure:
    """Return the measured path from above and from the side, with the first action of each chunk as a line."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    targets_m = targets_of(space, outcome.poses, outcome.predicted[:, 0, :6]).position_m
    for axes, (across, up) in zip(figure.subplots(1, 2), ((0, 1), (0, 2)), strict=True):
        here, there = outcome.poses[:, [across, up]], targets_m[:, [across, up]]
        lines = list(np.stack([here, there], axis=1))
        axes.add_collection(LineCollection(lines, colors=_COLOURS[0], linewidths=1.2, zorder=3))
        axes.plot(*here.T, color="#98a2b3", linewidth=1.8, marker="o", markersize=2)
        axes.set_xlabel(f"{AXES[across]}, m")
        axes.set_ylabel(f"{AXES[up]}, m")
        axes.set_aspect("equal", adjustable="datalim")
        axes.grid(alpha=0.3)
    return figure


def _episodes(result: OpenLoopResult) -> Table:
    order = sorted(range(len(result.outcomes)), key=lambda number: -result.errors[number].first.l1)
    rows = [
        [
            result.outcomes[number].key,
            "; ".join(dict.fromkeys(result.outcomes[number].sentences)),
            len(result.outcomes[number]),
            result.errors[number].first.l1,
            *map(float, result.errors[number].first.distance_mm_deg),
            result.errors[number].first.gripper_accuracy,
        ]
        for number in order[:_WORST_ROWS]
    ]
    more = len(order) - len(rows)
    caption = f"{more} more episodes are in the JSON file" if more else ""
    return Table(["episode", "sentence", "ticks", "L1", "mm", "degrees", "gripper accuracy"], rows, caption)


def _without_nan(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_nan(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and not np.isfinite(data) else data
