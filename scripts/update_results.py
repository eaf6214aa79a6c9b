# SPDX-License-Identifier: Apache-2.0
"""Write the tables of docs/results.md from the numbers in docs/results/.

The page is prose with tables between `<!-- NAME -->` and `<!-- /NAME -->`. Each comes from one `results.json` of
an evaluation, copied to docs/results/NAME.json, so that no number is typed:

    python scripts/update_results.py --take evaluation    # evaluation/NAME/results.json and pictures
"""

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
PAGE, NUMBERS = DOCS / "results.md", DOCS / "results"
PICTURES = ("tasks/failures.jpg", "confusion/confusion.png")
Rows = list[list[str]]


def percent(rate: dict[str, Any]) -> str:
    """Return a rate with its 95 % interval."""
    value, low, high = (100.0 * rate[key] for key in ("value", "low", "high"))
    return f"{value:.0f} % ({low:.0f}-{high:.0f})"


def tasks(found: dict[str, Any]) -> Rows:
    """Return success and time of each task, and their mean."""
    rows = [["task", "success", "scenes", "seconds"]]
    for name, task in found["tasks"].items():
        seconds = task["mean_duration_s"]
        shown = "-" if seconds is None else f"{seconds:.1f}"
        rows.append([f"`{name}`", percent(task["success_rate"]), str(task["tried"]), shown])
    return [
        *rows,
        ["**mean over tasks**", f"**{100 * found['mean_over_tasks']:.1f} %**", str(found["trials"]), ""],
    ]


def phrasings(found: dict[str, Any]) -> Rows:
    """Return success of sentences that demonstrations show, and of those that they do not."""
    names = {"seen": "sentences of the demonstrations", "held_out": "held-out sentences"}
    rates = found["phrasings"].items()
    body = [[names[key], percent(rate["success_rate"]), str(rate["tried"])] for key, rate in rates]
    return [["phrasings", "success", "scenes"], *body]


def chains(found: dict[str, Any]) -> Rows:
    """Return how many tasks of five are done in a row."""
    numbers = found["chains"]
    length = numbers["average_length"]
    rows = [
        [name.replace("SR_", "") + " in a row", percent(rate)] for name, rate in numbers["success_rates"].items()
    ]
    mean = f"{length['value']:.2f} ({length['low']:.2f}-{length['high']:.2f})"
    return [["chains of five", f"{numbers['chains']} chains"], *rows, ["**Avg. Len**", f"**{mean}**"]]


def obeyed(found: dict[str, Any]) -> Rows:
    """Return what came true first where every possible task was asked for in the same scenes."""
    shares = found["confusion"]
    names = {
        "right_task_first": "the task that was asked for",
        "other_task_first": "another task",
        "task_without_meaning": "any task, after a sentence without meaning",
    }
    return [
        ["came true first", "share", "sentences"],
        *([text, percent(shares[key]["success_rate"]), str(shares[key]["tried"])] for key, text in names.items()),
    ]


def ablation(found: list[dict[str, Any]]) -> Rows:
    """Return the variants side by side."""
    rows = [["variant", "success", "seconds"]]
    for row in found:
        seconds = row["mean_duration_s"]
        rows.append([row["name"], percent(row["success_rate"]), "-" if seconds is None else f"{seconds:.1f}"])
    return rows


TABLES: dict[str, Callable[[Any], Rows]] = {
    "tasks": tasks,
    "tasks_ros": tasks,
    "phrasings": phrasings,
    "chains": chains,
    "confusion": obeyed,
    "ablation": ablation,
}


def markdown(rows: Rows) -> str:
    """Return rows as a table; the first is its head."""
    head, *body = rows
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *body))


def updated(page: str) -> str:
    """Return the page with every table written anew."""
    for name, build in TABLES.items():
        source = NUMBERS / f"{name}.json"
        if source.exists():
            table = markdown(build(json.loads(source.read_text(encoding="utf-8"))))
            block = f"<!-- {name} -->\n{table}<!-- /{name} -->"
            page, count = re.subn(rf"<!-- {name} -->\n.*?<!-- /{name} -->", lambda _: block, page, flags=re.DOTALL)  # noqa: B023
            if count != 1:
                raise SystemExit(f"{PAGE}: {count} places for the table '{name}'; write <!-- {name} --> once")
    return page


def take(evaluations: Path) -> None:
    """Copy the numbers and pictures of finished evaluations to where the page has its own from."""
    NUMBERS.mkdir(exist_ok=True)
    sources = {name: evaluations / name / "results.json" for name in TABLES}
    found = {name: source for name, source in sources.items() if source.exists()}
    if not found:
        raise SystemExit(f"{evaluations}: no evaluation; expected {', '.join(map(str, sources.values()))}")
    for name, source in found.items():
        shutil.copyfile(source, NUMBERS / f"{name}.json")
    for picture in (evaluations / name for name in PICTURES):
        if picture.exists():
            shutil.copyfile(picture, NUMBERS / picture.name)
    print(f"taken: {', '.join(found)}")


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="only tell whether the page is up to date")
    parser.add_argument(
        "--take", type=Path, metavar="DIR", help="first take the numbers from DIR/NAME/results.json"
    )
    options = parser.parse_args()
    if options.take:
        take(options.take)
    found = PAGE.read_text(encoding="utf-8")
    wanted = updated(found)
    if options.check:
        if found != wanted:
            print(f"{PAGE} is not what docs/results/ says; run scripts/update_results.py", file=sys.stderr)
        return int(found != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
