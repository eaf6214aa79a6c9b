# SPDX-License-Identifier: Apache-2.0
"""Start, stop, discard, relabel: what is asked of the recorder, and what a new sentence does. Knows no ROS.

Answers are sentences; a refusal is a ``VlaError``.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from vla_core.episode_record import EpisodeRecord, Outcome
from vla_core.errors import InstructionError
from vla_core.instruction import clean_instruction
from vla_policy_node.recording.bag_writer import BagWriteError
from vla_policy_node.recording.episode_folder import DISCARDED_FOLDER, free_bytes
from vla_policy_node.recording.episode_recording import EpisodeRecording, EpisodeResult, RecordingOptions
from vla_policy_node.recording.episode_shelf import EpisodeError, EpisodeShelf, corrected
from vla_policy_node.recording.recorded_topic import RecordedTopic

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
EventKind = Literal["start", "stop", "discard", "relabel"]
_LONGEST_ENDING_S = 60.0
_MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happens to an episode at ``stamp_ns``."""

    kind: EventKind
    episode: str
    instruction: str
    outcome: Outcome
    stamp_ns: int


@dataclass(frozen=True, kw_only=True)
class RecorderPorts:
    """What the recorder needs of its surroundings.

    Attributes:
        now_ns: The time, nanoseconds.
        announce: Publishes an event and returns its serialised message.
        encode_instruction: Returns the serialised message of a sentence said at a time.
        options: How an episode that begins now is written.
        min_free_bytes: Room below which none is begun.
    """

    now_ns: Callable[[], int]
    announce: Callable[[Event], bytes]
    encode_instruction: Callable[[str, int], bytes]
    options: Callable[[], RecordingOptions]
    min_free_bytes: Callable[[], int]


class EpisodeControl:
    """At most one episode that is being recorded, and the shelf of all others. For one thread.

    Args:
        shelf: All episodes.
        robot: Name of the robot spec.
        versions: What records, name to version.
        topics: What is recorded; the last two are those of the sentence and of the events.
        facts: What is embedded in each bag.
        ports: What the recorder needs of its surroundings.
    """

    def __init__(
        self,
        *,
        shelf: EpisodeShelf,
        robot: str,
        versions: Mapping[str, str],
        topics: tuple[RecordedTopic, ...],
        facts: Mapping[str, str],
        ports: RecorderPorts,
    ) -> None:
        self._shelf, self._robot, self._versions = shelf, robot, dict(versions)
        self._topics, self._facts, self._ports = topics, dict(facts), ports
        self._instruction_topic, self._episode_topic = topics[-2].name, topics[-1].name
        self._current: EpisodeRecording | None = None
        self._ending: list[EpisodeRecording] = []
        self._sentence, self._said_ns = "", 0
        self._last = shelf.newest()
        self.detail = ""

    @property
    def current(self) -> EpisodeRecording | None:
        """The episode that is being recorded."""
        return self._current

    @property
    def free_bytes(self) -> int:
        """Room on the disk."""
        return free_bytes(self._shelf.output_dir)

    def take(self, topic: str, received_ns: int, sent_ns: int, data: bytes) -> None:
        """Record a serialised message, if an episode is being recorded."""
        if self._current is not None:
            self._current.take(topic, received_ns, sent_ns, data)

    def start(self, instruction: str) -> str:
        """Begin an episode of a sentence, or of the newest one that was heard; return its name.

        Raises:
            EpisodeError: One is being recorded, there is no sentence, or no room.
            InstructionError: The sentence is none.
        """
        if self._current is not None:
            raise EpisodeError(f"episode '{self._current.name}' is being recorded; stop it first")
        sentence = clean_instruction(instruction) or self._sentence
        if not sentence:
            raise EpisodeError("there is no sentence; give one, or publish it on vla/instruction")
        return self._begin(sentence)

    def stop(self, outcome: Outcome, note: str = "") -> str:
        """End the episode and keep it; return what was recorded and what is wrong with it.

        Raises:
            EpisodeError: None is being recorded, or it could not be written to its end.
        """
        episode = self._end(outcome, note)
        result = self._settle(episode.name)
        if result is None:
            return f"episode '{episode.name}' is still being written"
        if result.problem is not None:
            raise EpisodeError(result.problem)
        return _sentence(result)

    def discard(self) -> str:
        """End the episode, or take the last one, and move it to ``discarded/``; return where it is.

        Raises:
            EpisodeError: There is none, or it is discarded already.
        """
        name, is_announced = self._named(""), self._current is not None
        if is_announced:
            self._end("unknown", "", is_discarded=True)
        if self._is_unsettled(name):
            raise EpisodeError(f"episode '{name}' is still being written; ask again")
        record = self._shelf.discard(name)
        if not is_announced:
            self._announce("discard", name, record.instruction, record.outcome)
        return f"episode '{name}' is discarded; it lies in {self._shelf.output_dir / DISCARDED_FOLDER}"

    def relabel(self, name: str, instruction: str, outcome: Outcome | None) -> str:
        """Correct sentence (unless empty) and outcome (unless ``None``) of an episode; return what it is now.

        Raises:
            EpisodeError: There is no such episode.
            InstructionError: The sentence is none.
        """
        name = self._named(name)
        current = self._current
        if current is not None and name == current.name:
            record = corrected(current.record, instruction, outcome)
            current.relabel(record.instruction, record.outcome)
        else:
            if self._is_unsettled(name):
                raise EpisodeError(f"episode '{name}' is still being written; ask again")
            record = self._shelf.relabel(name, instruction, outcome)
        self._announce("relabel", name, record.instruction, record.outcome)
        return f"episode '{name}' is '{record.instruction}', outcome {record.outcome}"

    def hear(self, text: str, data: bytes, received_ns: int, begins_episodes: bool) -> str | None:
        """Take a message on the topic of the sentence; return what it did to the episode, if anything.

        Args:
            text: The sentence.
            data: The serialised message.
            received_ns: When it was received.
            begins_episodes: A new sentence ends the episode and begins the next.

        Raises:
            EpisodeError: The next episode cannot begin.
            InstructionError: The text is no sentence; it is recorded nevertheless, as all that was said.
        """
        try:
            sentence = clean_instruction(text)
        except InstructionError:
            self.take(self._instruction_topic, received_ns, received_ns, data)
            raise
        is_new = sentence != self._sentence
        self._sentence, self._said_ns = sentence, received_ns
        current = self._current
        if current is not None and sentence and not (begins_episodes and sentence != current.record.instruction):
            self.take(self._instruction_topic, received_ns, received_ns, data)
            return None
        if current is not None:
            if not sentence:
                self.take(self._instruction_topic, received_ns, received_ns, data)
            self._end("unknown", "")
            if not sentence:
                return f"an empty sentence has ended episode '{current.name}'"
        if not (begins_episodes and sentence and is_new):
            return None
        return f"episode '{self._begin(sentence)}' has begun"

    def poll(self) -> list[EpisodeResult]:
        """Return what became of episodes that ended since; call this now and then."""
        current = self._current
        if current is not None and current.result is not None:
            self._current = None
            self._ending.append(current)
            record = current.record
            self._publish("stop", current.name, record.instruction, record.outcome)
        done = [episode.result for episode in self._ending if episode.result is not None]
        self._ending = [episode for episode in self._ending if episode.result is None]
        for result in done:
            self.detail = _sentence(result)
        return done

    def close(self) -> list[EpisodeResult]:
        """End what is being recorded, wait until it is written, and return what became of it."""
        if self._current is not None:
            self._end("unknown", "the recorder was ended")
        for episode in self._ending:
            episode.wait(_LONGEST_ENDING_S)
        return self.poll()

    def _begin(self, sentence: str) -> str:
        now_ns = self._ports.now_ns()
        needed, free = self._ports.min_free_bytes(), self.free_bytes
        if free < needed:
            raise EpisodeError(
                f"{self._shelf.output_dir}: {free // _MIB} MiB are free, the parameter min_free_mib asks for "
                f"{needed // _MIB}. Make room"
            )
        try:
            episode = self._make_episode(now_ns, sentence)
        except (BagWriteError, OSError) as error:
            raise EpisodeError(f"{self._shelf.output_dir}: no episode can be begun: {error}") from error
        self._current, self._last, self.detail = episode, episode.name, ""
        said_ns = self._said_ns if sentence == self._sentence else now_ns
        head = self._ports.encode_instruction(sentence, said_ns)
        self._announce("start", episode.name, sentence, "unknown", now_ns)
        episode.take(self._instruction_topic, now_ns, now_ns, head, must_fit=True)
        return episode.name

    def _make_episode(self, now_ns: int, sentence: str) -> EpisodeRecording:
        folder = self._shelf.new_folder(now_ns, sentence)
        record = EpisodeRecord(
            robot=self._robot, instruction=sentence, started_ns=now_ns, versions=dict(self._versions)
        )
        facts = {**self._facts, "instruction": sentence, "outcome": record.outcome}
        try:
            return EpisodeRecording(
                folder=folder, record=record, topics=self._topics, facts=facts, options=self._ports.options()
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # it holds no message
            raise

    def _end(self, outcome: Outcome, note: str, is_discarded: bool = False) -> EpisodeRecording:
        episode = self._current
        if episode is None:
            raise EpisodeError("no episode is being recorded; start one first")
        now_ns, record = self._ports.now_ns(), episode.record
        outcome = record.outcome if outcome == "unknown" else outcome
        if is_discarded:
            self._announce("discard", episode.name, record.instruction, outcome, now_ns)
        self._announce("stop", episode.name, record.instruction, outcome, now_ns)
        episode.end(now_ns, outcome, note, is_discarded)
        self._current = None
        self._ending.append(episode)
        return episode

    def _settle(self, name: str) -> EpisodeResult | None:
        """Wait until an episode that has ended is written; return what became of it."""
        for episode in self._ending:
            if episode.name == name:
                return episode.wait(_LONGEST_ENDING_S)
        return None

    def _is_unsettled(self, name: str) -> bool:
        return any(episode.name == name for episode in self._ending) and self._settle(name) is None

    def _named(self, name: str) -> str:
        name = name or (self._current.name if self._current else self._last or "")
        if not name:
            raise EpisodeError(f"{self._shelf.output_dir}: there is no episode yet; record one first")
        return name

    def _announce(
        self, kind: EventKind, episode: str, instruction: str, outcome: Outcome, stamp_ns: int | None = None
    ) -> None:
        """Publish an event, and write it into the bag of the episode if that is being recorded."""
        stamp_ns = self._ports.now_ns() if stamp_ns is None else stamp_ns
        data = self._publish(kind, episode, instruction, outcome, stamp_ns)
        if self._current is not None and self._current.name == episode:
            self._current.take(self._episode_topic, stamp_ns, stamp_ns, data, must_fit=True)

    def _publish(
        self, kind: EventKind, episode: str, instruction: str, outcome: Outcome, stamp_ns: int | None = None
    ) -> bytes:
        stamp_ns = self._ports.now_ns() if stamp_ns is None else stamp_ns
        event = Event(kind=kind, episode=episode, instruction=instruction, outcome=outcome, stamp_ns=stamp_ns)
        return self._ports.announce(event)


def _sentence(result: EpisodeResult) -> str:
    name, record = result.folder.name, result.record
    captured = f": {result.audit.summary()}" if result.audit else ""
    problem = f" It ended early: {result.problem}" if result.problem else ""
    return f"episode '{name}' ({record.outcome}){captured}.{problem}"
