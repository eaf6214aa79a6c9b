# SPDX-License-Identifier: Apache-2.0
"""The folder of all episodes: new ones, corrections, discarded ones, and those whose recorder was killed.

Nothing is ever deleted: a discarded episode lies in ``discarded/``.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from vla_core.episode_record import EPISODE_FILE, EpisodeRecord, Outcome
from vla_core.errors import VlaError
from vla_core.instruction import clean_instruction
from vla_policy_node.recording.bag_metadata import METADATA_FILE, save_metadata
from vla_policy_node.recording.bag_writer import BagWriteError, Storage
from vla_policy_node.recording.episode_folder import DISCARDED_FOLDER, OpenFolder, episode_name
from vla_policy_node.recording.mcap_storage import McapStorage
from vla_policy_node.recording.sqlite3_storage import Sqlite3Storage

STORAGES: tuple[Storage, ...] = (McapStorage(), Sqlite3Storage())


class EpisodeError(VlaError):
    """There is no such episode, or it is not in a state for what was asked."""


class EpisodeShelf:
    """All episodes below one folder.

    Args:
        output_dir: That folder; it is made when it is missing.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir
        output_dir.mkdir(parents=True, exist_ok=True)

    def new_folder(self, started_ns: int, instruction: str) -> Path:
        """Make and return the folder of a new episode."""
        name = episode_name(started_ns, instruction)
        folder, number = self.output_dir / name, 1
        while folder.exists() or (self.output_dir / DISCARDED_FOLDER / folder.name).exists():
            number += 1
            folder = self.output_dir / f"{name}_{number}"
        folder.mkdir()
        return folder

    def newest(self) -> str | None:
        """Return the name of the newest episode that is not discarded."""
        return max((folder.name for folder in self._episodes()), default=None)

    def discard(self, name: str) -> EpisodeRecord:
        """Mark an episode and move it to ``discarded/``; return its record.

        Raises:
            EpisodeError: There is no such episode, or it is discarded already.
        """
        folder = self._find(name)
        if folder.parent.name == DISCARDED_FOLDER:
            raise EpisodeError(f"episode '{name}' is discarded already; it lies in {folder.parent}")
        record = dataclasses.replace(self._record(folder), discarded=True)
        record.save(folder)
        (self.output_dir / DISCARDED_FOLDER).mkdir(exist_ok=True)
        folder.rename(self.output_dir / DISCARDED_FOLDER / name)
        return record

    def relabel(self, name: str, instruction: str, outcome: Outcome | None) -> EpisodeRecord:
        """Correct the sentence (unless empty) and the outcome (unless ``None``); return the record.

        Raises:
            EpisodeError: There is no such episode.
            InstructionError: The sentence is none.
        """
        folder = self._find(name)
        record = corrected(self._record(folder), instruction, outcome)
        record.save(folder)
        return record

    def recover(self) -> list[str]:
        """Complete episodes whose recorder was killed; return a sentence for each."""
        folders = [*self._episodes(), *self._episodes(DISCARDED_FOLDER)]
        return [self._recover(folder) for folder in folders if not (folder / METADATA_FILE).exists()]

    def _recover(self, folder: Path) -> str:
        try:
            opened = OpenFolder(folder)
        except BlockingIOError:
            return f"{folder}: is being recorded by another recorder; left as it is"
        except OSError as error:
            return f"{folder}: cannot be opened: {error.strerror}; left as it is"
        try:
            opened.release_room()
            return _complete(folder)
        except (BagWriteError, OSError) as error:
            return f"{folder}: {error}; left as it is"
        finally:
            opened.close()

    def _episodes(self, below: str = "") -> Iterator[Path]:
        parent = self.output_dir / below
        if parent.is_dir():
            yield from (folder for folder in sorted(parent.iterdir()) if (folder / EPISODE_FILE).is_file())

    def _find(self, name: str) -> Path:
        for folder in (*self._episodes(), *self._episodes(DISCARDED_FOLDER)):
            if folder.name == name:
                return folder
        raise EpisodeError(f"episode '{name}' is not in {self.output_dir}; give the name of one that is")

    def _record(self, folder: Path) -> EpisodeRecord:
        record = EpisodeRecord.load(folder)
        if record is None:
            raise EpisodeError(f"{folder}: {EPISODE_FILE} is missing")
        return record


def corrected(record: EpisodeRecord, instruction: str, outcome: Outcome | None) -> EpisodeRecord:
    """Return a record with another sentence (unless empty) and another outcome (unless ``None``).

    Raises:
        InstructionError: The sentence is none.
    """
    sentence = clean_instruction(instruction) or record.instruction
    return dataclasses.replace(record, instruction=sentence, outcome=outcome or record.outcome)


def _complete(folder: Path) -> str:
    for storage in STORAGES:
        for path in sorted(folder.glob(f"*{storage.suffix}")):
            contents = storage.repair(path)
            save_metadata(folder, storage.name, path.name, contents)
            total, seconds = sum(contents.counts.values()), (contents.end_ns - contents.start_ns) * 1e-9
            return f"{folder}: its recorder was killed; {total} messages in {seconds:.1f} s are kept"
    raise BagWriteError(f"it holds no {' or '.join(storage.suffix for storage in STORAGES)} file")
