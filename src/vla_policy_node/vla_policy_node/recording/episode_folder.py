# SPDX-License-Identifier: Apache-2.0
"""The folder of one episode: its name, its lock while it is recorded, and the room kept back for its ending."""

import fcntl
import os
import re
import shutil
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

from vla_core.units import NS_PER_S

DISCARDED_FOLDER = "discarded"
AUDIT_FILE = "audit.json"
_RESERVE_FILE = ".reserve"
_RESERVE_BYTES = 8 * 1024 * 1024
_MAX_SLUG_CHARS = 48


def episode_name(started_ns: int, instruction: str) -> str:
    """Return the name of an episode: when it began (UTC, to the millisecond), and its sentence."""
    moment = datetime.fromtimestamp(started_ns // NS_PER_S, tz=UTC)
    milliseconds = started_ns // 1_000_000 % 1000
    plain = unicodedata.normalize("NFKD", instruction).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")[:_MAX_SLUG_CHARS].rstrip("_")
    return f"{moment:%Y%m%dT%H%M%S}.{milliseconds:03d}Z_{slug or 'episode'}"


def free_bytes(path: Path) -> int:
    """Return the room that is left on the disk of a folder."""
    return shutil.disk_usage(path).free


class OpenFolder:
    """The folder of an episode that is being recorded or repaired. Nobody else touches it until it is closed.

    The lock is the kernel's: it ends with the process, however that ends.

    Args:
        path: The folder.
        keeps_room: Put room aside, so that the ending fits on a disk that has become full.

    Raises:
        BlockingIOError: Another process is at it.
        OSError: There is no room, or no permission.
    """

    def __init__(self, path: Path, keeps_room: bool = False) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if keeps_room:
                _set_aside(path / _RESERVE_FILE)
        except OSError:
            os.close(self._fd)
            raise

    def release_room(self) -> None:
        """Give back the room that was put aside."""
        (self.path / _RESERVE_FILE).unlink(missing_ok=True)

    def close(self) -> None:
        """Let others at the folder."""
        os.close(self._fd)


def _set_aside(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.posix_fallocate(fd, 0, _RESERVE_BYTES)
    finally:
        os.close(fd)
