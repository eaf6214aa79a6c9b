# SPDX-License-Identifier: Apache-2.0
"""Streams to an ``Observation`` at a tick, or a refusal that names the stream. Nothing is ever filled in.

Live, messages come from callbacks and the time is the ROS clock; offline both come from a bag. Everything else is
this file, so both give the same observations to the bit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from vla_core.actions.gripper import open_from_joint
from vla_core.codecs import IMAGE_DECODERS
from vla_core.codecs.image import same_picture
from vla_core.codecs.joint_state import decode_joint_positions
from vla_core.codecs.pose_stamped import decode_pose
from vla_core.codecs.stamp import stamp_ns_of
from vla_core.errors import CodecError, ObservationRefusedError, RefusalKind
from vla_core.geometry import FloatArray, Pose
from vla_core.robot_spec import JOINTS_TYPE, TCP_POSE_TYPE, CameraSpec, RobotSpec
from vla_core.timeline import Sample, StreamBuffer
from vla_core.types import Observation, RgbImage
from vla_core.units import NS_PER_MS

T = TypeVar("T")

TCP_POSE = "tcp_pose"
JOINTS = "joints"
_CAPACITY = 32


def stream_topics(spec: RobotSpec) -> dict[str, str]:
    """Return stream name to relative topic for every stream of a robot."""
    cameras = {name: camera.topic for name, camera in spec.cameras.items()}
    return {**cameras, TCP_POSE: spec.tcp_pose.topic, JOINTS: spec.joints.topic}


def stream_types(spec: RobotSpec) -> dict[str, str]:
    """Return stream name to ROS type for every stream of a robot."""
    cameras: dict[str, str] = {name: camera.type for name, camera in spec.cameras.items()}
    return {**cameras, TCP_POSE: TCP_POSE_TYPE, JOINTS: JOINTS_TYPE}


@dataclass(frozen=True, eq=False)
class Proprioception:
    """What an observation says apart from its pictures.

    Attributes:
        pose_tcp_in_base: Measured pose of the tool centre point in the base frame.
        joint_positions_rad: (J,) float64, in the order of the robot spec.
        gripper_open: 0 closed, 1 open.
    """

    pose_tcp_in_base: Pose
    joint_positions_rad: FloatArray
    gripper_open: float


class Observer:
    """Holds the newest messages of each stream of a robot and makes observations of them. Not thread-safe.

    Streams are the camera names of the robot spec, ``tcp_pose`` and ``joints``. The ``delay_ms`` of a stream is
    taken off its stamps.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self._buffers: dict[str, StreamBuffer[Any]] = {
            **{name: StreamBuffer(_CAPACITY, same_picture) for name in spec.cameras},
            TCP_POSE: StreamBuffer(_CAPACITY),
            JOINTS: StreamBuffer(_CAPACITY),
        }
        self._max_age_ms: dict[str, float] = {
            **{name: camera.max_age_ms for name, camera in spec.cameras.items()},
            TCP_POSE: spec.tcp_pose.max_age_ms,
            JOINTS: spec.joints.max_age_ms,
        }
        self._delay_ns = {
            stream: round(delay_ms * NS_PER_MS)
            for stream, delay_ms in {
                **{name: camera.delay_ms for name, camera in spec.cameras.items()},
                TCP_POSE: spec.tcp_pose.delay_ms,
                JOINTS: spec.joints.delay_ms,
            }.items()
        }

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of all streams."""
        return tuple(self._buffers)

    def push(self, stream: str, message: Any, stamp_ns: int | None = None) -> bool:
        """Store a message; return whether it is the newest of its stream.

        Args:
            stream: Where it belongs.
            message: The message.
            stamp_ns: When it was made; ``None`` for its header stamp.
        """
        stamp_ns = stamp_ns_of(message) if stamp_ns is None else stamp_ns
        return self._buffers[stream].push(stamp_ns - self._delay_ns[stream], message)

    def ages_ms(self, now_ns: int) -> Mapping[str, float]:
        """Return the age of each stream at ``now_ns``, milliseconds; infinite before the first message."""
        samples = {name: buffer.hold(now_ns) for name, buffer in self._buffers.items()}
        return {
            name: (now_ns - sample.stamp_ns) / NS_PER_MS if sample else float("inf")
            for name, sample in samples.items()
        }

    def require_fresh(self, now_ns: int) -> None:
        """Check that each stream is there, young enough and not frozen; cheap, decodes nothing.

        Raises:
            ObservationRefusedError: A stream is not; the sentence names it, its age and its limit.
        """
        for stream in self._buffers:
            self._fresh_sample(stream, now_ns)

    def select(self, now_ns: int) -> Mapping[str, Sample[Any]]:
        """Return the sample of each stream that counts at ``now_ns``; no picture is decoded.

        Raises:
            ObservationRefusedError: A stream is missing, old or frozen.
        """
        return {stream: self._fresh_sample(stream, now_ns) for stream in self._buffers}

    def proprioception(self, samples: Mapping[str, Sample[Any]]) -> Proprioception:
        """Return what selected samples say apart from their pictures.

        Raises:
            ObservationRefusedError: A sample cannot be decoded.
        """
        spec = self._spec
        names = (*spec.joints.names, spec.gripper.joint)
        joints = _decode(JOINTS, lambda m: decode_joint_positions(m, names), samples[JOINTS].value)
        gripper_open = open_from_joint(
            joints[-1], closed=spec.gripper.joint_closed, opened=spec.gripper.joint_open
        )
        return Proprioception(self._decode_pose(samples[TCP_POSE]), joints[:-1], gripper_open)

    def observe(self, now_ns: int) -> Observation:
        """Return the observation at ``now_ns``.

        Raises:
            ObservationRefusedError: A stream is missing, old, frozen or cannot be decoded.
        """
        samples = self.select(now_ns)
        images = {name: decode_picture(self._spec, name, samples[name].value) for name in self._spec.cameras}
        proprioception = self.proprioception(samples)
        return Observation(
            stamp_ns=now_ns,
            images=images,
            pose_tcp_in_base=proprioception.pose_tcp_in_base,
            joint_positions_rad=proprioception.joint_positions_rad,
            gripper_open=proprioception.gripper_open,
            source_stamps_ns={stream: sample.stamp_ns for stream, sample in samples.items()},
        )

    def measured(self, now_ns: int) -> Proprioception:
        """Return what is measured at ``now_ns``; no picture is looked at.

        Raises:
            ObservationRefusedError: TCP pose or joints are missing, old or cannot be decoded.
        """
        return self.proprioception({stream: self._fresh_sample(stream, now_ns) for stream in (TCP_POSE, JOINTS)})

    def _decode_pose(self, sample: Sample[Any]) -> Pose:
        return _decode(TCP_POSE, lambda m: decode_pose(m, self._spec.base_frame), sample.value)

    def _fresh_sample(self, stream: str, now_ns: int) -> Sample[Any]:
        sample = self._buffers[stream].hold(now_ns)
        if sample is None:
            raise self._nothing_yet(stream, now_ns)
        limit_ms, age_ms = self._max_age_ms[stream], (now_ns - sample.stamp_ns) / NS_PER_MS
        if age_ms > limit_ms:
            sentence = f"stream '{stream}' is {age_ms:.0f} ms old, the limit is {limit_ms:.0f} ms"
            raise ObservationRefusedError(stream, RefusalKind.STALE, sentence)
        camera = self._spec.cameras.get(stream)
        if camera is not None and camera.frozen_after_ms is not None:
            still_ms = (sample.stamp_ns - sample.unchanged_since_ns) / NS_PER_MS
            if still_ms >= camera.frozen_after_ms:
                decode_picture(self._spec, stream, sample.value)  # what is wrong as well is worth more to know
                sentence = (
                    f"camera '{stream}' has sent the same picture for {still_ms:.0f} ms, the limit is "
                    f"{camera.frozen_after_ms:.0f} ms"
                )
                raise ObservationRefusedError(stream, RefusalKind.FROZEN, sentence)
        return sample

    def _nothing_yet(self, stream: str, now_ns: int) -> ObservationRefusedError:
        newest = self._buffers[stream].newest
        if newest is None:
            sentence = f"stream '{stream}' has sent nothing yet"
            return ObservationRefusedError(stream, RefusalKind.MISSING, sentence)
        ahead_ms = (newest.stamp_ns - now_ns) / NS_PER_MS
        sentence = f"stream '{stream}' is stamped {ahead_ms:.0f} ms in the future; synchronise the clocks"
        return ObservationRefusedError(stream, RefusalKind.INVALID, sentence)


def decode_picture(spec: RobotSpec, camera: str, message: Any) -> RgbImage:
    """Return the (H, W, 3) uint8 RGB picture in a camera's message.

    Raises:
        ObservationRefusedError: It cannot be decoded, or has another size than the robot spec's.
    """
    return _decode(camera, _camera_decoder(spec.cameras[camera]), message)


def _camera_decoder(camera: CameraSpec) -> Callable[[Any], RgbImage]:
    """Return the decoder of a camera: it also refuses pictures of another size than the robot spec's."""

    def decode(message: Any) -> RgbImage:
        picture: RgbImage = IMAGE_DECODERS[camera.type](message)
        height, width = picture.shape[:2]
        if (width, height) != (camera.width_px, camera.height_px):
            raise CodecError(
                f"image: {width}x{height} pixels found, the robot spec says {camera.width_px}x{camera.height_px}. "
                "Correct one of them"
            )
        return picture

    return decode


def _decode(stream: str, decoder: Callable[[Any], T], message: Any) -> T:
    try:
        return decoder(message)
    except CodecError as error:
        raise ObservationRefusedError(stream, RefusalKind.INVALID, f"stream '{stream}': {error}") from error
