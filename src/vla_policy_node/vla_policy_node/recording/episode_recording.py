# SPDX-License-Identifier: Apache-2.0
"""One episode from start to end: messages go through a bounded queue to a thread that writes the bag.

The thread also ends it: audit, ``episode.yaml`` and, last, ``metadata.yaml``. A bag that cannot be written any
more ends the episode where it stands; what was committed before is completed and kept.
"""

import dataclasses
import json
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vla_core.config import to_plain
from vla_core.episode_record import EpisodeRecord, Outcome
from vla_policy_node.recording.bag_metadata import save_metadata, save_text
from vla_policy_node.recording.bag_writer import BagContents, BagTopic, BagWriteError, Storage
from vla_policy_node.recording.byte_queue import ByteQueue, QueuedMessage
from vla_policy_node.recording.capture_audit import AuditLimits, CaptureAudit, audit_capture
from vla_policy_node.recording.episode_folder import AUDIT_FILE, OpenFolder
from vla_policy_node.recording.message_definitions import message_definition
from vla_policy_node.recording.recorded_topic import RecordedTopic
from vla_policy_node.recording.stream_counter import StreamCounter

# Together well below half a second: what is older than that outlives a killed process.
_COMMIT_PERIOD_S = 0.2
_LONGEST_WAIT_S = 0.1


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """How episodes are written: the storage, the bytes that may wait for it, and what the audit says is wrong."""

    storage: Storage
    queue_bytes: int
    limits: AuditLimits = field(default_factory=AuditLimits)


@dataclass(frozen=True, kw_only=True)
class EpisodeResult:
    """What became of an episode.

    Attributes:
        folder: Its bag.
        record: What ``episode.yaml`` says.
        audit: What was captured; ``None`` when the bag could not be completed.
        problem: Why it ended by itself or could not be completed; ``None`` when all went well.
    """

    folder: Path
    record: EpisodeRecord
    audit: CaptureAudit | None
    problem: str | None


class EpisodeRecording:
    """An episode that is being recorded. All methods are for one thread; writing happens in another.

    Args:
        folder: A new, empty folder; its name is that of the episode.
        record: What is known of the episode at its start.
        topics: What may be recorded.
        facts: What is embedded in the bag beside the messages.
        options: How it is written.

    Raises:
        BagWriteError: The bag cannot be made.
        OSError: The folder cannot be written to.
    """

    def __init__(
        self,
        *,
        folder: Path,
        record: EpisodeRecord,
        topics: Sequence[RecordedTopic],
        facts: Mapping[str, str],
        options: RecordingOptions,
    ) -> None:
        storage = options.storage
        self.folder, self._record, self._options = folder, record, options
        self._counters = {topic.name: StreamCounter(topic) for topic in topics}
        self._queue = ByteQueue(options.queue_bytes)
        self._path = folder / f"{folder.name}_0{storage.suffix}"
        self._lock = threading.Lock()
        self._result: EpisodeResult | None = None
        self._done = threading.Event()
        self._last_received_ns = record.started_ns
        self._opened = OpenFolder(folder, keeps_room=True)
        try:
            record.save(folder)
            bag_topics = [BagTopic(topic.name, message_definition(topic.type)) for topic in topics]
            self._bag = storage.begin(self._path, bag_topics, facts)
        except BaseException:
            self._opened.release_room()
            self._opened.close()
            raise
        self._thread = threading.Thread(target=self._run, name=f"writer of {folder.name}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """Name of the episode."""
        return self.folder.name

    @property
    def record(self) -> EpisodeRecord:
        """What is known of the episode now."""
        return self._record

    @property
    def num_messages(self) -> int:
        """Messages that have arrived."""
        return sum(counter.arrived for counter in self._counters.values())

    @property
    def num_dropped(self) -> int:
        """Messages that did not fit into the queue."""
        return self._queue.num_refused

    @property
    def result(self) -> EpisodeResult | None:
        """What became of it; ``None`` until it is all written, or has failed."""
        return self._result if self._done.is_set() else None

    def take(self, topic: str, received_ns: int, sent_ns: int, data: bytes, must_fit: bool = False) -> None:
        """Record a serialised message; one received before the start or after the end is not of this episode."""
        with self._lock:
            if received_ns < self._record.started_ns or self._record.ended_ns is not None:
                return
            self._counters[topic].add(received_ns, data)
            self._last_received_ns = max(self._last_received_ns, received_ns)
            self._queue.put(QueuedMessage(topic, received_ns, sent_ns, data), must_fit)

    def relabel(self, instruction: str, outcome: Outcome) -> None:
        """Correct sentence and outcome while it is being recorded."""
        with self._lock:
            self._record = dataclasses.replace(self._record, instruction=instruction, outcome=outcome)
            self._record.save(self.folder)

    def end(self, ended_ns: int, outcome: Outcome = "unknown", note: str = "", discarded: bool = False) -> None:
        """Take nothing more; the rest is written in the background.

        Args:
            ended_ns: When it ended.
            outcome: Whether the sentence was fulfilled; ``unknown`` leaves what a relabelling has said.
            note: What a person wants to remember.
            discarded: Nobody wants it used.
        """
        with self._lock:
            if self._record.ended_ns is None:
                self._record = dataclasses.replace(
                    self._record,
                    ended_ns=ended_ns,
                    outcome=self._record.outcome if outcome == "unknown" else outcome,
                    note=note,
                    discarded=discarded,
                )
        self._queue.close()

    def wait(self, timeout_s: float) -> EpisodeResult | None:
        """Return what became of it, once all is written; ``None`` when that takes longer."""
        self._done.wait(timeout_s)
        return self.result

    def _run(self) -> None:
        problem = None
        try:
            self._write_until_ended()
        except BagWriteError as error:
            problem = str(error)
        except Exception as error:
            traceback.print_exc()
            problem = f"{self.name}: the writer failed: {type(error).__name__}: {error}"
        self.end(self._last_received_ns)  # says nothing new, unless it failed
        try:
            self._result = self._conclude(problem)
        except Exception as error:
            traceback.print_exc()
            sentence = f"{self.name}: cannot be completed: {type(error).__name__}: {error}"
            self._result = self._incomplete(sentence)
        finally:
            self._opened.close()
            self._done.set()

    def _write_until_ended(self) -> None:
        committed_s = time.monotonic()
        while (messages := self._queue.take_all(_LONGEST_WAIT_S)) is not None:
            for message in messages:
                self._bag.write(message.topic, message.received_ns, message.sent_ns, message.data)
                if time.monotonic() - committed_s >= _COMMIT_PERIOD_S:
                    self._bag.commit()
                    committed_s = time.monotonic()
            if not messages:
                self._bag.commit()
                committed_s = time.monotonic()

    def _conclude(self, problem: str | None) -> EpisodeResult:
        self._opened.release_room()
        try:
            contents = self._complete_bag(problem is not None)
        except BagWriteError as error:
            return self._incomplete(f"{problem or error}. It is completed when the recorder starts again")
        record = self._record
        assert record.ended_ns is not None
        audit = audit_capture(
            {counter.topic.stream: counter for counter in self._counters.values()},
            contents.counts,
            record.started_ns,
            record.ended_ns,
            self._options.limits,
        )
        text = json.dumps(to_plain(audit), indent=2, ensure_ascii=False)
        try:
            save_text(self.folder / AUDIT_FILE, f"{text}\n")
            record.save(self.folder)
            save_metadata(self.folder, self._options.storage.name, self._path.name, contents)
        except OSError as error:
            return self._incomplete(f"{self.folder}: cannot be completed: {error}. Make room on that disk")
        return EpisodeResult(folder=self.folder, record=record, audit=audit, problem=problem)

    def _complete_bag(self, has_failed: bool) -> BagContents:
        last_facts = {"instruction": self._record.instruction, "outcome": self._record.outcome}
        if not has_failed:
            try:
                return self._bag.finish(last_facts)
            except BagWriteError:
                pass  # what was committed is completed in the other way
        self._bag.abandon()
        contents = self._options.storage.repair(self._path)
        return dataclasses.replace(contents, facts={**contents.facts, **last_facts})

    def _incomplete(self, problem: str) -> EpisodeResult:
        return EpisodeResult(folder=self.folder, record=self._record, audit=None, problem=problem)
