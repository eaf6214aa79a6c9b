# SPDX-License-Identifier: Apache-2.0
"""Results of CALVIN's protocol as numbers: SR_1 to SR_5, Avg. Len, each subtask; and as a page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vla_training.evaluation.calvin.rollout import SequenceResult
from vla_training.evaluation.calvin.sequences import NUM_SUBTASKS
from vla_training.evaluation.statistics import Estimate, mean_with_interval, wilson
from vla_training.reports.page import Figures, Picture, Section, Table, Text, png_of_figure, write_page


def success_rates(results: Sequence[SequenceResult]) -> list[Estimate]:
    """Return SR_1 to SR_5: the share of sequences with at least so many subtasks done in a row."""
    counts = [sum(result.successes >= place for result in results) for place in range(1, NUM_SUBTASKS + 1)]
    return [wilson(count, len(results)) for count in counts]


def average_length(results: Sequence[SequenceResult]) -> Estimate:
    """Return Avg. Len: how many subtasks are done in a row, on average."""
    return mean_with_interval([result.successes for result in results])


def subtask_rates(results: Sequence[SequenceResult]) -> dict[str, tuple[int, int]]:
    """Return subtask to how often it was done and tried, the worst first."""
    tried, done = Counter[str](), Counter[str]()
    for result in results:
        tried.update(result.subtasks[: len(result.steps)])
        done.update(result.subtasks[: result.successes])
    order = sorted(tried, key=lambda name: (done[name] / tried[name], name))
    return {name: (done[name], tried[name]) for name in order}


def calvin_numbers(results: Sequence[SequenceResult], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as plain data for JSON."""
    rates = {f"SR_{place}": rate.to_plain() for place, rate in enumerate(success_rates(results), start=1)}
    return {
        **facts,
        "sequences": len(results),
        "average_length": average_length(results).to_plain(),
        "success_rates": rates,
        "subtasks": {
            name: {"done": done, "tried": tried} for name, (done, tried) in subtask_rates(results).items()
        },
    }


def calvin_summary(results: Sequence[SequenceResult]) -> str:
    """Return the numbers in lines of text."""
    lines = [f"SR_{place}  {rate.as_percent()}" for place, rate in enumerate(success_rates(results), start=1)]
    return "\n".join([*lines, f"Avg. Len  {average_length(results).as_number()} over {len(results)} sequences"])


def write_calvin_page(
    path: Path, results: Sequence[SequenceResult], facts: Mapping[str, Any], notes: Sequence[str]
) -> Path:
    """Write the page; return its path.

    Args:
        path: The HTML file.
        results: Of all sequences.
        facts: What was evaluated.
        notes: What a reader must know beside the numbers.
    """
    rates, length = success_rates(results), average_length(results)
    rows = [[f"SR_{place}", rate.as_percent()] for place, rate in enumerate(rates, start=1)]
    subtasks = [
        [name, done, tried, wilson(done, tried).as_percent()]
        for name, (done, tried) in subtask_rates(results).items()
    ]
    interval = "95 % intervals: Wilson for shares, bootstrap over sequences for Avg. Len"
    sections = [
        Section(
            "Subtasks in a row",
            [
                *(Text(note, "warning") for note in notes),
                Picture(png_of_figure(_plot(rates)), "share of sequences with at least so many subtasks done"),
                Table(["in a row", "share of sequences"], rows, interval),
            ],
        ),
        Section("Each subtask, the worst first", [Table(["subtask", "done", "tried", "success rate"], subtasks)]),
    ]
    figures = Figures({"Avg. Len of 5 (95 %)": length.as_number(), "sequences": str(len(results))})
    subtitle = ", ".join(f"{key} {value}" for key, value in facts.items())
    return write_page(path, "CALVIN, long horizon", sections, subtitle=subtitle, key_figures=figures)


def _plot(rates: Sequence[Estimate]) -> Figure:
    figure = Figure(figsize=(5, 2.6), layout="constrained")
    axes = figure.subplots()
    places = list(range(1, len(rates) + 1))
    values = [100 * rate.value for rate in rates]
    errors = [
        [max(100 * (rate.value - rate.low), 0.0) for rate in rates],
        [max(100 * (rate.high - rate.value), 0.0) for rate in rates],
    ]
    axes.bar(places, values, color="#2563eb", width=0.6)
    axes.errorbar(places, values, yerr=errors, fmt="none", ecolor="#1d2433", capsize=3, linewidth=1)
    axes.set_ylim(0, 105)
    axes.set_xlabel("subtasks in a row")
    axes.set_ylabel("sequences, %")
    return figure
