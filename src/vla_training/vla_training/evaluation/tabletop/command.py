# SPDX-License-Identifier: Apache-2.0
"""``evaluate tabletop``: arguments, output files and exit status."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from PIL import Image

from vla_core.checkpoint import CARD
from vla_core.checkpoint_card import CheckpointCard
from vla_core.config import load_config
from vla_core.errors import VlaError
from vla_core.schedules import ScheduleName
from vla_core.whole_file import write_json
from vla_training.evaluation.tabletop.evaluation import Bench, CheckpointPolicy, evaluate_tabletop
from vla_training.evaluation.tabletop.films import Film, failures, film_failures, gallery
from vla_training.evaluation.tabletop.page import confusion_figure, write_tabletop_page
from vla_training.evaluation.tabletop.plan import Plan, trials_of
from vla_training.evaluation.tabletop.report import confusion, tabletop_numbers, tabletop_summary
from vla_training.evaluation.tabletop.results import TrialResult
from vla_training.evaluation.tabletop.ros import RosBench
from vla_training.evaluation.tabletop.simulator import TabletopSimulator

DESCRIPTION = "Let the policy act on the simulated tabletop: single tasks, chains of five, other sentences."
_EPISODES, _CONFUSION_SCENES = 20, 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("positional", type=Path, nargs="?", metavar="CHECKPOINT", help="checkpoint directory")
    add("--checkpoint", type=Path, metavar="DIR", help="the same, by name")
    add("--robot", type=Path, default=Path("config/robots/sim_arm.yaml"), metavar="SPEC.yaml", help="%(default)s")
    add("--out", type=Path, default=Path("evaluation/tabletop"), metavar="DIR", help="default: %(default)s")
    _add_what(parser)
    _add_how(parser)


def _add_what(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is tried").add_argument
    add("--tasks", nargs="+", default=[], metavar="NAME", help="these tasks (default: all)")
    add(
        "--episodes",
        type=int,
        metavar="N",
        help=f"scenes of each task (default: {_EPISODES}, or 0 with --chains or --confusion)",
    )
    add("--chains", type=int, default=0, metavar="N", help="chains of five tasks (%(default)s)")
    add(
        "--confusion",
        type=int,
        nargs="?",
        const=_CONFUSION_SCENES,
        default=0,
        metavar="N",
        help=f"every possible sentence in each of N scenes ({_CONFUSION_SCENES} if no number is given)",
    )
    add("--seed", type=int, default=0, metavar="S", help="seed of the first scene (%(default)s)")
    add("--phrasings", default="seen", help="seen, held_out, all, or the number of a sentence (%(default)s)")
    add("--instruction", metavar="TEXT", help="say this in the scenes of all tasks, and count what happens")
    add(
        "--randomise",
        nargs="+",
        default=[],
        choices=("light", "camera", "table"),
        metavar="LOOK",
        help="light, camera, table: drawn from the seed of each scene (default: as the model has them)",
    )
    add("--time-limit-s", type=float, metavar="S", help="of each task (default: 12; 15 to stack or put away)")


def _add_how(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how").add_argument
    add("--schedule", choices=get_args(ScheduleName), default="first_action", help="default: %(default)s")
    add("--num-executed", type=int, default=1, metavar="N", help="actions that receding_horizon executes")
    add("--latency-ms", type=float, default=0.0, metavar="MS", help="chunks come so much later (%(default)g)")
    add("--batch", type=int, default=8, metavar="K", help="worlds side by side in one inference (%(default)s)")
    add("--processes", type=int, default=1, metavar="P", help="processes, each with K worlds (%(default)s)")
    add("--ros", action="store_true", help="through the real graph: simulated robot and policy node, in real time")
    add("--videos", type=int, default=3, metavar="K", help="films of failures of each task (%(default)s)")
    add("--device", choices=("cpu", "cuda", "auto"), default="auto", help="default: %(default)s")
    add("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status.

    Raises:
        VlaError: It cannot be done; the sentence says why.
    """
    checkpoint = _checkpoint(options)
    card = load_config(checkpoint / CARD, CheckpointCard)
    simulator = TabletopSimulator(
        robot=options.robot,
        schedule=options.schedule,
        num_executed=options.num_executed,
        latency_ms=options.latency_ms,
        randomise=tuple(options.randomise),
    )
    simulator.check(card.contract)
    trials = trials_of(_plan(options), simulator)
    policy = CheckpointPolicy(checkpoint, options.device)
    way = "ros" if options.ros else "direct"
    identity = {**policy.identity, **simulator.identity, "way": way}
    results = evaluate_tabletop(
        _bench(options, policy, simulator), trials, options.out, identity, show_progress=not options.quiet
    )
    films: list[Film] = []
    if options.videos > 0 and not options.ros:
        failed = failures(results, options.videos)
        films = film_failures(policy, simulator, failed, options.out / "videos", show_progress=not options.quiet)
    _write(options, results, {**identity, "seed": options.seed}, films, is_trained=card.is_trained)
    return 0


def _checkpoint(options: argparse.Namespace) -> Path:
    found = [path for path in (options.positional, options.checkpoint) if path is not None]
    if len(found) != 1:
        raise VlaError(f"{len(found)} checkpoints are named; name one: evaluate tabletop CHECKPOINT")
    checkpoint: Path = found[0]
    if not (checkpoint / CARD).is_file():
        raise VlaError(f"{checkpoint}: no checkpoint directory ('{CARD}' is missing)")
    return checkpoint


def _plan(options: argparse.Namespace) -> Plan:
    episodes = options.episodes
    if episodes is None:
        episodes = 0 if options.chains or options.confusion else _EPISODES
    return Plan(
        tasks=tuple(options.tasks),
        episodes=episodes,
        chains=options.chains,
        confusion=options.confusion,
        seed=options.seed,
        phrasings=options.phrasings,
        instruction=options.instruction,
        time_limit_s=options.time_limit_s,
    )


def _bench(
    options: argparse.Namespace, policy: CheckpointPolicy, simulator: TabletopSimulator
) -> Bench | RosBench:
    if options.ros:
        return RosBench(policy.checkpoint, simulator, options.device, options.out / "logs")
    return Bench(policy, simulator, options.batch, options.processes)


def _write(
    options: argparse.Namespace,
    results: Sequence[TrialResult],
    facts: dict[str, Any],
    films: Sequence[Film],
    *,
    is_trained: bool,
) -> None:
    notes = [] if is_trained else ["This checkpoint is UNTRAINED: its numbers mean nothing."]
    for note in notes:
        print(f"evaluate: {note}", file=sys.stderr)
    videos = [str(film.path.relative_to(options.out)) for film in films]
    write_json(
        options.out / "results.json", tabletop_numbers(results, {**facts, "notes": notes, "videos": videos})
    )
    page = write_tabletop_page(options.out / "report.html", results, facts, notes, films)
    if films:
        Image.fromarray(gallery(films)).save(options.out / "failures.jpg", quality=85)
    if options.confusion:
        figure = confusion_figure(confusion(results))
        figure.savefig(options.out / "confusion.png", dpi=110, bbox_inches="tight")
    print(tabletop_summary(results))
    print(f"page: {page}")
