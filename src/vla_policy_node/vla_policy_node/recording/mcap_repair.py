# SPDX-License-Identifier: Apache-2.0
"""Completes an MCAP file whose writer died: cut after the last whole chunk, then append the index that is missing.

In place, so that it needs neither time nor room for a copy. MCAP: https://mcap.dev/spec
"""

import io
import os
import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Message,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
)
from mcap.stream_reader import breakup_chunk
from mcap.writer import MCAP0_MAGIC

from vla_policy_node.recording.bag_writer import BagContents, BagTopic, BagWriteError
from vla_policy_node.recording.message_definitions import MessageDefinition

FACTS_RECORD = "vla_episode"
_RECORD_HEAD = struct.Struct("<BQ")
# What mcap raises on damaged bytes, apart from its own errors.
_DAMAGE = (McapError, ValueError, struct.error, EOFError, RuntimeError)


@dataclass
class _Prefix:
    """The readable beginning of a file."""

    end: int = 0
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[ChunkIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)


def repair_mcap(path: Path) -> BagContents:
    """Make an MCAP file complete, in place, and return what it holds.

    Raises:
        BagWriteError: There is no room for the index, or the file has no readable beginning.
    """
    try:
        with path.open("r+b") as file:
            prefix = _read_prefix(file)
            if prefix.end == 0:
                raise BagWriteError(f"{path}: no MCAP record can be read in it; nothing was recorded")
            file.truncate(prefix.end)
            try:
                file.seek(prefix.end)
                file.write(_ending(prefix))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(prefix.end)
                raise
    except OSError as error:
        raise BagWriteError(f"{path}: cannot be completed: {error.strerror or error}. Make room") from error
    return _contents(prefix)


def _read_prefix(file: BinaryIO) -> _Prefix:
    """Return what is whole: records of other kinds, and chunks together with the indexes that follow them."""
    prefix = _Prefix()
    if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
        return prefix
    while True:
        start = file.tell()
        record = _next_record(file)
        if record is None or record[0] in (Opcode.DATA_END, Opcode.FOOTER):
            return prefix
        opcode, data = record
        try:
            if opcode == Opcode.CHUNK:
                is_whole = _add_chunk(prefix, file, start, Chunk.read(_stream(data)))
            else:
                is_whole = True
                _add_record(prefix, opcode, data, start, file.tell())
        except _DAMAGE:
            return prefix
        if not is_whole:
            return prefix
        prefix.end = file.tell()


def _next_record(file: BinaryIO) -> tuple[int, bytes] | None:
    head = file.read(_RECORD_HEAD.size)
    if len(head) < _RECORD_HEAD.size:
        return None
    opcode, length = _RECORD_HEAD.unpack(head)
    if length > os.fstat(file.fileno()).st_size - file.tell():
        return None
    return opcode, file.read(length)


def _add_record(prefix: _Prefix, opcode: int, data: bytes, start: int, end: int) -> None:
    if opcode == Opcode.METADATA:
        metadata = Metadata.read(_stream(data))
        prefix.metadata.append(MetadataIndex(offset=start, length=end - start, name=metadata.name))
        if metadata.name == FACTS_RECORD:
            prefix.facts = metadata.metadata


def _add_chunk(prefix: _Prefix, file: BinaryIO, start: int, chunk: Chunk) -> bool:
    """Take a chunk into the prefix; return whether it and its message indexes are whole."""
    length = file.tell() - start
    records = breakup_chunk(chunk, validate_crc=True)
    messages = [record for record in records if isinstance(record, Message)]
    offsets: dict[int, int] = {}
    index_start = file.tell()
    for _ in range(len({message.channel_id for message in messages})):
        offset, record = file.tell(), _next_record(file)
        if record is None or record[0] != Opcode.MESSAGE_INDEX:
            return False
        offsets[MessageIndex.read(_stream(record[1])).channel_id] = offset
    prefix.schemas |= {record.id: record for record in records if isinstance(record, Schema)}
    prefix.channels |= {record.id: record for record in records if isinstance(record, Channel)}
    prefix.counts.update(message.channel_id for message in messages)
    prefix.chunks.append(
        ChunkIndex(
            message_start_time=chunk.message_start_time,
            message_end_time=chunk.message_end_time,
            chunk_start_offset=start,
            chunk_length=length,
            message_index_offsets=offsets,
            message_index_length=file.tell() - index_start,
            compression=chunk.compression,
            compressed_size=len(chunk.data),
            uncompressed_size=chunk.uncompressed_size,
        )
    )
    return True


def _ending(prefix: _Prefix) -> bytes:
    """Return what follows the data: end of data, summary, footer, magic."""
    ending, summary = RecordBuilder(), RecordBuilder()
    DataEnd(0).write(ending)
    start_ns, end_ns = _span_ns(prefix)
    statistics = Statistics(
        attachment_count=0,
        channel_count=len(prefix.channels),
        channel_message_counts=dict(prefix.counts),
        chunk_count=len(prefix.chunks),
        message_count=prefix.counts.total(),
        metadata_count=len(prefix.metadata),
        message_start_time=start_ns,
        message_end_time=end_ns,
        schema_count=len(prefix.schemas),
    )
    groups: list[Any] = [*prefix.schemas.values(), *prefix.channels.values(), statistics]
    for record in (*groups, *prefix.chunks, *prefix.metadata):
        record.write(summary)
    footer = Footer(summary_start=prefix.end + ending.count, summary_offset_start=0, summary_crc=0)
    ending.write(summary.end())
    footer.write(ending)
    return ending.end() + MCAP0_MAGIC


def _contents(prefix: _Prefix) -> BagContents:
    topics, counts = [], {}
    for channel in prefix.channels.values():
        schema = prefix.schemas[channel.schema_id]
        hash_text = channel.metadata.get("topic_type_hash", "")
        topics.append(BagTopic(channel.topic, MessageDefinition(schema.name, schema.data.decode(), hash_text)))
        counts[channel.topic] = prefix.counts[channel.id]
    return BagContents(tuple(topics), counts, *_span_ns(prefix), prefix.facts)


def _span_ns(prefix: _Prefix) -> tuple[int, int]:
    if not prefix.chunks:
        return 0, 0
    starts = min(chunk.message_start_time for chunk in prefix.chunks)
    return starts, max(chunk.message_end_time for chunk in prefix.chunks)


def _stream(data: bytes) -> ReadDataStream:
    return ReadDataStream(io.BytesIO(data))
