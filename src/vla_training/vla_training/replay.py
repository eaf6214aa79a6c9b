# SPDX-License-Identifier: Apache-2.0
"""Send a dataset's recorded actions through guard and commands to the simulated arm, and compare the paths.

This proves frames, signs and scales of the actions before anyone trusts a policy that has learned them. An episode
whose actions were clipped cannot be followed and is listed apart.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vla_core.errors import VlaError
from vla_core.robot_spec import RobotSpec
from vla_core.whole_file import write_json
from vla_training.datasets.splits import SPLITS, Split
from vla_training.inspection.episode_replay import EpisodeReplay, ReplayError, replay_episode
from vla_training.inspection.open_episodes import open_episodes
from vla_training.simulated_arm import SimulatedArm

MAX_ERROR_MM = 2.0
MAX_ERROR_DEG = 1.0


def replay_dataset(
    dataset: Path,
    spec: RobotSpec,
    *,
    split: Split = "training",
    episodes: Sequence[int] | None = None,
    show_progress: bool = False,
) -> Iterator[EpisodeReplay]:
    """Yield how the replay of each episode went.

    Args:
        dataset: Folder of a dataset, in any layout.
        spec: The robot that recorded it.
        split: Which split.
        episodes: Numbers of episodes; ``None`` for all.
        show_progress: Draw a bar with the time that is left.

    Raises:
        VlaError: The dataset cannot be read, has no such episode, or the simulated arm is not here.
    """
    source = open_episodes(dataset, split)
    card = source.card
    if card.robot.name != spec.name:
        raise VlaError(
            f"{dataset}: recorded with the robot '{card.robot.name}', but the robot spec is of '{spec.name}'. "
            "Give the spec that it was recorded with"
        )
    wanted = list(source.episodes)
    if episodes is not None:
        unknown = sorted(set(episodes) - set(range(len(wanted))))
        if unknown:
            raise VlaError(
                f"{dataset}: there is no episode {unknown[0]} in '{split}'; it has 0 to {len(wanted) - 1}"
            )
        wanted = [wanted[k] for k in episodes]
    arm = SimulatedArm(spec)
    for episode in tqdm(wanted, unit="episode", disable=not show_progress):
        if len(episode) >= 2:
            yield replay_episode(arm, card, split, episode, source.numbers(episode))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 when an unclipped episode is beyond the limits."""
    options = _parser().parse_args(arguments)
    limits = (options.max_error_mm, options.max_error_deg)
    try:
        replays = list(
            replay_dataset(
                options.dataset,
                RobotSpec.load(options.robot),
                split=options.split,
                episodes=options.episode,
                show_progress=not options.quiet,
            )
        )
        if options.json is not None:
            write_json(options.json, [_plain(replay, *limits) for replay in replays])
    except (VlaError, OSError) as error:
        print(f"replay: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("replay: stopped", file=sys.stderr)
        return 130
    print(summary(replays, *limits))
    far = [replay for replay in replays if replay.judged is not None and not replay.is_within(*limits)]
    if far:
        print(
            f"replay: {len(far)} of {len(replays)} episodes left the recorded path by more than {limits[0]:g} mm "
            f"or {limits[1]:g} deg, the first is episode {far[0].episode}. Look at the frame of the actions "
            "(dataset.yaml), at signs and scale, and at the robot spec",
            file=sys.stderr,
        )
    is_proven = any(replay.judged is not None for replay in replays)
    if not is_proven:
        print("replay: nothing was proven: no episode has a row of actions that are not clipped", file=sys.stderr)
    return 0 if is_proven and not far else 1


def summary(replays: Sequence[EpisodeReplay], max_error_mm: float, max_error_deg: float) -> str:
    """Return a line per episode, clipped ones apart, and the largest errors."""
    limits = (max_error_mm, max_error_deg)
    whole = [replay for replay in replays if not replay.num_clipped]
    clipped = [replay for replay in replays if replay.num_clipped]
    lines = [_line(replay, replay.whole, limits) for replay in whole]
    if clipped:
        lines.append("clipped; judged by the longest row without a clipped action, which is shown:")
        lines += [_line(replay, replay.judged or replay.whole, limits) for replay in clipped]
    judged = [replay.judged for replay in replays if replay.judged is not None]
    if judged:
        lines.append(
            f"{len(whole)} unclipped and {len(clipped)} clipped episodes; at most "
            f"{max(error.max_m for error in judged) * 1e3:.2f} mm and "
            f"{math.degrees(max(error.max_rad for error in judged)):.2f} deg from the recorded path, "
            f"{max(error.beyond_m for error in judged) * 1e3:.2f} mm and "
            f"{math.degrees(max(error.beyond_rad for error in judged)):.2f} deg on top of its own stray"
        )
    return "\n".join(lines)


def _line(replay: EpisodeReplay, error: ReplayError, limits: tuple[float, float]) -> str:
    notes = [f"{replay.num_clipped} actions clipped"] if replay.num_clipped else []
    if error.num_frames < replay.whole.num_frames:
        notes.append(f"shown from frame {error.first}, whole {replay.whole.max_m * 1e3:.1f} mm")
    notes += [f"guard: {stage} {count}x" for stage, count in error.interventions.items()]
    word = "???" if replay.judged is None else "ok " if replay.is_within(*limits) else "FAR"
    return (
        f"  {word} episode {replay.episode:4d} {error.num_frames:5d} frames  "
        f"max {error.max_m * 1e3:6.2f} mm {math.degrees(error.max_rad):6.2f} deg  "
        f"mean {error.mean_m * 1e3:5.2f} mm {math.degrees(error.mean_rad):5.2f} deg  "
        f"beyond {error.beyond_m * 1e3:5.2f} mm {math.degrees(error.beyond_rad):5.2f} deg  "
        f"lag {error.lag_s * 1e3:3.0f} ms" + ("  " + ", ".join(notes) if notes else "")
    )


def _plain(replay: EpisodeReplay, max_error_mm: float, max_error_deg: float) -> dict[str, Any]:
    return {**asdict(replay), "is_within": replay.is_within(max_error_mm, max_error_deg)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="replay", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("dataset", type=Path, metavar="DATASET", help="folder of a dataset, in any layout")
    add("--robot", type=Path, required=True, metavar="SPEC.yaml", help="robot that recorded it")
    add("--split", choices=SPLITS, default="training", help="default: %(default)s")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--episode", type=int, nargs="+", metavar="N", help="only these")
    which.add_argument("--all", action="store_true", help="all episodes (default)")
    add("--max-error-mm", type=float, default=MAX_ERROR_MM, help="default: %(default)s")
    add("--max-error-deg", type=float, default=MAX_ERROR_DEG, help="default: %(default)s")
    add("--json", type=Path, metavar="FILE.json", help="write the numbers there, too")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


if __name__ == "__main__":
    sys.exit(main())
