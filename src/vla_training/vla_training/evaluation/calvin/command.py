# SPDX-License-Identifier: Apache-2.0
"""``evaluate calvin``: arguments, output files and exit status."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from vla_core.checkpoint import CARD
from vla_core.checkpoint_card import CheckpointCard
from vla_core.config import load_config
from vla_core.errors import VlaError
from vla_core.whole_file import write_json
from vla_training.evaluation.calvin.evaluation import CheckpointModel, evaluate_calvin
from vla_training.evaluation.calvin.model import require_calvin
from vla_training.evaluation.calvin.report import calvin_numbers, calvin_summary, write_calvin_page
from vla_training.evaluation.calvin.rollout import MAX_STEPS, SequenceResult
from vla_training.evaluation.calvin.sequences import (
    NUM_OFFICIAL,
    CalvinSequence,
    official_sequences,
    read_sequences,
)
from vla_training.evaluation.calvin.simulator import CalvinSimulator, read_sentences
from vla_training.evaluation.run_journal import digest_of

DESCRIPTION = "Run CALVIN's long-horizon protocol: sequences of five subtasks in the public simulator."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint directory")
    add(
        "--calvin",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="checkout of mees/calvin; a dataset beside it gives the settings of cameras and scene",
    )
    add(
        "--sequences",
        type=Path,
        metavar="FILE.json",
        help="these sequences (default: the official ones, drawn anew)",
    )
    add("--num-sequences", type=int, default=NUM_OFFICIAL, metavar="N", help="only the first N (%(default)s)")
    add("--processes", type=int, default=1, metavar="N", help="simulators side by side, each with its own policy")
    add(
        "--renderer",
        choices=("egl", "tiny"),
        default="egl",
        help="tiny needs no driver; published numbers are egl's",
    )
    add(
        "--num-executed",
        type=int,
        default=1,
        metavar="N",
        help="actions of each chunk that are executed (%(default)s)",
    )
    add("--max-steps", type=int, default=MAX_STEPS, help="steps that a subtask may take (%(default)s)")
    add("--out", type=Path, default=Path("evaluation/calvin"), metavar="DIR", help="default: %(default)s")
    add("--device", choices=("cpu", "cuda", "auto"), default="auto", help="default: %(default)s")
    add("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status.

    Raises:
        VlaError: It cannot be done; the sentence says why.
    """
    world = CalvinSimulator(tuple(options.calvin), options.renderer)
    world.check()
    if not (options.checkpoint / CARD).is_file():
        raise VlaError(f"{options.checkpoint}: no checkpoint directory ('{CARD}' is missing)")
    card = load_config(options.checkpoint / CARD, CheckpointCard)
    require_calvin(card.contract)
    sequences = _sequences(options)
    sentences = json.dumps(read_sentences(options.calvin), sort_keys=True)
    model = CheckpointModel(options.checkpoint, options.device, options.num_executed)
    results = evaluate_calvin(
        model,
        world,
        sequences,
        options.out,
        world_identity=f"{options.renderer}, sentences {digest_of(sentences)}",
        max_steps=options.max_steps,
        processes=options.processes,
        show_progress=not options.quiet,
    )
    _write(options, model, results, is_trained=card.is_trained)
    return 0


def _sequences(options: argparse.Namespace) -> Sequence[CalvinSequence]:
    if options.num_sequences < 1:
        raise VlaError(f"--num-sequences must be at least 1, found {options.num_sequences}")
    if options.sequences is not None:
        return read_sequences(options.sequences)[: options.num_sequences]
    print(f"evaluate: drawing the {NUM_OFFICIAL} official sequences, which takes half a minute", file=sys.stderr)
    return official_sequences()[: options.num_sequences]


def _write(
    options: argparse.Namespace, model: CheckpointModel, results: Sequence[SequenceResult], *, is_trained: bool
) -> None:
    facts = {**model.identity, "renderer": options.renderer, "max_steps": options.max_steps}
    notes = [] if is_trained else ["This checkpoint is UNTRAINED: its numbers mean nothing."]
    if options.renderer != "egl":
        notes.append("Pictures of TinyRenderer differ from those of EGL: do not compare with published numbers.")
    if len(results) < NUM_OFFICIAL or options.max_steps != MAX_STEPS:
        notes.append(f"{len(results)} sequences of {options.max_steps} steps per subtask; official: 1000 of 360.")
    write_json(options.out / "results.json", calvin_numbers(results, {**facts, "notes": notes}))
    page = write_calvin_page(options.out / "report.html", results, facts, notes)
    for note in notes:
        print(f"evaluate: {note}", file=sys.stderr)
    print(calvin_summary(results))
    print(f"page: {page}")
