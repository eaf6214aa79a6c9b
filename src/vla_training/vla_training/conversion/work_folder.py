# SPDX-License-Identifier: Apache-2.0
"""``OUT/.work``: episodes that are whole but not yet in the dataset, and what is being written.

An episode's folder gets its name in one step when it is whole; a bag's report, when all its episodes are. Whoever
finds a name may rely on it, and whoever is killed leaves nothing but drafts.
"""

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

from vla_core.whole_file import write_json, write_whole

_EPISODE_FILE = "episode.json"


def hold_while_alive(path: Path) -> None:
    """Let whoever wants to clean up a work folder wait for the end of this process."""
    fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_SH)


class WorkFolder:
    """The folder of one conversion.

    Args:
        path: ``OUT/.work``; made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        for name in ("drafts", "episodes", "bags"):
            (path / name).mkdir(parents=True, exist_ok=True)

    def forget_drafts(self) -> None:
        """Remove what killed processes left half done, when the last of their workers has ended."""
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            shutil.rmtree(self._path / "drafts")
            (self._path / "drafts").mkdir()
        finally:
            os.close(descriptor)

    def draft(self, key: str) -> Path:
        """Return a new empty folder for an episode that is being written."""
        folder = self._path / "drafts" / f"{key}.{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def keep(self, key: str, draft: Path, facts: dict[str, Any]) -> None:
        """Give a whole episode its name; one that is there already stays."""
        write_json(draft / _EPISODE_FILE, facts)
        try:
            draft.rename(self.episode(key))
        except OSError:
            if not self.has_episode(key):
                raise
            shutil.rmtree(draft)

    def episode(self, key: str) -> Path:
        """Return the folder of a whole episode."""
        return self._path / "episodes" / key

    def has_episode(self, key: str) -> bool:
        """Return whether an episode is there."""
        return (self.episode(key) / _EPISODE_FILE).is_file()

    def facts(self, key: str) -> dict[str, Any]:
        """Return what was kept with an episode."""
        facts: dict[str, Any] = json.loads((self.episode(key) / _EPISODE_FILE).read_text(encoding="utf-8"))
        return facts

    def begin_bag(self, key: str, labels: str) -> None:
        """Begin a bag, or go on with it; what was made of it with other labels is removed."""
        path = self._path / "bags" / f"{key}.labels"
        if path.is_file() and path.read_text(encoding="utf-8") != labels:
            self._forget_bag(key)
        write_whole(path, labels.encode())

    def _forget_bag(self, key: str) -> None:
        (self._path / "bags" / f"{key}.json").unlink(missing_ok=True)
        for folder in (self._path / "episodes").glob(f"{key}_[0-9][0-9][0-9]*"):
            shutil.rmtree(folder)

    def keep_bag(self, key: str, report: dict[str, Any]) -> None:
        """Say that all episodes of a bag are there."""
        write_json(self._path / "bags" / f"{key}.json", report)

    def bag_report(self, key: str) -> dict[str, Any] | None:
        """Return the report of a bag whose episodes are all there."""
        path = self._path / "bags" / f"{key}.json"
        if not path.is_file():
            return None
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return report
