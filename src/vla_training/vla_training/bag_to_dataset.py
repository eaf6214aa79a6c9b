# SPDX-License-Identifier: Apache-2.0
"""Turn recorded bags into a dataset for training.

A bag that is damaged gives every whole episode before the damage. A run that was killed goes on when it is run
again; further bags are appended. Nothing is filled in: what was left out, and why, is in the report.
"""

import argparse
import errno
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from vla_core.config import build, read_yaml
from vla_core.errors import ConfigError, VlaError
from vla_core.instruction import clean_instruction
from vla_core.robot_spec import RobotSpec
from vla_core.whole_file import write_json
from vla_training.bags.bag_folder import Bag, find_bags
from vla_training.bags.raw_message import Advance, ignore_progress
from vla_training.conversion.bag_labels import BagLabels, SentencesFile
from vla_training.conversion.config import ConversionConfig, EpisodesFrom, FormatName, Source
from vla_training.conversion.convert_bag import BagJob
from vla_training.conversion.dataset_folder import DatasetFolder
from vla_training.conversion.episode_writer import DatasetFacts
from vla_training.conversion.formats import dataset_format
from vla_training.conversion.report import dataset_report, problems, summary
from vla_training.conversion.workers import run_jobs


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What a conversion did.

    Attributes:
        report: The contents of ``report.json``.
        problems: What was skipped or damaged, sentence by sentence; bags that were not touched included.
    """

    report: dict[str, Any]
    problems: tuple[str, ...]

    @property
    def exit_status(self) -> int:
        """0 all is well, 1 there is no episode, 2 something was skipped or damaged."""
        if not self.report["totals"]["episodes"]:
            return 1
        return 2 if self.problems else 0


def bag_to_dataset(
    bags: Sequence[Path],
    out: Path,
    spec: RobotSpec,
    config: ConversionConfig,
    *,
    instructions: Path | None = None,
    workers: int = 1,
    ray_address: str | None = None,
    overwrite: bool = False,
    show_progress: bool = False,
) -> Conversion:
    """Convert bags into a dataset, or append them to one.

    Args:
        bags: Folders of bags, storage files, or folders that contain bags.
        out: Folder of the dataset.
        spec: The robot.
        config: Every choice about the frames.
        instructions: File of sentences.
        workers: Processes on this machine.
        ray_address: Address of a Ray cluster instead.
        overwrite: Remove the dataset that is there.
        show_progress: Draw a bar with the time that is left.

    Raises:
        VlaError: Nothing can be done; the sentence says why.
    """
    if workers < 1:
        raise ConfigError(f"--workers is {workers}; at least one is needed")
    config.require_rate(spec)
    spec = config.with_delays(spec)
    facts = DatasetFacts(spec=spec, action_space=config.action_space, period_s=config.period_s)
    dataset = dataset_format(config, facts)
    sentences = SentencesFile(instructions)
    found = find_bags(bags)
    folder = DatasetFolder(out, spec, config, overwrite=overwrite)
    try:
        folder.resume_placing(dataset)
        jobs, done, complaints = _jobs(found, sentences, folder, spec, config)
        total = 2 * sum(job.bag.num_bytes for job in jobs)
        with tqdm(total=total, unit="B", unit_scale=True, disable=not show_progress) as bar:
            advance: Advance = bar.update if show_progress else ignore_progress
            for report in run_jobs(jobs, workers=workers, ray_address=ray_address, advance=advance):
                done[report["key"]] = report
        order = {bag.key: None for bag in found}
        folder.append([done[key] for key in order if key in done], dataset)
        ledger = folder.ledger
        report = dataset_report(ledger.bags, ledger.episodes, spec, config.format)
        return Conversion(report=report, problems=(*complaints, *problems(ledger.bags)))
    finally:
        folder.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 all is well, 1 nothing was done, 2 something was skipped."""
    options = _parser().parse_args(arguments)
    try:
        done = bag_to_dataset(
            options.bags,
            options.out,
            RobotSpec.load(options.robot),
            _config(options),
            instructions=options.instructions,
            workers=options.workers,
            ray_address=options.ray,
            overwrite=options.overwrite,
            show_progress=not options.quiet,
        )
        if options.report is not None:
            options.report.parent.mkdir(parents=True, exist_ok=True)
            write_json(options.report, done.report)
    except (VlaError, OSError) as error:
        print(f"bag_to_dataset: {error}{_advice(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bag_to_dataset: stopped. The same command goes on where this one ended", file=sys.stderr)
        return 130
    for problem in done.problems:
        print(f"bag_to_dataset: {problem}", file=sys.stderr)
    print(summary(done.report))
    return 1 if options.strict and done.problems else done.exit_status


def _advice(error: Exception) -> str:
    """Return what to do about what an operating system says in few words."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ". Make room; the same command goes on where this one ended"
    return (
        ". Give a folder that can be written" if isinstance(error, OSError) and error.errno == errno.EROFS else ""
    )


def _jobs(
    bags: Sequence[Bag], sentences: SentencesFile, folder: DatasetFolder, spec: RobotSpec, config: ConversionConfig
) -> tuple[list[BagJob], dict[str, dict[str, Any]], list[str]]:
    """Return what is to be done, the reports of what is done but not yet in the dataset, and complaints."""
    jobs: dict[str, BagJob] = {}
    done: dict[str, dict[str, Any]] = {}
    unknown = sorted(sentences.names - {bag.name for bag in bags})
    complaints = [f"the file of sentences names the bag '{name}', which is not there" for name in unknown]
    first: dict[str, Bag] = {}
    for bag in bags:
        key = bag.key
        original = first.get(bag.fingerprint)
        if original is not None:
            complaints.append(f"{bag.folder}: copy of {original.folder}; skipped")
            continue
        try:
            labels = sentences.labels_of(bag)
        except ConfigError as error:
            complaints.append(f"{bag.name}: skipped: {error}")
            continue
        first[bag.fingerprint] = bag
        placed = folder.ledger.bag(key)
        if placed is not None and _is_final(placed, labels):
            if placed["key"] != key:
                complaints.append(f"{bag.folder}: copy of {placed['name']}, which is in the dataset; skipped")
            elif placed["labels"] != labels.digest:
                complaints.append(
                    f"{bag.name}: its sentence or outcome has changed since it was converted. Use --overwrite"
                )
            continue
        waiting = folder.work.bag_report(key)
        if waiting is not None and waiting["labels"] == labels.digest:
            done[key] = waiting
        else:
            jobs[key] = BagJob(bag=bag, labels=labels, spec=spec, config=config, work=folder.work_path)
    return list(jobs.values()), done, complaints


def _is_final(report: dict[str, Any], labels: BagLabels) -> bool:
    """Return whether a bag in the dataset stays as it is: it gave frames, or nothing about it can have changed."""
    if any(episode["frames"] for episode in report["episodes"]):
        return True
    return bool(report["labels"] == labels.digest and not report["skipped"] and not report.get("damage"))


def _config(options: argparse.Namespace) -> ConversionConfig:
    """Return the configuration of the YAML file, with the flags that were given in its place."""
    data = {} if options.config is None else read_yaml(options.config) or {}
    if not isinstance(data, dict):
        raise ConfigError(f"{options.config}: expected a mapping of options")
    for field in fields(ConversionConfig):
        value = getattr(options, field.name)
        if value is not None:
            data[field.name] = value
    where = "options" if options.config is None else str(options.config)
    if isinstance(data.get("instruction"), str):
        data["instruction"] = clean_instruction(data["instruction"])
        if not data["instruction"]:
            raise ConfigError(f"{where}: instruction: the sentence is empty; write one, or leave the option out")
    return build(ConversionConfig, data, where=where)


def _delay(text: str) -> tuple[str, float]:
    stream, _, delay_ms = text.partition("=")
    try:
        return stream, float(delay_ms)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not STREAM=MILLISECONDS, for example static=30") from None


class _Delays(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), **dict(values)})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bag_to_dataset", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("bags", type=Path, nargs="+", metavar="BAG", help="folder of a bag, storage file, or folder of bags")
    add("--robot", type=Path, required=True, metavar="SPEC.yaml", help="robot that was recorded")
    add("--out", type=Path, required=True, metavar="DIR", help="dataset to write, to go on with or to append to")
    add("--config", type=Path, metavar="FILE.yaml", help="these options in a file; flags go before it")
    add("--instructions", type=Path, metavar="FILE.yaml", help="bag name to sentence, sentences or ranges")
    add("--workers", type=int, default=1, help="bags that are converted at the same time")
    add("--ray", metavar="ADDRESS", help="convert on this Ray cluster instead")
    add("--report", type=Path, metavar="FILE.json", help="write the report there, too (always: DIR/report.json)")
    add("--overwrite", action="store_true", help="remove the dataset that is there")
    add("--strict", action="store_true", help="exit with 1 when anything was skipped")
    add("--quiet", action="store_true", help="no progress bar")
    _add_choices(parser.add_argument_group("what the frames are (docs/conversion.md)"))
    return parser


def _add_choices(group: Any) -> None:
    add, switch = group.add_argument, argparse.BooleanOptionalAction
    add("--format", choices=get_args(FormatName), help="layout of the dataset (default: calvin)")
    add("--rate-hz", type=float, help="frames per second (default: 10)")
    add("--namespace", help="where the relative topics of the robot spec are")
    add("--stamps", choices=("header", "receive"), help="when a message was made (default: header)")
    add("--delay-ms", type=_delay, nargs="+", action=_Delays, metavar="STREAM=MS", help="instead of the robot's")
    add("--action-source", choices=get_args(Source), help="motion from commands or measured poses")
    add("--action-frame", choices=("tcp", "base"), help="frame of the actions (default: tcp)")
    add("--translation-m", type=float, help="motion that an action of 1 stands for (default: 0.02, CALVIN's)")
    add("--rotation-rad", type=float, help="the same for rotation (default: 0.05, CALVIN's)")
    add("--gripper-source", choices=get_args(Source), help="gripper from commands or the measured opening")
    add("--twist-timeout-s", type=float, help="a twist not repeated for this long has ended")
    add("--episodes-from", choices=get_args(EpisodesFrom), help="what cuts a bag into episodes")
    add("--gap-s", type=float, help="with gaps: this long without an observation ends an episode")
    add("--instruction", metavar="TEXT", help="the sentence of everything")
    add("--trim-idle", action=switch, default=None, help="leave out standing still at both ends")
    add("--idle-m", type=float, help="less is no motion, metres per frame")
    add("--idle-rad", type=float, help="less is no rotation, radians per frame")
    add("--idle-margin", type=int, help="frames of standing still that stay at each end")
    add("--min-frames", type=int, help="an unbroken row of fewer frames is left out")
    add("--keep-failed", action=switch, default=None, help="convert failed episodes, too")
    add("--keep-cut", action=switch, default=None, help="convert what there is of an episode cut by damage")
    add("--validation-share", type=float, help="share of the episodes for validation (default: 0.1)")
    add("--validation-every", type=int, metavar="N", help="every n-th episode for validation instead")
    add("--compress", action=switch, default=None, help="compress the frames")


if __name__ == "__main__":
    sys.exit(main())
