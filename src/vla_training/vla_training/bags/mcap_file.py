# SPDX-License-Identifier: Apache-2.0
"""MCAP from the beginning to its end or to the first damage: no index is needed, every checksum is compared."""

from collections.abc import Iterator
from typing import Protocol

from mcap.records import Channel, DataEnd, Message, Schema
from mcap.stream_reader import StreamReader

from vla_training.bags.raw_message import DamagedBagError, RawMessage, Record, TypeDefinition


class Readable(Protocol):
    """Bytes that are read from the beginning to the end."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes; nothing at the end."""


class _WholeReads:
    """A stream in which a read that meets the end early is an error: half a record is never taken for a whole."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        parts = []
        while size > 0:
            part = self._stream.read(size)
            if not part:
                raise EOFError("the file ends in the middle of a record")
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def mcap_records(stream: Readable, where: str) -> Iterator[Record]:
    """Yield type definitions and messages in the order of the file.

    A file that lacks only its summary, as after a crash, gives every message.

    Args:
        stream: The file, at its beginning.
        where: Name of the file, for errors.

    Raises:
        DamagedBagError: The file ends early, or its bytes are not what was written; after every message before it.
    """
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    # The annotation of mcap asks for a whole file object; it only reads.
    reader = StreamReader(_WholeReads(stream), validate_crcs=True)  # type: ignore[arg-type]
    records = iter(reader.records)
    while True:
        try:
            record = next(records)
        except Exception as error:  # what damaged bytes make of decoders is no closed set
            raise DamagedBagError(f"{where}: damaged: {_sentence(error)}") from error
        if isinstance(record, DataEnd):
            return
        if isinstance(record, Schema):
            schemas[record.id] = record
            text = record.data.decode("utf-8", errors="replace")
            yield TypeDefinition(record.name, record.encoding, text)
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, Message):
            channel = channels.get(record.channel_id)
            schema = schemas.get(channel.schema_id) if channel else None
            if channel is None or schema is None:
                raise DamagedBagError(f"{where}: damaged: a message of an unknown channel was found")
            yield RawMessage(record.log_time, channel.topic, schema.name, record.data)


def _sentence(error: Exception) -> str:
    return str(error) or type(error).__name__
