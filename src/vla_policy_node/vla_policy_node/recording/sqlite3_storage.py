# SPDX-License-Identifier: Apache-2.0
"""rosbag2's sqlite3 files, written with a write-ahead log: a killed recorder leaves every committed message."""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from vla_policy_node.recording.bag_metadata import METADATA_VERSION, bag_metadata, dump_metadata, ros_distro
from vla_policy_node.recording.bag_writer import BagContents, BagTopic, BagWriteError
from vla_policy_node.recording.message_definitions import MessageDefinition

# The tables of rosbag2_storage_sqlite3, schema version 4.
_TABLES = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
  serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,
  encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
  data BLOB NOT NULL);
CREATE INDEX timestamp_idx ON messages (timestamp ASC);
"""


class Sqlite3Storage:
    """rosbag2's sqlite3."""

    name = "sqlite3"
    suffix = ".db3"

    def begin(self, path: Path, topics: Sequence[BagTopic], facts: Mapping[str, str]) -> "Sqlite3BagWriter":
        """Make a file that holds ``facts`` and these topics."""
        return Sqlite3BagWriter(path, topics, facts)

    def repair(self, path: Path) -> BagContents:
        """Fold the write-ahead log into the file."""
        try:
            connection = _connect(path)
            try:
                contents = _contents(connection)
                _fold_log(connection)
            finally:
                connection.close()
        except (sqlite3.Error, yaml.YAMLError, KeyError, TypeError) as error:
            raise _sentence(path, error) from error
        return contents


class Sqlite3BagWriter:
    """A sqlite3 file that is being written."""

    def __init__(self, path: Path, topics: Sequence[BagTopic], facts: Mapping[str, str]) -> None:
        self._path = path
        self._topics = tuple(topics)
        self._ids = {topic.name: number for number, topic in enumerate(topics, start=1)}
        self._counts: Counter[str] = Counter()
        self._start_ns, self._end_ns = 0, 0
        self._facts = dict(facts)
        try:
            # Begun by the node's thread, used by the writer's thread from then on.
            self._connection = _connect(path, any_thread=True)
            self._make_tables()
            self._connection.commit()
        except sqlite3.Error as error:
            raise _sentence(path, error) from error

    def write(self, topic: str, received_ns: int, sent_ns: int, data: bytes) -> None:
        """Add a serialised message; this storage has no place for ``sent_ns``."""
        try:
            row = (self._ids[topic], received_ns, data)
            self._connection.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)", row)
        except sqlite3.Error as error:
            raise _sentence(self._path, error) from error
        self._start_ns = min(self._start_ns or received_ns, received_ns)
        self._end_ns = max(self._end_ns, received_ns)
        self._counts[topic] += 1

    def commit(self) -> None:
        """End the transaction: what it holds outlives the process."""
        try:
            self._connection.commit()
        except sqlite3.Error as error:
            raise _sentence(self._path, error) from error

    def finish(self, facts: Mapping[str, str]) -> BagContents:
        """Write last facts and fold the log into the file."""
        self._facts |= facts
        counts = {topic.name: self._counts[topic.name] for topic in self._topics}
        contents = BagContents(self._topics, counts, self._start_ns, self._end_ns, self._facts)
        try:
            _insert_metadata(self._connection, self._path, contents)
            self._connection.commit()
            _fold_log(self._connection)
            self._connection.close()
        except sqlite3.Error as error:
            raise _sentence(self._path, error) from error
        return contents

    def abandon(self) -> None:
        """Close the file as it was committed last."""
        try:
            self._connection.rollback()
        except sqlite3.Error:
            pass  # a full disk rolls back by itself
        finally:
            self._connection.close()

    def _make_tables(self) -> None:
        connection = self._connection
        connection.executescript(_TABLES)
        connection.execute("INSERT INTO schema VALUES(4, ?)", (ros_distro(),))
        for topic in self._topics:
            name, definition = topic.name, topic.definition
            row = (self._ids[name], name, definition.type, "cdr", "", definition.type_hash)
            connection.execute("INSERT INTO topics VALUES(?, ?, ?, ?, ?, ?)", row)
        for definition in {topic.definition.type: topic.definition for topic in self._topics}.values():
            connection.execute(
                "INSERT INTO message_definitions(topic_type, encoding, encoded_message_definition,"
                " type_description_hash) VALUES(?, 'ros2msg', ?, ?)",
                (definition.type, definition.text, definition.type_hash),
            )
        begun = BagContents(self._topics, {}, 0, 0, self._facts)
        _insert_metadata(connection, self._path, begun)


def _connect(path: Path, any_thread: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=not any_thread)
    connection.execute("PRAGMA journal_mode=WAL")
    # With a write-ahead log this keeps the file whole through a loss of power, without a sync at each commit.
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _fold_log(connection: sqlite3.Connection) -> None:
    """Leave one plain file: readers that open it as immutable do not look at a log."""
    connection.execute("PRAGMA journal_mode=DELETE")


def _insert_metadata(connection: sqlite3.Connection, path: Path, contents: BagContents) -> None:
    document = bag_metadata("sqlite3", path.name, contents)["rosbag2_bagfile_information"]
    row = (METADATA_VERSION, dump_metadata(document))
    connection.execute("INSERT INTO metadata(metadata_version, metadata) VALUES(?, ?)", row)


def _contents(connection: sqlite3.Connection) -> BagContents:
    definitions = {
        kind: MessageDefinition(kind, text, digest)
        for kind, text, digest in connection.execute(
            "SELECT topic_type, encoded_message_definition, type_description_hash FROM message_definitions"
        )
    }
    rows = connection.execute("SELECT id, name, type FROM topics ORDER BY id").fetchall()
    counted = dict(connection.execute("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"))
    start_ns, end_ns = connection.execute("SELECT MIN(timestamp), MAX(timestamp) FROM messages").fetchone()
    embedded = connection.execute("SELECT metadata FROM metadata ORDER BY id DESC LIMIT 1").fetchone()
    facts = yaml.safe_load(embedded[0])["custom_data"] if embedded else {}
    topics = tuple(BagTopic(name, definitions[kind]) for _, name, kind in rows)
    counts = {name: counted.get(number, 0) for number, name, _ in rows}
    return BagContents(topics, counts, start_ns or 0, end_ns or 0, facts or {})


def _sentence(path: Path, error: Exception) -> BagWriteError:
    return BagWriteError(f"{path}: cannot be written: {error}. Make room on that disk, or remove a damaged file")
