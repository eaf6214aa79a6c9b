# SPDX-License-Identifier: Apache-2.0
"""Look through a dataset before anything is trained: findings on the terminal, and a page to look at."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vla_core.config import to_plain
from vla_core.errors import ConfigError, VlaError
from vla_core.whole_file import write_json
from vla_training.inspection.survey import Survey, survey
from vla_training.inspection.survey_page import write_survey_page

MAX_SAMPLES = 24
NUM_PAIRS = 8
SHOWN = 20
PAGE_NAME = "inspection.html"


def inspect_dataset(
    dataset: Path,
    out: Path,
    *,
    max_samples: int = MAX_SAMPLES,
    num_pairs: int = NUM_PAIRS,
    show_progress: bool = False,
) -> Survey:
    """Look through a dataset and write a page about it.

    Args:
        dataset: Its folder: CALVIN's layout, the packed one, or LeRobot's.
        out: The HTML file.
        max_samples: Episodes of each split that are shown.
        num_pairs: Pairs of neighbouring pictures that are compared in each episode, for each camera.
        show_progress: Draw a bar with the time that is left.

    Raises:
        VlaError: It cannot be read, or nothing of it is to be looked at.
    """
    for flag, number in (("--samples", max_samples), ("--pairs", num_pairs)):
        if number < 1:
            raise ConfigError(f"{flag} is {number}; at least one is needed")
    found = survey(dataset, max_samples=max_samples, num_pairs=num_pairs, show_progress=show_progress)
    write_survey_page(found, out)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 clean, 1 unreadable, 2 something was found."""
    options = _parser().parse_args(arguments)
    out = options.out or options.dataset / PAGE_NAME
    try:
        found = inspect_dataset(
            options.dataset,
            out,
            max_samples=options.samples,
            num_pairs=options.pairs,
            show_progress=not options.quiet,
        )
        if options.json is not None:
            write_json(options.json, plain(found))
    except (VlaError, OSError) as error:
        print(f"inspect_dataset: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("inspect_dataset: stopped", file=sys.stderr)
        return 130
    print(_summary(found, out))
    return 2 if any(finding.severity != "note" for finding in found.findings) else 0


def plain(found: Survey) -> dict[str, Any]:
    """Return a survey as plain data, without pictures and paths."""
    return {
        "dataset": str(found.dataset),
        "card": to_plain(found.card),
        "splits": {
            split: {
                "layout": own.layout,
                "episodes": own.num_episodes,
                "frames": own.num_frames,
                "lengths": own.lengths,
                "clipped": own.num_clipped,
                "share_open": own.share_open,
                "annotations": own.annotations,
                "sentences": {text: {"times": t, "frames": f} for text, (t, f) in own.sentences.items()},
                "histograms": own.histograms.tolist(),
                "tcp_low_m": own.low_m.tolist() if own.num_frames else None,
                "tcp_high_m": own.high_m.tolist() if own.num_frames else None,
            }
            for split, own in found.splits.items()
        },
        "findings": [asdict(finding) for finding in found.findings],
    }


def _summary(found: Survey, out: Path) -> str:
    lines = [
        f"{split}: {own.num_episodes} episodes, {own.num_frames} frames, {len(own.sentences)} sentences"
        for split, own in found.splits.items()
    ]
    lines += [f"  {own.severity:7} {own.kind:10} {own.where}: {own.text}" for own in found.findings[:SHOWN]]
    if len(found.findings) > SHOWN:
        lines.append(f"  ... and {len(found.findings) - SHOWN} more")
    return "\n".join([*lines, f"page: {out}"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="inspect_dataset", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    add = parser.add_argument
    add("dataset", type=Path, metavar="DIR", help="folder of a dataset, in any layout")
    add("--out", type=Path, metavar="PAGE.html", help=f"the page (default: DIR/{PAGE_NAME})")
    add("--json", type=Path, metavar="FILE", help="write the numbers and all findings there")
    add("--samples", type=int, default=MAX_SAMPLES, help="episodes of each split to show (default: %(default)s)")
    add("--pairs", type=int, default=NUM_PAIRS, help="pictures to compare per episode (default: %(default)s)")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    sys.exit(main())
