# SPDX-License-Identifier: Apache-2.0
"""One bag to whole episodes in the work folder and a report: the unit of work that processes share out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_core.robot_spec import RobotSpec
from vla_training.bags.bag_folder import Bag
from vla_training.bags.raw_message import Advance, BagError
from vla_training.conversion.bag_labels import BagLabels
from vla_training.conversion.bag_scan import BagScan, scan_bag
from vla_training.conversion.capture_faults import capture_of_bag, clock_notes
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.episode_plan import EpisodePlan
from vla_training.conversion.episode_writer import DatasetFacts
from vla_training.conversion.formats import dataset_format
from vla_training.conversion.picture_pass import write_bag_episodes
from vla_training.conversion.work_folder import WorkFolder


@dataclass(frozen=True, kw_only=True)
class BagJob:
    """What a process is told.

    Attributes:
        bag: The bag.
        labels: What people wrote about it.
        spec: The robot, with the delays in force.
        config: Every choice.
        work: The work folder of the dataset.
    """

    bag: Bag
    labels: BagLabels
    spec: RobotSpec
    config: ConversionConfig
    work: Path


def convert_bag(job: BagJob, advance: Advance) -> dict[str, Any]:
    """Write the episodes of a bag; return its report. What is there already is not written again.

    A bag that cannot be used is a report that says so, not an error: other bags go on.
    """
    work = WorkFolder(job.work)
    key = job.bag.key
    work.begin_bag(key, job.labels.digest)
    report: dict[str, Any] = {"key": key, "name": job.bag.name, "labels": job.labels.digest, "skipped": None}
    try:
        report |= _convert(job, work, advance)
    except BagError as error:
        report |= {"skipped": str(error), "episodes": []}
    work.keep_bag(key, report)
    return report


def _convert(job: BagJob, work: WorkFolder, advance: Advance) -> dict[str, Any]:
    scan = scan_bag(job.bag, job.spec, job.config, advance)
    facts = DatasetFacts(spec=job.spec, action_space=job.config.action_space, period_s=job.config.period_s)
    dataset = dataset_format(job.config, facts)
    plans = write_bag_episodes(
        scan, job.labels, spec=job.spec, config=job.config, dataset=dataset, work=work, advance=advance
    )
    return _report(scan, plans, job, work)


def _report(scan: BagScan, plans: list[EpisodePlan], job: BagJob, work: WorkFolder) -> dict[str, Any]:
    return {
        "damage": scan.damage,
        "seconds": round((scan.last_ns - scan.first_ns) / 1e9, 3),
        "streams": capture_of_bag(scan, job.spec),
        "undecodable": {
            topic: {"messages": number, "first": error} for topic, (number, error) in scan.undecodable.items()
        },
        "out_of_order": scan.num_unordered,
        "notes": [*_missing_parts(job.bag), *(clock_notes(scan) if job.config.stamps == "header" else [])],
        "episodes": [
            work.facts(plan.key)["report"] if work.has_episode(plan.key) else plan.report for plan in plans
        ],
    }


def _missing_parts(bag: Bag) -> list[str]:
    missing = ", ".join(bag.missing_parts)
    return (
        [f"{missing} of its recording, which metadata.yaml names, is not there. Copy the whole folder"]
        if missing
        else []
    )
