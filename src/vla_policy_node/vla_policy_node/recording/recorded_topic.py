# SPDX-License-Identifier: Apache-2.0
"""Which topics an episode holds: those of the robot spec, the instruction and the episode's own events."""

from collections.abc import Callable
from dataclasses import dataclass

from vla_core.episode_record import EPISODE_TOPIC, INSTRUCTION_TOPIC
from vla_core.observer import JOINTS, TCP_POSE, stream_types
from vla_core.robot_spec import COMMAND_TYPES, GRIPPER_COMMAND_TYPE, RobotSpec

INSTRUCTION_TYPE = "vla_msgs/msg/Instruction"
EPISODE_TYPE = "vla_msgs/msg/EpisodeEvent"
# Types without a stamp, and those whose stamp may be left zero.
_UNSTAMPED_TYPES = {GRIPPER_COMMAND_TYPE, COMMAND_TYPES["forward_position"], INSTRUCTION_TYPE, EPISODE_TYPE}


@dataclass(frozen=True, kw_only=True)
class RecordedTopic:
    """One topic of an episode.

    Attributes:
        name: Resolved name, the one in the bag.
        type: ROS type of its messages.
        stream: What it is to the robot, for example ``static``, ``tcp_pose`` or ``command.twist``.
        rate_hz: Rate that the robot spec promises; ``None`` where it promises none.
        is_camera: Whether its messages are pictures.
        may_repeat: Whether its pictures may honestly repeat themselves.
    """

    name: str
    type: str
    stream: str
    rate_hz: float | None = None
    is_camera: bool = False
    may_repeat: bool = False

    @property
    def is_required(self) -> bool:
        """Whether an episode without it is of no use."""
        return self.rate_hz is not None

    @property
    def is_stamped(self) -> bool:
        """Whether its messages begin with a ``std_msgs/msg/Header`` that its publisher fills in."""
        return self.type not in _UNSTAMPED_TYPES


def robot_topics(spec: RobotSpec, resolve: Callable[[str], str]) -> tuple[RecordedTopic, ...]:
    """Return the topics of a robot spec: streams first, then commands.

    Args:
        spec: The robot.
        resolve: Gives the full name of a relative topic (``Node.resolve_topic_name``).
    """
    types = stream_types(spec)
    cameras = [
        RecordedTopic(
            name=resolve(camera.topic),
            type=types[name],
            stream=name,
            rate_hz=camera.rate_hz,
            is_camera=True,
            may_repeat=camera.frozen_after_ms is None,
        )
        for name, camera in spec.cameras.items()
    ]
    states = [
        RecordedTopic(name=resolve(state.topic), type=types[stream], stream=stream, rate_hz=state.rate_hz)
        for stream, state in ((TCP_POSE, spec.tcp_pose), (JOINTS, spec.joints))
    ]
    commands = [
        RecordedTopic(name=resolve(topic), type=COMMAND_TYPES[interface], stream=f"command.{interface}")
        for interface, topic in spec.command.topics.items()
    ]
    if spec.gripper.topic is None:
        return (*cameras, *states, *commands)
    gripper = RecordedTopic(name=resolve(spec.gripper.topic), type=GRIPPER_COMMAND_TYPE, stream="gripper")
    return (*cameras, *states, *commands, gripper)


def spoken_topics(resolve: Callable[[str], str]) -> tuple[RecordedTopic, RecordedTopic]:
    """Return the topic of the sentence and that of the episode's events."""
    instruction = resolve(INSTRUCTION_TOPIC.lstrip("/"))
    episode = resolve(EPISODE_TOPIC.lstrip("/"))
    return (
        RecordedTopic(name=instruction, type=INSTRUCTION_TYPE, stream="instruction"),
        RecordedTopic(name=episode, type=EPISODE_TYPE, stream="episode"),
    )
