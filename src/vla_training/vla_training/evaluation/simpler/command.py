# SPDX-License-Identifier: Apache-2.0
"""``evaluate simpler``: arguments, numbers, page and exit status."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vla_core.checkpoint import load_checkpoint
from vla_core.model.device import device_named
from vla_core.whole_file import write_json
from vla_training.evaluation.run_journal import checkpoint_identity
from vla_training.evaluation.simpler.actions import ActionStatistics
from vla_training.evaluation.simpler.evaluation import SimplerEpisode, evaluate_simpler
from vla_training.evaluation.simpler.simulator import SimplerTask
from vla_training.evaluation.statistics import Estimate, wilson
from vla_training.reports.page import Figures, Section, Table, Text, write_page

DESCRIPTION = "Run episodes of a task of SimplerEnv, several side by side in one inference."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint directory")
    add("--task", required=True, metavar="NAME", help="of SimplerEnv, for example widowx_carrot_on_plate")
    add("--episodes", type=int, default=24, metavar="N", help="default: %(default)s")
    add("--batch", type=int, default=4, metavar="K", help="environments side by side (%(default)s)")
    add(
        "--max-steps", type=int, default=400, help="end an episode that its environment does not end (%(default)s)"
    )
    add(
        "--statistics",
        type=Path,
        metavar="FILE.json",
        help="q01, q99, mask that the training data was normalised by",
    )
    add("--out", type=Path, default=Path("evaluation/simpler"), metavar="DIR", help="default: %(default)s")
    add("--device", choices=("cpu", "cuda", "auto"), default="auto", help="default: %(default)s")
    add("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status.

    Raises:
        VlaError: It cannot be done; the sentence says why.
    """
    task = SimplerTask(options.task)
    task.check()
    statistics = None if options.statistics is None else ActionStatistics.load(options.statistics)
    checkpoint = load_checkpoint(options.checkpoint, device_named(options.device))
    named = "" if options.statistics is None else options.statistics.name
    facts = {
        **checkpoint_identity(options.checkpoint),
        "task": options.task,
        "statistics": named,
        "max_steps": options.max_steps,
    }
    episodes = evaluate_simpler(
        checkpoint,
        facts,
        task,
        options.out,
        num_episodes=options.episodes,
        batch_size=options.batch,
        max_steps=options.max_steps,
        statistics=statistics,
        show_progress=not options.quiet,
    )
    write_json(options.out / "results.json", simpler_numbers(episodes, facts))
    page = write_simpler_page(options.out / "report.html", episodes, facts, is_trained=checkpoint.card.is_trained)
    print(f"{options.task}: {success_rate(episodes).as_percent()} of {len(episodes)} episodes\npage: {page}")
    return 0


def success_rate(episodes: Sequence[SimplerEpisode]) -> Estimate:
    """Return the share of successes with its Wilson interval."""
    return wilson(sum(episode.success for episode in episodes), len(episodes))


def simpler_numbers(episodes: Sequence[SimplerEpisode], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as plain data for JSON."""
    rate = success_rate(episodes).to_plain()
    return {**facts, "success_rate": rate, "episodes": [asdict(episode) for episode in episodes]}


def write_simpler_page(
    path: Path, episodes: Sequence[SimplerEpisode], facts: Mapping[str, Any], *, is_trained: bool
) -> Path:
    """Write the page; return its path."""
    rows = [[e.number, e.instruction, "success" if e.success else "failure", e.steps] for e in episodes]
    notes = [] if is_trained else [Text("This checkpoint is UNTRAINED: its numbers mean nothing.", "bad")]
    sections = [Section("Episodes", [*notes, Table(["episode", "sentence", "outcome", "steps"], rows)])]
    figures = Figures(
        {"success (95 %, Wilson)": success_rate(episodes).as_percent(), "episodes": str(len(episodes))}
    )
    subtitle = ", ".join(f"{key} {value}" for key, value in facts.items() if value)
    return write_page(path, f"SimplerEnv: {facts['task']}", sections, subtitle=subtitle, key_figures=figures)
