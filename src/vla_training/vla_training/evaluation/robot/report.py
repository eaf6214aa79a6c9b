# SPDX-License-Identifier: Apache-2.0
"""Trials on the real arm as numbers and as a page: who succeeds how often, at what, and why not."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vla_core.trial_log import Trial
from vla_training.evaluation.statistics import Estimate, fisher_p, newcombe, wilson
from vla_training.reports.page import Block, Figures, Picture, Section, Table, Text, png_of_figure, write_page

_UNNAMED = "(no checkpoint named)"


class RobotResults:
    """Counts over the trials of one or several logbooks. Discarded and unfinished trials do not count.

    Args:
        trials: In any order.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.counted = tuple(trial for trial in trials if trial.outcome in ("success", "failure"))
        self.num_discarded = sum(trial.outcome == "discarded" for trial in trials)
        self.num_unfinished = sum(trial.outcome == "unfinished" for trial in trials)
        self.checkpoints = tuple(dict.fromkeys(_name(trial) for trial in self.counted))
        self.sentences = tuple(sorted({trial.instruction for trial in self.counted}))

    def count(self, checkpoint: str | None = None, sentence: str | None = None) -> tuple[int, int]:
        """Return (successes, trials) of a checkpoint and a sentence; ``None`` for all."""
        own = self._of(checkpoint, sentence)
        return sum(trial.outcome == "success" for trial in own), len(own)

    def rate(self, checkpoint: str | None = None, sentence: str | None = None) -> Estimate:
        """Return the success rate with its Wilson interval."""
        return wilson(*self.count(checkpoint, sentence))

    def without_help(self, checkpoint: str) -> Estimate:
        """Return the share of trials that succeeded without an intervention."""
        own = self._of(checkpoint, None)
        return wilson(sum(t.outcome == "success" and not t.interventions for t in own), len(own))

    def reasons(self, checkpoint: str) -> Counter[str]:
        """Return reason to number of failures."""
        failed = (trial for trial in self._of(checkpoint, None) if trial.outcome == "failure")
        return Counter(trial.reason or "(no reason given)" for trial in failed)

    def interventions(self, checkpoint: str) -> int:
        """Return how often a person had to help."""
        return sum(trial.interventions for trial in self._of(checkpoint, None))

    def seconds(self, checkpoint: str) -> float:
        """Return the median length of successful trials; NaN for none."""
        own = [t.seconds for t in self._of(checkpoint, None) if t.outcome == "success" and t.seconds is not None]
        return float(np.median(own)) if own else float("nan")

    def comparisons(self) -> list[tuple[str, str, Estimate, float]]:
        """Return each pair of checkpoints: both names, difference of the second to the first, Fisher's p."""
        return [
            (a, b, newcombe(*self.count(a), *self.count(b)), fisher_p(*self.count(a), *self.count(b)))
            for a, b in combinations(self.checkpoints, 2)
        ]

    def _of(self, checkpoint: str | None, sentence: str | None) -> list[Trial]:
        return [
            trial
            for trial in self.counted
            if checkpoint in (None, _name(trial)) and sentence in (None, trial.instruction)
        ]


def robot_numbers(results: RobotResults) -> dict[str, Any]:
    """Return everything as plain data for JSON."""
    return {
        "trials": len(results.counted),
        "discarded": results.num_discarded,
        "unfinished": results.num_unfinished,
        "checkpoints": {name: _checkpoint_numbers(results, name) for name in results.checkpoints},
        "comparisons": [
            {"from": a, "to": b, "difference": difference.to_plain(), "fisher_p": p}
            for a, b, difference, p in results.comparisons()
        ],
    }


def robot_summary(results: RobotResults) -> str:
    """Return the numbers in lines of text."""
    lines = []
    for name in results.checkpoints:
        successes, trials = results.count(name)
        lines.append(f"{name}: {successes} of {trials}, {results.rate(name).as_percent()}")
        lines += [
            f"  {sentence}: {results.rate(name, sentence).as_percent()}"
            for sentence in results.sentences
            if results.count(name, sentence)[1]
        ]
    lines += [_difference(*comparison) for comparison in results.comparisons()]
    return "\n".join(lines)


def write_robot_page(path: Path, results: RobotResults, sources: Sequence[str]) -> Path:
    """Write the page; return its path."""
    sections = [
        Section("Checkpoints", _checkpoints(results)),
        Section("Sentences", [_by_sentence(results)]),
        Section("Why it failed", [_reasons(results)]),
    ]
    if len(results.checkpoints) > 1:
        sections.insert(1, Section("Is one better?", _comparison(results)))
    figures = Figures({"success (95 %, Wilson)": results.rate().as_percent(), "trials": str(len(results.counted))})
    return write_page(path, "Trials on the robot", sections, subtitle=", ".join(sources), key_figures=figures)


def _checkpoint_numbers(results: RobotResults, name: str) -> dict[str, Any]:
    successes, trials = results.count(name)
    sentences = [sentence for sentence in results.sentences if results.count(name, sentence)[1]]
    return {
        "successes": successes,
        "trials": trials,
        "rate": results.rate(name).to_plain(),
        "rate_without_help": results.without_help(name).to_plain(),
        "interventions": results.interventions(name),
        "failures": dict(results.reasons(name)),
        "sentences": {
            sentence: {
                "successes": results.count(name, sentence)[0],
                "trials": results.count(name, sentence)[1],
                "rate": results.rate(name, sentence).to_plain(),
            }
            for sentence in sentences
        },
    }


def _checkpoints(results: RobotResults) -> list[Block]:
    columns = ["checkpoint", "successes", "trials", "success rate", "without help", "interventions", "seconds"]
    rows = [
        [
            name,
            *results.count(name),
            results.rate(name).as_percent(),
            results.without_help(name).as_percent(),
            results.interventions(name),
            f"{results.seconds(name):.1f}" if results.count(name)[0] else "",
        ]
        for name in results.checkpoints
    ]
    caption = "95 % intervals by Wilson; seconds: median of the successes"
    blocks: list[Block] = [Picture(png_of_figure(_plot(results))), Table(columns, rows, caption)]
    for count, word in ((results.num_discarded, "discarded"), (results.num_unfinished, "not finished")):
        if count:
            blocks.append(Text(f"Not counted, because {word}: {count}", "warning"))
    return blocks


def _comparison(results: RobotResults) -> list[Block]:
    marks = [difference.low > 0 or difference.high < 0 for _, _, difference, _ in results.comparisons()]
    sentences = [_difference(*comparison) for comparison in results.comparisons()]
    caption = (
        "Interval of the difference by Newcombe, p of Fisher's exact test, not corrected for the number of pairs."
    )
    return [
        *(Text(text, "good" if mark else "plain") for text, mark in zip(sentences, marks, strict=True)),
        Text(caption),
    ]


def _difference(a: str, b: str, difference: Estimate, p: float) -> str:
    judgement = "a difference" if difference.low > 0 or difference.high < 0 else "no difference is shown"
    low, high = 100 * difference.low, 100 * difference.high
    return (
        f"{b} minus {a}: {100 * difference.value:+.1f} points ({low:+.1f} to {high:+.1f}), p {p:.3f}: {judgement}"
    )


def _by_sentence(results: RobotResults) -> Table:
    def cell(name: str, sentence: str) -> str:
        successes, trials = results.count(name, sentence)
        return f"{successes} of {trials}, {results.rate(name, sentence).as_percent()}" if trials else ""

    rows = [[sentence, *(cell(name, sentence) for name in results.checkpoints)] for sentence in results.sentences]
    return Table(["sentence", *results.checkpoints], rows)


def _reasons(results: RobotResults) -> Table:
    counters = {name: results.reasons(name) for name in results.checkpoints}
    every = sum(counters.values(), Counter[str]())
    rows = [
        [reason, *(counters[name][reason] for name in results.checkpoints)] for reason, _ in every.most_common()
    ]
    return Table(["reason", *results.checkpoints], rows)


def _plot(results: RobotResults) -> Figure:
    figure = Figure(figsize=(6, 0.6 + 0.45 * max(len(results.checkpoints), 1)), layout="constrained")
    axes = figure.subplots()
    for place, name in enumerate(results.checkpoints):
        rate = results.rate(name)
        axes.plot([100 * rate.low, 100 * rate.high], [place, place], color="#2563eb", linewidth=2)
        axes.plot([100 * rate.value], [place], marker="o", color="#2563eb")
    axes.set_yticks(range(len(results.checkpoints)), results.checkpoints)
    axes.set_xlim(0, 100)
    axes.set_ylim(len(results.checkpoints) - 0.5, -0.5)
    axes.set_xlabel("success, % (95 %)")
    axes.grid(axis="x", alpha=0.3)
    return figure


def _name(trial: Trial) -> str:
    return trial.checkpoint or _UNNAMED
