# SPDX-License-Identifier: Apache-2.0
"""``evaluate robot``: the logbook in a terminal, or the report of logbooks."""

import argparse
from pathlib import Path

from vla_core.errors import VlaError
from vla_core.trial_log import TrialLog, read_trials
from vla_core.whole_file import write_json
from vla_training.evaluation.robot.report import RobotResults, robot_numbers, robot_summary, write_robot_page
from vla_training.evaluation.robot.terminal import run_terminal

DESCRIPTION = "Keep the logbook of trials on a real arm, or report on logbooks."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--log", type=Path, metavar="TRIALS.jsonl", help="write this logbook, by keys of the terminal"
    )
    what.add_argument("--report", type=Path, nargs="+", metavar="TRIALS.jsonl", help="report on these logbooks")
    add = parser.add_argument
    add("--instruction", default="", metavar="TEXT", help="with --log: the sentence that is offered first")
    add("--checkpoint", default="", metavar="NAME", help="with --log: the checkpoint that acts")
    add("--out", type=Path, default=Path("evaluation/robot/report.html"), metavar="PAGE.html", help="%(default)s")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status.

    Raises:
        VlaError: It cannot be done; the sentence says why.
    """
    if options.log is not None:
        log = TrialLog(options.log)
        try:
            run_terminal(log, options.instruction, options.checkpoint)
        finally:
            log.close()
        return 0
    results = RobotResults([trial for path in options.report for trial in read_trials(path)])
    if not results.counted:
        raise VlaError(f"{', '.join(map(str, options.report))}: no trial has ended in success or failure yet")
    page = write_robot_page(options.out, results, [path.name for path in options.report])
    write_json(options.out.with_suffix(".json"), robot_numbers(results))
    print(robot_summary(results))
    print(f"page: {page}")
    return 0
