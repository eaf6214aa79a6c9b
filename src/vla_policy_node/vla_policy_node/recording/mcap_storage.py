# SPDX-License-Identifier: Apache-2.0
"""MCAP files that grow by whole chunks: a file cut off anywhere keeps every chunk before the cut."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcap.writer import CompressionType, Writer

from vla_policy_node.recording.bag_writer import BagContents, BagTopic, BagWriteError
from vla_policy_node.recording.mcap_repair import FACTS_RECORD, repair_mcap

_CHUNK_BYTES = 4 * 1024 * 1024


class McapStorage:
    """MCAP with zstd, lz4 or uncompressed chunks.

    Args:
        compression: ``none``, ``lz4`` or ``zstd``.
    """

    name = "mcap"
    suffix = ".mcap"

    def __init__(self, compression: str = "lz4") -> None:
        self._compression = CompressionType[compression.upper()]

    def begin(self, path: Path, topics: Sequence[BagTopic], facts: Mapping[str, str]) -> "McapBagWriter":
        """Make a file that holds ``facts`` and these topics."""
        return McapBagWriter(path, topics, facts, self._compression)

    def repair(self, path: Path) -> BagContents:
        """Cut a file after its last whole chunk and append the index that it lacks."""
        return repair_mcap(path)


class _WholeFlushes:
    """A file that holds what was written until the last ``flush``, all of it or, after an error, nothing of it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._is_closed = False
        self._flushed = 0
        self._waiting: list[bytes] = []
        self._num_waiting = 0

    def write(self, data: bytes) -> int:
        self._waiting.append(data)
        self._num_waiting += len(data)
        return len(data)

    def tell(self) -> int:
        return self._flushed + self._num_waiting

    def flush(self) -> None:
        try:
            for data in self._waiting:
                view = memoryview(data)
                while view:
                    view = view[os.write(self._fd, view) :]
        except OSError:
            os.ftruncate(self._fd, self._flushed)
            raise
        self._flushed += self._num_waiting
        self._waiting, self._num_waiting = [], 0

    def close(self, sync: bool) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if sync:
                os.fsync(self._fd)
        finally:
            os.close(self._fd)


class McapBagWriter:
    """An MCAP file that is being written."""

    def __init__(
        self, path: Path, topics: Sequence[BagTopic], facts: Mapping[str, str], compression: CompressionType
    ) -> None:
        self._topics = tuple(topics)
        self._facts = dict(facts)
        self._counts: Counter[str] = Counter()
        self._start_ns, self._end_ns = 0, 0
        try:
            self._file = _WholeFlushes(path)
            stream: Any = self._file
            self._writer = Writer(stream, chunk_size=_CHUNK_BYTES, compression=compression)
            self._writer.start(profile="ros2", library="vla_policy_node")
            self._writer.add_metadata(FACTS_RECORD, self._facts)
            self._file.flush()
        except OSError as error:
            raise _sentence(path, error) from error
        self._path = path
        self._channels = {topic.name: self._add_channel(topic) for topic in topics}

    def write(self, topic: str, received_ns: int, sent_ns: int, data: bytes) -> None:
        """Add a serialised message."""
        count = self._counts[topic]
        self._writer.add_message(self._channels[topic], received_ns, data, sent_ns, sequence=count & 0xFFFFFFFF)
        self._start_ns = min(self._start_ns or received_ns, received_ns)
        self._end_ns = max(self._end_ns, received_ns)
        self._counts[topic] += 1

    def commit(self) -> None:
        """Close the chunk and hand it to the operating system."""
        try:
            self._writer.flush()
        except OSError as error:
            raise _sentence(self._path, error) from error

    def finish(self, facts: Mapping[str, str]) -> BagContents:
        """Write last facts, index and footer."""
        self.commit()
        try:
            self._facts |= facts
            self._writer.add_metadata(FACTS_RECORD, self._facts)
            self._writer.finish()
            self._file.flush()
            self._file.close(sync=True)
        except OSError as error:
            raise _sentence(self._path, error) from error
        counts = {topic.name: self._counts[topic.name] for topic in self._topics}
        return BagContents(self._topics, counts, self._start_ns, self._end_ns, self._facts)

    def abandon(self) -> None:
        """Close the file as it was committed last."""
        self._file.close(sync=False)

    def _add_channel(self, topic: BagTopic) -> int:
        definition = topic.definition
        schema = self._writer.register_schema(definition.type, "ros2msg", definition.text.encode())
        facts = {"offered_qos_profiles": "", "topic_type_hash": definition.type_hash}
        return self._writer.register_channel(topic.name, "cdr", schema, facts)


def _sentence(path: Path, error: OSError) -> BagWriteError:
    return BagWriteError(f"{path}: cannot be written: {error.strerror or error}. Make room on that disk")
