# SPDX-License-Identifier: Apache-2.0
"""The episode recorder: a node that writes demonstrations, one bag each, when it is told to.

Its callbacks hand bytes on; ``episode_control`` decides, ``episode_recording`` writes.
"""

import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from rclpy.time import Time
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from vla_core.errors import VlaError
from vla_core.robot_spec import RobotSpec
from vla_msgs.msg import EpisodeEvent, Instruction
from vla_msgs.srv import RelabelEpisode, StartEpisode, StopEpisode
from vla_policy_node.inputs import AnyDurabilitySubscription
from vla_policy_node.knobs import declare_knobs, read_knobs
from vla_policy_node.recording.capture_audit import AuditLimits
from vla_policy_node.recording.episode_control import OUTCOMES, EpisodeControl, Event, RecorderPorts
from vla_policy_node.recording.episode_recording import EpisodeResult, RecordingOptions
from vla_policy_node.recording.episode_shelf import EpisodeError, EpisodeShelf
from vla_policy_node.recording.mcap_storage import McapStorage
from vla_policy_node.recording.recorded_topic import RecordedTopic, robot_topics, spoken_topics
from vla_policy_node.recording.recorder_parameters import RecorderParameters
from vla_policy_node.recording.recorder_reporting import RecorderReporter
from vla_policy_node.recording.recorder_versions import recorder_versions
from vla_policy_node.recording.sqlite3_storage import Sqlite3Storage
from vla_policy_node.recording.topic_taps import TopicTaps
from vla_policy_node.spinning import spin_until_asked_to_end

_MIB = 1024 * 1024
_LOOK_PERIOD_S = 0.5


class EpisodeRecorder(Node):
    """Records episodes.

    Args:
        kwargs: Handed to ``Node``.

    Raises:
        VlaError: A parameter or the robot spec is wrong.
        OSError: The output folder cannot be made.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("episode_recorder", **kwargs)
        declare_knobs(self, RecorderParameters)
        parameters = read_knobs(self, RecorderParameters)
        path = Path(parameters.robot_spec)
        spec = RobotSpec.load(path)
        shelf = EpisodeShelf(Path(parameters.output_dir).expanduser().absolute())
        for sentence in shelf.recover():
            self.get_logger().warning(sentence)
        robot, spoken = robot_topics(spec, self.resolve_topic_name), spoken_topics(self.resolve_topic_name)
        latched = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self._episode_topic = spoken[1].name
        self._events = self.create_publisher(EpisodeEvent, self._episode_topic, latched)
        self._own_events: deque[EpisodeEvent] = deque(maxlen=32)
        self._control = self._make_control(shelf, spec, path.read_text(encoding="utf-8"), (*robot, *spoken))
        self._problem = ""
        self._reporter = RecorderReporter(self, self._control)
        self._taps = TopicTaps(self, robot, self._on_message)
        self._spoken = [
            AnyDurabilitySubscription(self, Instruction, spoken[0].name, self._on_instruction),
            AnyDurabilitySubscription(self, EpisodeEvent, spoken[1].name, self._on_event),
        ]
        self._offer_services()
        # A simulated clock may stand still; the look at the disk may not.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / parameters.status_rate_hz, self._on_status_timer, clock=steady)
        self.create_timer(_LOOK_PERIOD_S, self._on_look_timer, clock=steady)
        self.get_logger().info(f"ready; episodes go to {shelf.output_dir}")

    def finish(self) -> None:
        """End the episode that is being recorded and wait until it is written."""
        for result in self._control.close():
            self._tell(result)

    def _make_control(
        self, shelf: EpisodeShelf, spec: RobotSpec, spec_text: str, topics: tuple[RecordedTopic, ...]
    ) -> EpisodeControl:
        versions = recorder_versions()
        embedded_versions = {f"version.{name}": text for name, text in versions.items()}
        ports = RecorderPorts(
            now_ns=lambda: self.get_clock().now().nanoseconds,
            announce=self._announce,
            encode_instruction=_encode_instruction,
            options=lambda: _options(read_knobs(self, RecorderParameters)),
            min_free_bytes=lambda: read_knobs(self, RecorderParameters).min_free_mib * _MIB,
        )
        return EpisodeControl(
            shelf=shelf,
            robot=spec.name,
            versions=versions,
            topics=topics,
            facts={"robot": spec.name, "robot_spec": spec_text, **embedded_versions},
            ports=ports,
        )

    def _offer_services(self) -> None:
        self.create_service(StartEpisode, "~/start", self._on_start)
        self.create_service(StopEpisode, "~/stop", self._answer(self._stop))
        self.create_service(Trigger, "~/discard", self._answer(lambda _: self._control.discard()))
        self.create_service(RelabelEpisode, "~/relabel", self._answer(self._relabel))

    def _on_start(self, request: StartEpisode.Request, response: StartEpisode.Response) -> StartEpisode.Response:
        def start(request: StartEpisode.Request) -> str:
            response.episode = self._control.start(request.instruction)
            self._problem = ""
            problems = "".join(f"; {problem}" for problem in self._taps.problems())
            return f"episode '{response.episode}' is being recorded{problems}"

        return self._answer(start)(request, response)

    def _stop(self, request: StopEpisode.Request) -> str:
        return self._control.stop(OUTCOMES[_checked_outcome(request.outcome)], request.note)

    def _relabel(self, request: RelabelEpisode.Request) -> str:
        keeps = request.outcome == RelabelEpisode.Request.OUTCOME_AS_IT_IS
        outcome = None if keeps else OUTCOMES[_checked_outcome(request.outcome)]
        return self._control.relabel(request.episode, request.instruction, outcome)

    def _answer(self, act: Callable[[Any], str]) -> Callable[[Any, Any], Any]:
        """Return a service callback that answers with what ``act`` returns, or with why it refuses."""

        def callback(request: Any, response: Any) -> Any:
            try:
                response.success, response.message = True, act(request)
            except (VlaError, OSError) as error:
                response.success, response.message = False, str(error)
                self.get_logger().error(response.message)
            self._on_status_timer()
            return response

        return callback

    def _on_message(self, topic: RecordedTopic, received_ns: int, sent_ns: int, data: bytes) -> None:
        self._control.take(topic.name, received_ns, sent_ns, data)

    def _on_instruction(self, message: Instruction) -> None:
        received_ns = self.get_clock().now().nanoseconds
        begins_episodes = self.get_parameter("on_new_instruction").value == "new_episode"
        try:
            done = self._control.hear(message.text, serialize_message(message), received_ns, begins_episodes)
        except VlaError as error:
            self._problem = str(error)
            self.get_logger().error(self._problem)
        else:
            self._problem = ""
            if done:
                self.get_logger().info(done)

    def _on_event(self, message: EpisodeEvent) -> None:
        """Record what others say of the episode; what this node says is in the bag already."""
        if message in self._own_events:
            return
        now_ns = self.get_clock().now().nanoseconds
        self._control.take(self._episode_topic, now_ns, now_ns, serialize_message(message))

    def _on_status_timer(self) -> None:
        for result in self._control.poll():
            self._tell(result)
        self._reporter.publish(self._problem)

    def _on_look_timer(self) -> None:
        self._taps.adapt(is_recording=self._control.current is not None)
        for topic in self._spoken:
            topic.look_for_latched_publisher()

    def _tell(self, result: EpisodeResult) -> None:
        """Say what became of an episode that has ended."""
        self._problem = result.problem or ""
        log = self.get_logger()
        if result.problem:
            log.error(result.problem)
        if result.audit is None:
            return
        for finding in result.audit.findings:
            sentence = f"{result.folder.name}: {finding.sentence}"
            # rclpy wants one line of code for each severity.
            if finding.level == "failure":
                log.error(sentence)
            elif finding.level == "warning":
                log.warning(sentence)
            else:
                log.info(sentence)
        log.info(f"{result.folder.name}: {result.audit.summary()}")

    def _announce(self, event: Event) -> bytes:
        message = EpisodeEvent(
            header=Header(stamp=Time(nanoseconds=event.stamp_ns).to_msg()),
            event=getattr(EpisodeEvent, event.kind.upper()),
            episode=event.episode,
            instruction=event.instruction,
            outcome=OUTCOMES.index(event.outcome),
        )
        self._own_events.append(message)
        self._events.publish(message)
        return bytes(serialize_message(message))


def _encode_instruction(sentence: str, said_ns: int) -> bytes:
    header = Header(stamp=Time(nanoseconds=said_ns).to_msg())
    return bytes(serialize_message(Instruction(header=header, text=sentence)))


def _options(parameters: RecorderParameters) -> RecordingOptions:
    mcap, sqlite3 = McapStorage(parameters.compression), Sqlite3Storage()
    return RecordingOptions(
        storage=mcap if parameters.storage == mcap.name else sqlite3,
        queue_bytes=parameters.queue_mib * _MIB,
        limits=AuditLimits(min_rate_share=parameters.min_rate_share, max_gap_periods=parameters.max_gap_periods),
    )


def _checked_outcome(number: int) -> int:
    if number >= len(OUTCOMES):
        allowed = ", ".join(f"{index} ({name})" for index, name in enumerate(OUTCOMES))
        raise EpisodeError(f"outcome {number} is none; allowed: {allowed}")
    return number


def run(args: list[str] | None = None) -> int:
    """Spin a recorder until SIGINT or SIGTERM, then end its episode; return the exit code."""
    return spin_until_asked_to_end(EpisodeRecorder, args, finish=EpisodeRecorder.finish)


def main() -> None:
    """Entry point of ``ros2 run vla_policy_node episode_recorder``."""
    sys.exit(run())


if __name__ == "__main__":
    main()
