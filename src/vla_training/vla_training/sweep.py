# SPDX-License-Identifier: Apache-2.0
"""Train every combination of some settings and compare them; what is done already is not done again.

Without ``--grid`` the combinations are those of RoboVLMs' seed documents: learning rate, weight decay, batch size
and warm-up.
"""

import argparse
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from vla_core.errors import ConfigError, VlaError
from vla_core.whole_file import write_json, write_yaml
from vla_training.reports.page import Picture, Section, Table, png_of_figure, write_page
from vla_training.training.metrics_log import read_metrics
from vla_training.training.run_folder import RunFolder
from vla_training.training.sweep_plot import plot_sweep
from vla_training.training.train_config import read_train_config, with_overrides

INTERRUPTED = 130
DEFAULT_GRID = (
    "optimization.learning_rate=1e-4,2e-5,1e-5",
    "optimization.weight_decay=0,0.1",
    "optimization.batch_size=128,256,512",
    "optimization.warmup_epochs=0.25,0.5",
)


@dataclass(frozen=True)
class Combination:
    """One run of a sweep.

    Attributes:
        name: Of its folder.
        overrides: ``section.key=value``.
    """

    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How a run went.

    Attributes:
        combination: What it was.
        status: ``done``, ``failed`` or ``interrupted``.
        validation_loss: The smallest; infinite where there is none.
        training_loss: The last.
    """

    combination: Combination
    status: str
    validation_loss: float
    training_loss: float


def combinations(grid: Sequence[str]) -> list[Combination]:
    """Return every combination of a grid of ``section.key=value,value,...``.

    Raises:
        ConfigError: An axis names no key or no value.
    """
    axes = []
    for axis in grid:
        key, found, values = axis.partition("=")
        options = [value.strip() for value in values.split(",") if value.strip()]
        if not found or not key.strip() or not options:
            raise ConfigError(f"--grid {axis}: expected section.key=value,value,...")
        axes.append([(key.strip(), value) for value in options])
    found_all = []
    for chosen in itertools.product(*axes):
        name = "_".join(f"{key.rpartition('.')[2]}={value}" for key, value in chosen)
        found_all.append(Combination(name.replace("/", "-"), tuple(f"{key}={value}" for key, value in chosen)))
    return found_all


def run_combination(combination: Combination, config: Path, common: Sequence[str], out: Path) -> Outcome:
    """Train one combination in a process of its own, going on where an earlier one was interrupted."""
    folder = RunFolder(out / combination.name)
    status_file = folder.path / "sweep.json"
    whole = with_overrides(read_train_config(config), [*common, *combination.overrides])
    if _status_in(status_file) == {"status": "done", "settings": whole}:
        return _outcome(combination, "done", folder)
    settings = [part for override in (*common, *combination.overrides) for part in ("--set", override)]
    resume = ["--resume"] if folder.config.exists() else []
    command = [
        sys.executable,
        "-m",
        "vla_training.train",
        str(config),
        *settings,
        "--out",
        str(folder.path),
        *resume,
    ]
    status = _ending_of(command)
    folder.path.mkdir(parents=True, exist_ok=True)
    write_json(status_file, {"status": status, "settings": whole})
    return _outcome(combination, status, folder)


def _status_in(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _ending_of(command: Sequence[str]) -> str:
    """Run a command; whoever asks this process to end asks it, once, so that it can save."""
    process = subprocess.Popen(command, start_new_session=True)
    asked: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        asked.append(number)
        process.send_signal(number)

    kept = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = process.wait()
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if code == 0:
        return "done"
    return "interrupted" if asked or code == INTERRUPTED else "failed"


def _outcome(combination: Combination, status: str, folder: RunFolder) -> Outcome:
    rows = read_metrics(folder.metrics)
    validation = [row["loss"] for row in rows if row["kind"] == "validation" and row.get("source") == "mean"]
    training = [row["loss"] for row in rows if row["kind"] == "training"]
    infinite = float("inf")
    return Outcome(combination, status, min(validation, default=infinite), training[-1] if training else infinite)


def write_report(outcomes: Sequence[Outcome], out: Path) -> Path:
    """Write ``sweep.html`` and ``sweep.yaml``, the best first; return the page."""
    ranked = sorted(outcomes, key=lambda outcome: (outcome.validation_loss, outcome.training_loss))
    rows = [[o.combination.name, o.status, o.validation_loss, o.training_loss] for o in ranked]
    table = Table(["run", "status", "best validation loss", "last training loss"], rows)
    plot = Picture(png_of_figure(plot_sweep(out, [o.combination.name for o in ranked])), wide=True)
    facts = [
        {
            "run": o.combination.name,
            "status": o.status,
            "validation_loss": o.validation_loss,
            "set": list(o.combination.overrides),
        }
        for o in ranked
    ]
    write_yaml(out / "sweep.yaml", facts)
    return write_page(out / "sweep.html", "Sweep", [Section("Runs", [table]), Section("Curves", [plot])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        with_overrides(read_train_config(options.config), options.set)
        chosen = combinations(options.grid or DEFAULT_GRID)
        if options.list:
            print("\n".join(" ".join(each.overrides) for each in chosen))
            return 0
        options.out.mkdir(parents=True, exist_ok=True)
        outcomes: list[Outcome] = []
        for number, each in enumerate(chosen, start=1):
            print(f"[{number}/{len(chosen)}] {each.name}", flush=True)
            outcomes.append(run_combination(each, options.config, options.set, options.out))
            write_report(outcomes, options.out)
            if outcomes[-1].status == "interrupted":
                print(f"interrupted; the same command goes on. So far: {options.out / 'sweep.html'}")
                return INTERRUPTED
    except (VlaError, OSError) as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sweep: interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    best = min(outcomes, key=lambda outcome: (outcome.validation_loss, outcome.training_loss))
    print(
        f"best: {best.combination.name} (validation loss {best.validation_loss:.4g}). {options.out / 'sweep.html'}"
    )
    failed = [outcome.combination.name for outcome in outcomes if outcome.status == "failed"]
    if failed:
        print(f"sweep: {len(failed)} runs failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sweep", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("config", type=Path, help="a training config")
    parser.add_argument(
        "--grid",
        action="extend",
        nargs="+",
        metavar="SECTION.KEY=VALUE,VALUE",
        help=f"axes (default: {' '.join(DEFAULT_GRID)})",
    )
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="settings of every run",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/sweep"), help="folder of the runs (%(default)s)")
    parser.add_argument("--list", action="store_true", help="only print the combinations")
    return parser


if __name__ == "__main__":
    sys.exit(main())
