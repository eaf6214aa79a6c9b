# SPDX-License-Identifier: Apache-2.0
"""Which bags lie below a path, of which files each is made, and what names it for good."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vla_training.bags.raw_message import BagError

SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
METADATA_FILE = "metadata.yaml"
_FINGERPRINT_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Bag:
    """One recording.

    Attributes:
        name: Name of its folder, or of its file where a folder holds several bags.
        folder: The folder that its files, and ``episode.yaml``, lie in.
        files: Its storage files, in the order of recording.
        is_whole_folder: Whether these are all files that lie there, not one that was picked.
    """

    name: str
    folder: Path
    files: tuple[Path, ...]
    is_whole_folder: bool = False

    @property
    def num_bytes(self) -> int:
        """Size of its files."""
        return sum(path.stat().st_size for path in self.files)

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of sizes, beginnings and ends of its files: the same wherever the bag lies."""
        digest = hashlib.blake2b(digest_size=6)
        for path in self.files:
            size = path.stat().st_size
            digest.update(size.to_bytes(8, "little"))
            with path.open("rb") as file:
                digest.update(file.read(_FINGERPRINT_BYTES))
                file.seek(max(0, size - _FINGERPRINT_BYTES))
                digest.update(file.read(_FINGERPRINT_BYTES))
        return digest.hexdigest()

    @property
    def key(self) -> str:
        """Name and fingerprint, fit for a file name."""
        return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', self.name)}-{self.fingerprint}"

    @property
    def missing_parts(self) -> tuple[str, ...]:
        """Names of files that ``metadata.yaml`` promises and that are not there; never for a file given alone."""
        information = _metadata(self.folder / METADATA_FILE) if self.is_whole_folder else None
        names = (information or {}).get("relative_file_paths")
        promised = [Path(name).name for name in names if isinstance(name, str)] if isinstance(names, list) else []
        if len(self.files) >= len(promised):  # people rename files
            return ()
        present = {_stem(file) for file in self.files}
        return tuple(name for name in promised if _stem(Path(name)) not in present)

    def recorded_topics(self) -> frozenset[str] | None:
        """Return the topics with messages, as ``metadata.yaml`` says; ``None`` where there is none to trust."""
        information = _metadata(self.folder / METADATA_FILE)
        if information is None or len(information.get("relative_file_paths") or []) != len(self.files):
            return None
        try:
            topics = information["topics_with_message_count"]
            names = frozenset(t["topic_metadata"]["name"] for t in topics if t["message_count"])
        except (KeyError, TypeError):
            return None
        return names or None  # a recorder that was killed may have left a provisional one


def contents_in(key: str) -> str:
    """Return what a key of a bag, or of an episode of it, tells of the contents: the same in a renamed copy."""
    return key.rpartition("-")[2]


def find_bags(paths: Iterable[Path]) -> list[Bag]:
    """Return the bags at and below paths, each once, ordered by path.

    A path is the folder of a bag, a storage file, or a folder that contains bags at any depth.

    Raises:
        BagError: There is no bag at a path.
    """
    found: dict[tuple[Path, ...], Bag] = {}
    for path in paths:
        bags = _bags_at(path)
        if not bags:
            raise BagError(f"{path}: not a readable rosbag2: no file of {', '.join(SUFFIXES)} lies there or below")
        found |= {tuple(file.resolve() for file in bag.files or (bag.folder,)): bag for bag in bags}
    return [found[files] for files in sorted(found)]


def _bags_at(path: Path) -> list[Bag]:
    if not path.exists():
        raise BagError(f"{path}: no such file or folder. Give a bag")
    if path.is_file():
        if not _is_storage(path):
            raise BagError(f"{path}: not a readable rosbag2: allowed are {', '.join(SUFFIXES)}")
        return [Bag(name=_stem(path), folder=path.parent, files=(path,))]
    folders = sorted({file.parent for file in path.rglob("*") if file.is_file() and _is_part(file)})
    return [bag for folder in folders for bag in _bags_in(folder)]


def _bags_in(folder: Path) -> list[Bag]:
    """Return the bag of a folder; several, where files that do not belong together lie in it."""
    files = sorted((file for file in folder.iterdir() if file.is_file() and _is_storage(file)), key=_natural)
    parts: dict[str, list[Path]] = {}
    for file in files:
        parts.setdefault("" if (folder / METADATA_FILE).exists() else _recording(file), []).append(file)
    name = folder.resolve().name
    if len(parts) <= 1:
        return [Bag(name=name, folder=folder, files=tuple(files), is_whole_folder=True)]
    return [Bag(name=f"{name}_{part}", folder=folder, files=tuple(own)) for part, own in parts.items()]


def _is_storage(path: Path) -> bool:
    return path.name.endswith(SUFFIXES) and not path.name.startswith(".")


def _is_part(path: Path) -> bool:
    """Return whether a file tells that a bag lies, or has lain, in its folder."""
    return _is_storage(path) or (path.name == METADATA_FILE and _metadata(path) is not None)


def _stem(path: Path) -> str:
    return path.name.split(".mcap", maxsplit=1)[0].split(".db3", maxsplit=1)[0]


def _recording(path: Path) -> str:
    """Return a file's name without the number that rosbag2 gives to each part of a recording."""
    return re.sub(r"_\d+$", "", _stem(path))


def _natural(path: Path) -> list[Any]:
    """Sort ``part_10`` after ``part_9``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _metadata(path: Path) -> dict[str, Any] | None:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        information = data["rosbag2_bagfile_information"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return None
    return information if isinstance(information, dict) else None
