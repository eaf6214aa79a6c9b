# SPDX-License-Identifier: Apache-2.0
"""Train and drive variants of one policy on the simulated tabletop, and put their success rates side by side.

What is done already is not done again: the same command goes on after a kill.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_core.config import load_config
from vla_core.errors import VlaError
from vla_core.whole_file import write_json, write_whole
from vla_training.reports.page import Section, Table, write_page
from vla_training.sweep import INTERRUPTED, Combination, run_combination


@dataclass(frozen=True, kw_only=True)
class AblationRow:
    """One row of the table.

    Attributes:
        name: What is different in it.
        train: Settings of its training run; rows with equal ones share a run.
        checkpoint: A policy that is there already; then nothing is trained for the row.
        evaluate: Arguments of its evaluation.
    """

    name: str
    train: tuple[str, ...] = ()
    checkpoint: Path | None = None
    evaluate: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.checkpoint and self.train:
            raise ValueError(f"row '{self.name}' has 'train' and 'checkpoint'; a row has one of them, or none")


@dataclass(frozen=True, kw_only=True)
class AblationPlan:
    """A table of variants.

    Attributes:
        config: Training config of all of them.
        rows: The variants.
        train: Settings of every run.
        evaluate: Arguments of every evaluation.
    """

    config: Path
    rows: tuple[AblationRow, ...]
    train: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if not names or len(dict.fromkeys(names)) != len(names):
            raise ValueError(f"rows needs at least one row, each with a name of its own; found {names}")


class AblationError(VlaError):
    """A run or an evaluation of the table has failed."""


def ablate(plan: AblationPlan, out: Path, *, processes: int) -> list[dict[str, Any]]:
    """Return the rows of the table as plain data; the page and ``table.md`` grow with each.

    Args:
        plan: The table.
        out: Folder of runs, evaluations and table.
        processes: Of each evaluation.

    Raises:
        AblationError: A run or an evaluation has failed.
        KeyboardInterrupt: One was interrupted.
    """
    out.mkdir(parents=True, exist_ok=True)
    runs: dict[tuple[str, ...], str] = {}
    table: list[dict[str, Any]] = []
    for number, row in enumerate(plan.rows, start=1):
        print(f"[{number}/{len(plan.rows)}] {row.name}", flush=True)
        checkpoint = row.checkpoint
        if checkpoint is None:
            name = runs.setdefault(row.train, _file_name(row.name))
            checkpoint = _train(plan, Combination(name, row.train), out / "runs")
        table.append({"name": row.name, **_evaluate(plan, row, checkpoint, out, processes)})
        _write(table, out)
    return table


def _train(plan: AblationPlan, combination: Combination, out: Path) -> Path:
    outcome = run_combination(combination, plan.config, plan.train, out)
    if outcome.status == "interrupted":
        raise KeyboardInterrupt
    if outcome.status != "done":
        raise AblationError(f"{out / combination.name}: the training run has failed; its output says why")
    return out / combination.name / "checkpoints" / "last"


def _evaluate(plan: AblationPlan, row: AblationRow, checkpoint: Path, out: Path, processes: int) -> dict[str, Any]:
    folder = out / "evaluations" / _file_name(row.name)
    command = [sys.executable, "-m", "vla_training.evaluate", "tabletop", str(checkpoint), "--out", str(folder)]
    done = subprocess.run([*command, "--processes", str(processes), *plan.evaluate, *row.evaluate], check=False)
    if done.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    if done.returncode != 0:
        raise AblationError(
            f"{folder}: the evaluation has failed with status {done.returncode}; its output says why"
        )
    found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return {key: found[key] for key in ("mean_over_tasks", "success_rate", "mean_duration_s")}


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _write(rows: Sequence[dict[str, Any]], out: Path) -> None:
    head = ["variant", "success", "95 % interval", "seconds per success"]
    cells = [
        [
            row["name"],
            f"{100 * row['mean_over_tasks']:.1f} %",
            f"{100 * row['success_rate']['low']:.1f} - {100 * row['success_rate']['high']:.1f} %",
            "-" if row["mean_duration_s"] is None else f"{row['mean_duration_s']:.1f}",
        ]
        for row in rows
    ]
    write_json(out / "results.json", list(rows))
    lines = [head, ["---", "---:", "---:", "---:"], *cells]
    write_whole(out / "table.md", "".join(f"| {' | '.join(line)} |\n" for line in lines).encode())
    write_page(out / "table.html", "Ablation", [Section("Variants", [Table(head, cells)])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="ablate", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("plan", type=Path, metavar="PLAN.yaml", help="config/ablations/tabletop.yaml, or your own")
    parser.add_argument(
        "--out", type=Path, default=Path("evaluation/ablation"), metavar="DIR", help="(%(default)s)"
    )
    parser.add_argument("--processes", type=int, default=1, metavar="P", help="of each evaluation (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        ablate(load_config(options.plan, AblationPlan), options.out, processes=options.processes)
    except (VlaError, OSError) as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ablate: interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    print(f"{options.out / 'table.md'}, {options.out / 'table.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
