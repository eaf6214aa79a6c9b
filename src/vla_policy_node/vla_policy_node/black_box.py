# SPDX-License-Identifier: Apache-2.0
"""What happened before the arm was stopped: the last seconds of inputs, chunks and decisions, as an MCAP file.

Messages are only remembered; they are serialised and written, by a thread of its own, when there is a reason to.
Pictures are thinned, so that memory and file stay small.
"""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from vla_core.errors import VlaError
from vla_core.supervisor import Reason, State, Verdict
from vla_core.units import NS_PER_S
from vla_policy_node.recording.bag_writer import BagTopic
from vla_policy_node.recording.mcap_storage import McapStorage
from vla_policy_node.recording.message_definitions import message_definition

_PICTURE_SPACING_NS = NS_PER_S // 5
_ORDINARY = frozenset({Reason.DISARMED, Reason.TAKEN_OVER, Reason.DEAD_MAN, Reason.NOT_ACTIVE})
_Heard = tuple[int, str, Any]


class BlackBox:
    """Remembers messages for some seconds. Used by the executor's thread.

    Args:
        folder: Where files go, made when the first is written; ``None`` to remember and write nothing.
        kept_s: How long a message is remembered, seconds.
        say: Told where a file is, or why there is none; called in the writing thread.
    """

    def __init__(self, folder: Path | None, kept_s: float, say: Callable[[str], Any]) -> None:
        self._folder, self._kept_ns, self._say = folder, round(kept_s * NS_PER_S), say
        self._heard: deque[_Heard] = deque()
        self._picture_ns: dict[str, int] = {}
        self._last: tuple[State, Reason] | None = None
        self._next_ns = 0
        self._writing: threading.Thread | None = None

    def note(self, topic: str, message: Any, now_ns: int) -> None:
        """Remember a message of a topic (resolved name)."""
        if self._folder is None:
            return
        if isinstance(message, Image | CompressedImage):
            if 0 <= now_ns - self._picture_ns.get(topic, -_PICTURE_SPACING_NS) < _PICTURE_SPACING_NS:
                return
            self._picture_ns[topic] = now_ns
        self._heard.append((now_ns, topic, message))
        while now_ns - self._heard[0][0] > self._kept_ns:
            self._heard.popleft()

    def look(self, verdict: Verdict, now_ns: int) -> None:
        """Write what is remembered when the arm has just been kept still for a reason that one wants to look into.

        A stop is always written; holds, which may follow each other quickly, not twice for the same seconds.
        """
        last, self._last = self._last, (verdict.state, verdict.reason)
        if self._folder is None or self._last == last or verdict.reason in _ORDINARY:
            return
        was_moving = last is not None and last[0] in (State.RUNNING, State.HOLDING)
        if not was_moving or verdict.state not in (State.HOLDING, State.STOPPED):
            return
        if verdict.state is State.HOLDING and now_ns < self._next_ns:
            return
        self._next_ns = now_ns + self._kept_ns
        self._write(self._folder, verdict, now_ns)

    def close(self) -> None:
        """Wait for the file that is being written."""
        if self._writing is not None:
            self._writing.join(10.0)

    def _write(self, folder: Path, verdict: Verdict, now_ns: int) -> None:
        moment = datetime.fromtimestamp(now_ns / NS_PER_S, tz=UTC)
        path = folder / f"{moment:%Y%m%dT%H%M%S.%f}Z_{verdict.reason.name.lower()}.mcap"
        facts = {"state": verdict.state.name, "reason": verdict.reason.name, "detail": verdict.detail}
        self._writing = threading.Thread(
            target=self._write_file,
            args=(self._writing, path, list(self._heard), facts),
            name="black_box",
            daemon=True,
        )
        self._writing.start()

    def _write_file(
        self, before: threading.Thread | None, path: Path, heard: list[_Heard], facts: dict[str, str]
    ) -> None:
        if before is not None:
            before.join()  # a stop that follows a hold waits for its file, and is not left out
        draft = path.with_suffix(".mcap.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_draft(draft, heard, facts)
            draft.rename(path)
            self._say(f"black box: what happened before '{facts['reason']}' is in {path}")
        except (VlaError, OSError) as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)  # on a disk that is full, half a file is only in the way
            self._say(f"black box: nothing was kept: {error}")


def _write_draft(draft: Path, heard: list[_Heard], facts: dict[str, str]) -> None:
    types = {topic: _type_of(message) for _, topic, message in heard}
    topics = [BagTopic(topic, message_definition(kind)) for topic, kind in types.items()]
    writer = McapStorage().begin(draft, topics, facts)
    try:
        for received_ns, topic, message in heard:
            writer.write(topic, received_ns, received_ns, serialize_message(message))
        writer.finish(facts)
    except (VlaError, OSError):
        writer.abandon()
        raise


def _type_of(message: Any) -> str:
    return f"{type(message).__module__.split('.', maxsplit=1)[0]}/msg/{type(message).__name__}"
