# SPDX-License-Identifier: Apache-2.0
"""Results of the tabletop as a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vla_training.evaluation.statistics import wilson
from vla_training.evaluation.tabletop.films import Film
from vla_training.evaluation.tabletop.plan import CHAINS, CONFUSION
from vla_training.evaluation.tabletop.report import (
    Confusion,
    average_length,
    chain_rates,
    confusion,
    counted,
    interventions,
    mean_duration_s,
    mean_over_tasks,
    obeyed,
    of_kind,
    overall,
    single_legs,
)
from vla_training.evaluation.tabletop.results import Leg, TrialResult
from vla_training.reports.page import (
    Card,
    Cards,
    Figures,
    Picture,
    Section,
    Table,
    Text,
    png_of_figure,
    png_of_pixels,
    write_page,
)

_RATE = "95 % intervals: Wilson"


def write_tabletop_page(
    path: Path,
    results: Sequence[TrialResult],
    facts: Mapping[str, Any],
    notes: Sequence[str],
    films: Sequence[Film] = (),
) -> Path:
    """Write the page; return its path.

    Args:
        path: The HTML file.
        results: Of all trials.
        facts: What was evaluated.
        notes: What a reader must know beside the numbers.
        films: Of failures.
    """
    sections = [Section("Read this first", [Text(note, "warning") for note in notes])] if notes else []
    if singles := single_legs(results):
        sections += [_tasks_section(singles), _phrasings_section(singles)]
    if of_kind(results, CHAINS):
        sections.append(_chains_section(results))
    if of_kind(results, CONFUSION):
        sections.append(_confusion_section(confusion(results)))
    guard = [[stage, count] for stage, count in sorted(interventions(results).items())]
    sections.append(Section("Guard", [Table(["stage", "interventions"], guard, "over all trials")]))
    if films:
        sections.append(_films_section(films))
    subtitle = ", ".join(f"{key} {value}" for key, value in facts.items())
    return write_page(path, "Tabletop", sections, subtitle=subtitle, key_figures=_key_figures(results))


def _key_figures(results: Sequence[TrialResult]) -> Figures:
    values = {"trials": str(len(results))}
    if single_legs(results):
        values["mean over tasks"] = f"{100 * mean_over_tasks(results):.1f} %"
        values["single tasks (95 %)"] = overall(results).as_percent()
    if of_kind(results, CHAINS):
        values["Avg. Len of 5 (95 %)"] = average_length(results).as_number()
    if of_kind(results, CONFUSION):
        values["asked task came first"] = wilson(*obeyed(confusion(results))[0]).as_percent()
    return Figures(values)


def _tasks_section(legs: Sequence[Leg]) -> Section:
    counts = counted(legs, "task")
    rows = []
    for name, (done, tried) in counts.items():
        duration_s = mean_duration_s(leg for leg in legs if leg.task == name)
        shown = "" if duration_s is None else f"{duration_s:.1f}"
        rows.append([name, done, tried, wilson(done, tried).as_percent(), shown])
    columns = ["task", "done", "tried", "success rate", "s per success"]
    return Section("Each task", [Table(columns, rows, _RATE)])


def _phrasings_section(legs: Sequence[Leg]) -> Section:
    names = {False: "seen", True: "held out"}
    split = [
        [names[is_held_out], done, tried, wilson(done, tried).as_percent()]
        for is_held_out, (done, tried) in counted(legs, "is_held_out").items()
    ]
    said = sorted(counted(legs, "sentence").items(), key=lambda item: item[1][0] / item[1][1])
    rows = [[sentence, done, tried, wilson(done, tried).as_percent()] for sentence, (done, tried) in said]
    blocks = [Table([what, "done", "tried", "success rate"], found) for what, found in _named(split, rows)]
    return Section("Phrasings", blocks)


def _named(split: list[list[object]], rows: list[list[object]]) -> list[tuple[str, list[list[object]]]]:
    return [("phrasings", split), ("sentence, the worst first", rows)]


def _chains_section(results: Sequence[TrialResult]) -> Section:
    rows = [[f"SR_{place}", rate.as_percent()] for place, rate in enumerate(chain_rates(results), start=1)]
    rows.append(["Avg. Len", average_length(results).as_number()])
    legs = [leg for chain in of_kind(results, CHAINS) for leg in chain.legs]
    by_task = sorted(counted(legs, "task").items(), key=lambda item: item[1][0] / item[1][1])
    tasks = [[name, done, tried, wilson(done, tried).as_percent()] for name, (done, tried) in by_task]
    interval = "95 % intervals: Wilson for shares, bootstrap over chains for Avg. Len"
    return Section(
        "Chains of five",
        [
            Table(["in a row", "share of chains"], rows, interval),
            Table(["task in a chain, the worst first", "done", "tried", "success rate"], tasks),
        ],
    )


def _confusion_section(table: Confusion) -> Section:
    right, wrong, moved = (wilson(*counts).as_percent() for counts in obeyed(table))
    shares = [["the task that was asked for", right], ["another task", wrong], ["any, without meaning", moved]]
    plot = Picture(
        png_of_figure(confusion_figure(table)), "row: what was said; column: what came true first", wide=True
    )
    return Section(
        "Same scene, other sentence",
        [
            Table(
                [
                    "came true first",
                    "share",
                ],
                shares,
                _RATE,
            ),
            plot,
        ],
    )


def confusion_figure(table: Confusion) -> Figure:
    """Return the table as a plot: a row for what was said, a column for what came true first."""
    counts = np.array(table.counts, dtype=np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    height, width = counts.shape
    figure = Figure(figsize=(2.6 + 0.36 * width, 1.8 + 0.3 * height), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(range(width), table.happened, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(height), table.said, fontsize=8)
    for row, column in zip(*np.nonzero(counts), strict=True):
        ink = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(table.counts[row][column]), ha="center", va="center", fontsize=8, color=ink)
    return figure


def _films_section(films: Sequence[Film]) -> Section:
    cards = [
        Card(
            film.title,
            f"{film.text}. {film.path.parent.name}/{film.path.name}",
            [png_of_pixels(film.stills, width_px=900)],
            "bad",
        )
        for film in films
    ]
    return Section("Failures", [Cards(cards)])
