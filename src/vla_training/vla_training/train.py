# SPDX-License-Identifier: Apache-2.0
"""Train a policy from a training config.

On several GPUs or machines: ``torchrun --nproc-per-node 8 -m vla_training.train CONFIG`` or
``srun python -m vla_training.train CONFIG``.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from vla_core.config import build, to_plain
from vla_core.errors import ConfigError, VlaError
from vla_training.training.data_check import write_data_check
from vla_training.training.launcher import launch
from vla_training.training.overfit import check_overfit
from vla_training.training.preparation import Preparation, prepare
from vla_training.training.run import RunResult, fit
from vla_training.training.run_folder import RunFolder
from vla_training.training.settings import OptimizationConfig, RunConfig
from vla_training.training.train_config import read_train_config, with_overrides

INTERRUPTED = 130


def train(settings: dict[str, Any], where: str, out: Path, *, resume: bool = False) -> RunResult:
    """Train a policy; return how the run has ended.

    Args:
        settings: Plain data of a training config.
        where: Name of the config, for errors.
        out: Folder of the run.
        resume: Go on with the run in that folder.

    Raises:
        VlaError: A setting, a dataset or the start cannot be used.
    """
    run = build(RunConfig, settings.get("run"), f"{where}: run")
    optimization = build(OptimizationConfig, settings.get("optimization"), f"{where}: optimization")
    fabric = launch(run, optimization.precision)
    folder = RunFolder(out)
    with prepare(settings, where) as prepared:
        problem = _open_folder(prepared, folder, resume=resume) if fabric.is_global_zero else None
        problem = fabric.broadcast(problem)  # otherwise the other processes would wait for ever
        if problem is not None:
            raise ConfigError(problem)
        _announce(prepared, out, fabric.print)
        return fit(prepared, fabric, folder, resume=resume)


def _open_folder(prepared: Preparation, folder: RunFolder, *, resume: bool) -> str | None:
    """Write what a run begins with; return why it cannot be begun there."""
    settings = to_plain(prepared.config)
    try:
        folder.require_same(settings) if resume else folder.begin(settings)
        write_data_check(prepared, folder.path / "data_check.html")
    except (VlaError, OSError) as error:
        return str(error)
    return None


def _announce(prepared: Preparation, out: Path, say: Any) -> None:
    mixture = prepared.mixture
    for source, size, count in zip(prepared.data.sources, mixture.sizes, mixture.counts, strict=True):
        say(f"{source.path}: {size} windows, {count} samples per epoch")
    for name, windows in prepared.validation.items():
        say(f"{name}: validated on {len(windows)} windows")
    say(
        f"{prepared.num_steps} steps of {mixture.batch_size} samples, {mixture.batches_per_epoch} per epoch; in "
        f"{out}"
    )
    say(f"what the model is shown: {out / 'data_check.html'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings, where, out = _settings(options)
        if options.check_data:
            with prepare(settings, where) as prepared:
                print(f"written to {write_data_check(prepared, out / 'data_check.html')}")
            return 0
        if options.overfit is not None:
            return _overfit(settings, where, options.overfit)
        result = train(settings, where, out, resume=options.resume)
    except (VlaError, OSError) as error:
        if _is_first():
            print(f"train: {error}", file=sys.stderr)
        return 1
    except torch.OutOfMemoryError as error:
        print(
            "train: the GPU has not enough memory. Set optimization.micro_batch_size lower, or "
            f"finetuning.gradient_checkpointing: true, or train adapters (finetuning.lora). {error}",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        if _is_first():
            print(f"train: {_stopped(options.out)}", file=sys.stderr)
        return INTERRUPTED
    if _is_first():
        print(_summary(result, out))
    return 0 if result.is_finished else INTERRUPTED


def _is_first() -> bool:
    """Return whether this process speaks for all."""
    return int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))) == 0


def _overfit(settings: dict[str, Any], where: str, num_windows: int) -> int:
    outcome = check_overfit(settings, where, num_windows)
    print(outcome.sentence)
    return 0 if outcome.has_learned else 1


def _settings(options: argparse.Namespace) -> tuple[dict[str, Any], str, Path]:
    """Return settings, their name and the folder of the run."""
    if options.config is None and not (options.resume and options.out):
        raise ConfigError("give a training config, or --resume with --out RUN to go on with a run")
    config = options.config or RunFolder(options.out).config
    settings = with_overrides(read_train_config(config), options.set)
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}"
    out = options.out or Path("runs") / f"{Path(config).stem}-{stamp}"
    if options.resume and options.out is None:
        raise ConfigError("--resume needs --out RUN, the folder of the run to go on with")
    return settings, str(config), out


def _stopped(out: Path | None) -> str:
    """Return how a run goes on that was stopped between its steps."""
    if out is None or not RunFolder(out).config.exists():
        return "stopped before the first step; the same command begins again"
    return f"stopped; go on with python -m vla_training.train --resume --out {out}"


def _summary(result: RunResult, out: Path) -> str:
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in result.results.items() if "loss" in name)
    if not result.is_finished:
        return (
            f"interrupted after {result.step} of {result.num_steps} steps; go on with "
            f"python -m vla_training.train --resume --out {out}"
        )
    reached = f": {numbers}" if numbers else " already"
    return f"{result.step} steps done{reached}. Checkpoints in {out / 'checkpoints'}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="train", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("config", type=Path, nargs="?", help="a training config (config/train/*.yaml)")
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="SECTION.KEY=VALUE", help="settings of your own"
    )
    parser.add_argument("--out", type=Path, metavar="RUN", help="folder of the run (default: runs/CONFIG-TIME)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--check-data", action="store_true", help="only write the page that shows the data")
    parser.add_argument(
        "--overfit",
        type=int,
        nargs="?",
        const=8,
        metavar="WINDOWS",
        help="only check that a few windows (8) can be learned by heart",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
