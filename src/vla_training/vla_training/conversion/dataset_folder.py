# SPDX-License-Identifier: Apache-2.0
"""``OUT``: the dataset that grows by whole bags, and never looks whole when it is not.

Frames get their final numbers when all bags of a run are converted. Where they will lie is written down first,
then they are moved, then the index files are written; a run that is killed in between goes on from what is written
down.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_core.checkpoint_card import RobotSnapshot
from vla_core.config import read_yaml, to_plain
from vla_core.errors import ConfigError
from vla_core.robot_spec import RobotSpec
from vla_core.whole_file import write_json, write_yaml
from vla_training.bags.bag_folder import contents_in
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.episode_writer import DatasetFormat, StoredEpisode, Stretch
from vla_training.conversion.report import dataset_report
from vla_training.conversion.work_folder import WorkFolder
from vla_training.datasets.dataset_card import DATASET_FILE, DatasetCard
from vla_training.datasets.splits import SPLITS, Split

SETTINGS_FILE = "conversion.yaml"
LEDGER_FILE = "episodes.json"
REPORT_FILE = "report.json"
_PLACING_FILE = "placing.json"


@dataclass(frozen=True)
class Ledger:
    """Every bag that was converted, and every episode of the dataset, in order.

    Attributes:
        bags: Reports of the bags.
        episodes: The episodes.
    """

    bags: tuple[dict[str, Any], ...] = ()
    episodes: tuple[StoredEpisode, ...] = field(default=())

    @classmethod
    def load(cls, path: Path) -> "Ledger":
        """Return the ledger in a file; an empty one when there is none."""
        if not path.is_file():
            return cls()
        data = json.loads(path.read_text(encoding="utf-8"))
        episodes = (
            StoredEpisode(**{**entry, "stretches": tuple(Stretch(**own) for own in entry["stretches"])})
            for entry in data["episodes"]
        )
        return cls(tuple(data["bags"]), tuple(episodes))

    def bag(self, key: str) -> dict[str, Any] | None:
        """Return the report of a bag that is in the dataset, under this name or, copied, under another one."""
        copies = [report for report in self.bags if contents_in(report["key"]) == contents_in(key)]
        return next((report for report in copies if report["key"] == key), copies[0] if copies else None)


class DatasetFolder:
    """The folder of one dataset, held against other processes while it is open.

    Args:
        path: ``OUT``; made when it is not there.
        spec: The robot.
        config: Every choice; one folder has one.
        overwrite: Remove the dataset that is there.

    Raises:
        ConfigError: The folder holds something else, or was made with other settings, or is in use.
    """

    def __init__(self, path: Path, spec: RobotSpec, config: ConversionConfig, *, overwrite: bool) -> None:
        self._path, self._spec, self._config = path, spec, config
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise ConfigError(f"{path}: a file is in the place of this folder. Give another folder") from None
        self._lock = _locked(path)
        try:
            _require_own(path)
            if overwrite:
                _remove_contents(path)
            self._keep_settings()
            self.work = WorkFolder(self.work_path)
            self.ledger = Ledger.load(path / LEDGER_FILE)
        except BaseException:
            self.close()
            raise

    @property
    def work_path(self) -> Path:
        """Where whole episodes wait."""
        return self._path / ".work"

    def close(self) -> None:
        """Let other processes use the folder."""
        os.close(self._lock)

    def resume_placing(self, dataset: DatasetFormat) -> None:
        """Finish what a killed run had begun to move."""
        if (self.work_path / _PLACING_FILE).is_file():
            self._place(Ledger.load(self.work_path / _PLACING_FILE), dataset)
            self.work = WorkFolder(self.work_path)
        self.work.forget_drafts()

    def append(self, reports: Sequence[dict[str, Any]], dataset: DatasetFormat) -> None:
        """Move the episodes of converted bags into the dataset, behind those that are there."""
        known = {contents_in(report["key"]) for report in reports}
        bags = [bag for bag in self.ledger.bags if contents_in(bag["key"]) not in known]
        ledger = Ledger((*bags, *reports), (*self.ledger.episodes, *self._stored(reports)))
        write_json(self.work_path / _PLACING_FILE, to_plain(ledger))
        self._place(ledger, dataset)

    def _place(self, ledger: Ledger, dataset: DatasetFormat) -> None:
        for episode in ledger.episodes:
            source = self.work.episode(episode.source_key) / episode.key
            if source.is_dir():
                dataset.place(source, self._path, episode)
        if ledger.episodes:
            card = DatasetCard(
                robot=RobotSnapshot.of(self._spec),
                action_space=self._config.action_space,
                period_s=self._config.period_s,
            )
            write_yaml(self._path / DATASET_FILE, to_plain(card))
            dataset.write_index(self._path, ledger.episodes)
        write_json(
            self._path / REPORT_FILE, dataset_report(ledger.bags, ledger.episodes, self._spec, self._config.format)
        )
        write_json(self._path / LEDGER_FILE, to_plain(ledger))
        self.ledger = ledger
        shutil.rmtree(self.work_path)

    def _stored(self, reports: Sequence[Mapping[str, Any]]) -> list[StoredEpisode]:
        """Return new episodes with their places behind those that are there."""
        before = self.ledger.episodes
        num_frames = {split: sum(e.num_frames for e in before if e.split == split) for split in SPLITS}
        num_episodes = {split: sum(e.split == split for e in before) for split in SPLITS}
        num_sources = len({episode.source_key for episode in before})
        stored = []
        for key in (episode["key"] for report in reports for episode in report["episodes"] if episode["frames"]):
            split = self._split(key, num_sources)
            num_sources += 1
            for piece in self.work.facts(key)["pieces"]:
                stretches = (Stretch(first=a, last=b, instruction=text) for a, b, text in piece["stretches"])
                episode = StoredEpisode(
                    key=piece["key"],
                    split=split,
                    index=num_episodes[split],
                    first_frame=num_frames[split],
                    num_frames=piece["num_frames"],
                    stretches=tuple(stretches),
                    facts=piece["facts"],
                )
                stored.append(episode)
                num_episodes[split] += 1
                num_frames[split] += episode.num_frames
        return stored

    def _split(self, key: str, number: int) -> Split:
        every = self._config.validation_every
        if every is not None:
            return "validation" if number % every == every - 1 else "training"
        share = int.from_bytes(hashlib.blake2b(contents_in(key).encode(), digest_size=8).digest(), "big") / 2.0**64
        return "validation" if share < self._config.validation_share else "training"

    def _keep_settings(self) -> None:
        settings = {"config": to_plain(self._config), "robot": to_plain(self._spec)}
        path = self._path / SETTINGS_FILE
        if not path.exists():
            write_yaml(path, settings)
            return
        was = read_yaml(path)
        for key in ("config", "robot"):
            changed = _first_difference(was.get(key), settings[key]) if isinstance(was, Mapping) else key
            if changed:
                raise ConfigError(
                    f"{path}: the dataset was begun with another {key}{changed}. Convert with the same settings, "
                    "into another folder, or with --overwrite"
                )


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigError(f"{path}: another conversion is writing there. Wait for it") from None
    return descriptor


def _require_own(path: Path) -> None:
    """Refuse a folder with contents that no conversion has made; settings that were half written count as none."""
    others = [entry for entry in path.iterdir() if not entry.name.startswith(f".{SETTINGS_FILE}.")]
    if others and not (path / SETTINGS_FILE).is_file():
        raise ConfigError(f"{path}: the folder is not empty and holds no converted dataset. Give another one")


def _remove_contents(path: Path) -> None:
    """Remove a dataset; what tells that the folder is a conversion's goes last, for a run that is killed here."""
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name == SETTINGS_FILE):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _first_difference(was: Any, now: Any) -> str:
    """Return the first difference between two plain settings in words, empty for none."""
    if was == now:
        return ""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in now:
            if was.get(key) != now[key]:
                inner = _first_difference(was.get(key), now[key])
                return f".{key}{inner}"
    return f" ({was!r}, now {now!r})"
