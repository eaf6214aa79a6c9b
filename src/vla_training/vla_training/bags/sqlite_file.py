# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 database (sqlite3) from its first row to its last or to the first damage."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from vla_training.bags.raw_message import Advance, DamagedBagError, RawMessage, Record, TypeDefinition


def sqlite_records(path: Path, where: str, advance: Advance) -> Iterator[Record]:
    """Yield type definitions (where the recorder stored them) and messages in the order of their rows.

    Args:
        path: The ``.db3`` file; what a killed recorder left in its write-ahead log is read too.
        where: Name of the file, for errors.
        advance: Told the number of message bytes.

    Raises:
        DamagedBagError: The database cannot be read further; after every row before that.
    """
    try:
        connection = _connect(path)
    except sqlite3.Error as error:
        raise DamagedBagError(f"{where}: damaged: {error}") from error
    try:
        yield from _definitions(connection)
        topics = {number: (name, kind) for number, name, kind in connection.execute(_TOPICS)}
        for number, received_ns, data in connection.execute(_MESSAGES):
            if number not in topics or not isinstance(received_ns, int) or not isinstance(data, bytes):
                raise DamagedBagError(f"{where}: damaged: a row of the table 'messages' is not a message")
            topic, kind = topics[number]
            advance(len(data))
            yield RawMessage(received_ns, topic, kind, data)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise DamagedBagError(f"{where}: damaged: {error}") from error
    finally:
        connection.close()


_TOPICS = "SELECT id, name, type FROM topics"
# By row and not by time: the order of time needs an index, which a damaged file may have lost.
_MESSAGES = "SELECT topic_id, timestamp, data FROM messages ORDER BY id"


def _connect(path: Path) -> sqlite3.Connection:
    """Return a connection that changes nothing, on a read-only disk, too, where no write-ahead log is left."""
    uri = path.resolve().as_uri()
    try:
        connection = sqlite3.connect(f"{uri}?mode=ro", uri=True)
        connection.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.OperationalError:
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        connection = sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True)
        connection.execute("SELECT name FROM sqlite_master").fetchall()
    return connection


def _definitions(connection: sqlite3.Connection) -> Iterator[TypeDefinition]:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "message_definitions" not in tables:  # before ROS 2 Iron
        return
    query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
    for kind, encoding, text in connection.execute(query):
        yield TypeDefinition(kind, encoding, text)
