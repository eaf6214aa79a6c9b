# SPDX-License-Identifier: Apache-2.0
"""A journal: a file of JSON lines that only grows, each of which is on the disk before its writer goes on.

Whoever is killed while writing leaves at most one cut line at the end; readers leave it out, and the next writer
removes it. One writer at a time: a second one is refused.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vla_core.errors import VlaError

Row = dict[str, Any]


class JournalError(VlaError):
    """A journal is damaged, in use, or belongs to something else."""


def read_journal(path: Path | str) -> tuple[Row, ...]:
    """Return the rows of a journal; a last line that was cut short is left out.

    Raises:
        JournalError: The file is missing or another line than the last is no JSON object.
    """
    path = Path(path)
    try:
        rows, _ = _parsed(path.read_bytes(), path)
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}. Give the path of a journal") from error
    return tuple(rows)


class Journal:
    """Appends rows to a journal.

    Args:
        path: The file; made with its folders when it is not there.

    Attributes:
        rows: What was in it when it was opened.

    Raises:
        JournalError: It is damaged, cannot be written, or another process writes it.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b")
        except OSError as error:
            raise JournalError(f"{path}: cannot be written: {error.strerror}. Choose another place") from error
        try:
            self.rows = self._take_over()
        except BaseException:
            self._file.close()
            raise

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a row; when this returns, it is on the disk.

        Raises:
            JournalError: The disk refuses it.
        """
        line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        end = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self._cut(end)
            raise JournalError(f"{self._path}: nothing can be added: {error.strerror}. Make room") from error

    def close(self) -> None:
        """Let the next writer in."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_over(self) -> tuple[Row, ...]:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"{self._path}: another process is writing it. Wait for it, or stop it") from None
        self._file.seek(0)
        rows, num_whole = _parsed(self._file.read(), self._path)
        self._cut(num_whole)
        return tuple(rows)

    def _cut(self, num_bytes: int) -> None:
        os.ftruncate(self._file.fileno(), num_bytes)
        self._file.seek(0, os.SEEK_END)


def _parsed(data: bytes, path: Path) -> tuple[list[Row], int]:
    """Return the rows of whole lines, and how many bytes those take."""
    num_whole = data.rfind(b"\n") + 1
    return list(_rows(data[:num_whole], path)), num_whole


def _rows(data: bytes, path: Path) -> Iterator[Row]:
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise JournalError(
                f"{path}: line {number} is no JSON object: {line[:60]!r}. Remove that line, or start a new file"
            )
        yield row
