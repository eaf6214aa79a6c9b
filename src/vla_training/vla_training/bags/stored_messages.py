# SPDX-License-Identifier: Apache-2.0
"""The messages of a bag in the order of reception, whatever its storage and compression."""

import errno
import heapq
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO

import zstandard

from vla_core.units import NS_PER_MS
from vla_training.bags.bag_folder import Bag
from vla_training.bags.mcap_file import Readable, mcap_records
from vla_training.bags.message_types import MessageTypes
from vla_training.bags.raw_message import (
    Advance,
    DamagedBagError,
    RawMessage,
    Record,
    TypeDefinition,
    ignore_progress,
)
from vla_training.bags.sqlite_file import sqlite_records

# Recorders write in the order of reception but for what several threads mix up.
_WINDOW_NS = 500 * NS_PER_MS
_WINDOW_BYTES = 64 << 20
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def stored_messages(
    bag: Bag, topics: Collection[str], types: MessageTypes, advance: Advance = ignore_progress
) -> Iterator[RawMessage]:
    """Yield the messages of some topics in the order in which they were received.

    Args:
        bag: The bag.
        topics: Absolute names.
        types: Learns the type definitions that the bag holds.
        advance: Told the number of bytes read of all topics.

    Raises:
        DamagedBagError: The bag is damaged; after every message before the damage.
    """
    return in_order(_unordered(bag, frozenset(topics), types, advance))


def in_order(messages: Iterable[RawMessage]) -> Iterator[RawMessage]:
    """Yield messages by the time of reception, as far as a window of half a second sets them right."""
    waiting: list[tuple[int, int, RawMessage]] = []
    num_bytes, newest_ns = 0, 0
    try:
        for number, message in enumerate(messages):
            heapq.heappush(waiting, (message.received_ns, number, message))
            num_bytes += len(message.data)
            newest_ns = max(newest_ns, message.received_ns)
            while waiting and (newest_ns - waiting[0][0] > _WINDOW_NS or num_bytes > _WINDOW_BYTES):
                first = heapq.heappop(waiting)[2]
                num_bytes -= len(first.data)
                yield first
    except DamagedBagError:
        yield from (entry[2] for entry in sorted(waiting))
        raise
    yield from (entry[2] for entry in sorted(waiting))


def _unordered(bag: Bag, topics: frozenset[str], types: MessageTypes, advance: Advance) -> Iterator[RawMessage]:
    for path in bag.files:
        for record in _records(path, f"{bag.name}/{path.name}", advance):
            if isinstance(record, TypeDefinition):
                types.add(record)
            elif record.topic in topics:
                yield _unpacked(record, path)


def _records(path: Path, where: str, advance: Advance) -> Iterator[Record]:
    packed = path.name.endswith(".zstd")
    try:
        if ".db3" in path.name:
            if not packed:
                yield from sqlite_records(path, where, advance)
                return
            with tempfile.TemporaryDirectory() as folder:
                plain = Path(folder) / "unpacked.db3"
                with path.open("rb") as source, plain.open("wb") as target:
                    shutil.copyfileobj(_unzipped(_Counted(source, advance)), target)
                yield from sqlite_records(plain, where, ignore_progress)
            return
        with path.open("rb") as file:
            counted = _Counted(file, advance)
            yield from mcap_records(_unzipped(counted) if packed else counted, where)
    except (OSError, zstandard.ZstdError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # there was no room to unpack it; the bag is as it was
        raise DamagedBagError(f"{where}: damaged: {error}") from error


class _Counted:
    """A file that tells how much of it was read."""

    def __init__(self, file: IO[bytes], advance: Advance) -> None:
        self._file, self._advance = file, advance

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._advance(len(data))
        return data


def _unzipped(file: Readable) -> Readable:
    # The annotation of zstandard asks for a whole file object; it only reads.
    return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)  # type: ignore[arg-type]


def _unpacked(message: RawMessage, path: Path) -> RawMessage:
    """Return the plain CDR, whose first byte is always 0, of a message that was compressed by itself."""
    if not message.data.startswith(_ZSTD_MAGIC):
        return message
    try:
        data = zstandard.ZstdDecompressor().decompressobj().decompress(message.data)
    except zstandard.ZstdError as error:
        raise DamagedBagError(f"{path.name}: damaged: {message.topic}: {error}") from error
    return RawMessage(message.received_ns, message.topic, message.type, data)
