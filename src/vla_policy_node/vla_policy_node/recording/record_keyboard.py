# SPDX-License-Identifier: Apache-2.0
"""Remote control of the episode recorder in a terminal: one key starts, ends, discards or relabels.

It calls the recorder's services and shows what they answer; everything is decided there.
"""

import json
import os
import select
import sys
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_core.terminal_keys import single_keys, typed_line
from vla_msgs.msg import EpisodeEvent
from vla_msgs.srv import RelabelEpisode, StartEpisode, StopEpisode

KEYS = """\
space  start, or stop without an outcome
s      stop as success
f      stop as failure
d      discard the episode, or the last one
r      relabel the episode, or the last one
q      quit (an episode goes on)"""
_ANSWER_S = 90.0
_LOOK_S = 0.2


class RecordKeyboard(Node):
    """Calls the services of a recorder. Parameter ``recorder`` is its name."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("record_keyboard", **kwargs)
        self.declare_parameter("recorder", "episode_recorder")
        recorder = self.get_parameter("recorder").value
        self._start = self.create_client(StartEpisode, f"{recorder}/start")
        self._stop = self.create_client(StopEpisode, f"{recorder}/stop")
        self._discard = self.create_client(Trigger, f"{recorder}/discard")
        self._relabel = self.create_client(RelabelEpisode, f"{recorder}/relabel")
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(String, f"{recorder}/status", self._on_status, latched)
        self._sentence = ""
        self._is_recording = False

    def press(self, key: str) -> str:
        """Do what a key stands for; return what came of it, empty for a key without meaning."""
        if key == " ":
            return self._stop_as(EpisodeEvent.OUTCOME_UNKNOWN) if self._is_recording else self._start_one()
        if key == "s":
            return self._stop_as(EpisodeEvent.OUTCOME_SUCCESS)
        if key == "f":
            return self._stop_as(EpisodeEvent.OUTCOME_FAILURE)
        if key == "d":
            return self._ask(self._discard, Trigger.Request())
        if key == "r":
            return self._relabel_one()
        return ""

    def _start_one(self) -> str:
        known = f" [{self._sentence}]" if self._sentence else " [the newest on vla/instruction]"
        sentence = typed_line(f"sentence{known}: ") or self._sentence
        answer = self._ask(self._start, StartEpisode.Request(instruction=sentence))
        self._sentence = sentence
        return answer

    def _stop_as(self, outcome: int) -> str:
        return self._ask(self._stop, StopEpisode.Request(outcome=outcome))

    def _on_status(self, message: String) -> None:
        self._is_recording = json.loads(message.data)["state"] == "recording"

    def _relabel_one(self) -> str:
        sentence = typed_line("right sentence (empty leaves it): ")
        word = typed_line("outcome (s success, f failure, u unknown, empty leaves it): ").lower()[:1]
        outcomes = {
            "s": EpisodeEvent.OUTCOME_SUCCESS,
            "f": EpisodeEvent.OUTCOME_FAILURE,
            "u": EpisodeEvent.OUTCOME_UNKNOWN,
        }
        outcome = outcomes.get(word, RelabelEpisode.Request.OUTCOME_AS_IT_IS)
        return self._ask(self._relabel, RelabelEpisode.Request(instruction=sentence, outcome=outcome))

    def _ask(self, client: Any, request: Any) -> str:
        if not client.wait_for_service(timeout_sec=5.0):
            return (
                f"NO: {client.srv_name} is not there; start the recorder, or name it by the parameter 'recorder'"
            )
        future = client.call_async(request)
        rclpy.spin_until_future_complete(self, future, timeout_sec=_ANSWER_S)
        answer = future.result() if future.done() else None
        if answer is None:
            return f"NO: {client.srv_name} has not answered for {_ANSWER_S:.0f} s"
        return f"{'ok' if answer.success else 'NO'}: {answer.message}"


def listen(keyboard: RecordKeyboard) -> None:
    """Act on keys until ``q`` or the end of the input."""
    while True:
        rclpy.spin_once(keyboard, timeout_sec=0.0)  # the status
        if not select.select([sys.stdin], [], [], _LOOK_S)[0]:
            continue
        # Not through sys.stdin, which would keep back what follows from input().
        key = os.read(sys.stdin.fileno(), 1).decode(errors="replace")
        if key in ("q", "", "\x04"):
            return
        answer = keyboard.press(key)
        if answer:
            print(answer, flush=True)


def main() -> None:
    """Entry point of ``ros2 run vla_policy_node record_keyboard``."""
    if not sys.stdin.isatty():
        sys.exit("record_keyboard: the input is no terminal; run it in one, or call the recorder's services")
    # Ctrl-C ends it as any program of the terminal.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    keyboard = RecordKeyboard()
    try:
        with single_keys():
            print(KEYS, flush=True)
            listen(keyboard)
    except KeyboardInterrupt:
        pass
    finally:
        keyboard.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
