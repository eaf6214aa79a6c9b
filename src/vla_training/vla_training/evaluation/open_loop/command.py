# SPDX-License-Identifier: Apache-2.0
"""``evaluate open_loop``: arguments, output files and exit status."""

import argparse
import sys
from pathlib import Path

from vla_core.model.device import device_named
from vla_core.robot_spec import RobotSpec
from vla_core.whole_file import write_json
from vla_training.datasets.splits import SPLITS
from vla_training.evaluation.open_loop.evaluation import BagChoices, evaluate_open_loop, read_bag_options
from vla_training.evaluation.open_loop.report import (
    open_loop_numbers,
    open_loop_summary,
    write_open_loop_page,
)

DESCRIPTION = "Compare what a policy predicts with what was recorded, on held-out episodes or straight on bags."
EXIT_TOO_FAR = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint directory")
    add("sources", type=Path, nargs="+", metavar="DATASET_OR_BAGS", help="datasets, bags or folders of bags")
    add("--split", choices=SPLITS, default="validation", help="of datasets (%(default)s)")
    add("--out", type=Path, default=Path("evaluation/open_loop"), metavar="DIR", help="default: %(default)s")
    add("--max-error", type=float, metavar="L1", help="exit with 2 when the first action's L1 is above")
    add("--device", choices=("cpu", "cuda", "auto"), default="auto", help="default: %(default)s")
    add("--quiet", action="store_true", help="no progress bar")
    bags = parser.add_argument_group("bags (docs/conversion.md)")
    bags.add_argument("--robot", type=Path, metavar="SPEC.yaml", help="robot that was recorded; needed for bags")
    bags.add_argument("--namespace", help="where the relative topics of the robot spec are")
    bags.add_argument("--instruction", metavar="TEXT", help="the sentence of everything")
    bags.add_argument("--instructions", type=Path, metavar="FILE.yaml", help="bag name to sentences")
    bags.add_argument("--config", type=Path, metavar="FILE.yaml", help="other options of bag_to_dataset")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status.

    Raises:
        VlaError: It cannot be done; the sentence says why.
    """
    bags = None
    if options.robot is not None:
        given = read_bag_options(options.config, namespace=options.namespace, instruction=options.instruction)
        bags = BagChoices(spec=RobotSpec.load(options.robot), instructions=options.instructions, options=given)
    result = evaluate_open_loop(
        options.checkpoint,
        options.sources,
        options.out,
        split=options.split,
        bags=bags,
        device=device_named(options.device),
        show_progress=not options.quiet,
    )
    write_json(options.out / "results.json", open_loop_numbers(result))
    page = write_open_loop_page(options.out / "report.html", result)
    for sentence in result.skipped:
        print(f"evaluate: {sentence}", file=sys.stderr)
    print(open_loop_summary(result))
    print(f"page: {page}")
    error = result.all_errors.first.l1
    if options.max_error is not None and not error <= options.max_error:
        print(
            f"evaluate: L1 of the first action is {error:.4f}, above --max-error {options.max_error:g}",
            file=sys.stderr,
        )
        return EXIT_TOO_FAR
    return 0
