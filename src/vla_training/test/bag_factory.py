# SPDX-License-Identifier: Apache-2.0
"""Bags with known truth: small pictures that tell their number, poses on a known path, any storage, any fault."""

import io
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from PIL import Image as Picture
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vla_core.codecs.stamp import split_stamp_ns
from vla_core.geometry import Pose, compose
from vla_core.robot_spec import RobotSpec
from vla_training.bags.message_types import OWN_TYPES

SPEC_FILE = Path(__file__).resolve().parents[3] / "tests" / "data" / "tiny_robot.yaml"
SPEC = RobotSpec.load(SPEC_FILE)
STORE = get_typestore(Stores.ROS2_JAZZY)
for _kind, _text in OWN_TYPES.items():
    STORE.register(get_types_from_msg(_text, _kind))
TYPES = STORE.types
MS = 1_000_000
S = 1_000 * MS
T0 = 1_700_000_000 * S
PERIOD_S = 0.1
START = Pose.from_euler([0.4, 0.0, 0.3], [3.1, 0.05, -0.2])

Message = tuple[int, str, Any]
"""Time of reception, absolute topic, message."""


def path_of(motion: Iterable[float], start: Pose = START) -> Callable[[float], Pose]:
    """Return the path that makes ``motion`` (tool frame, metres and radians) in each period."""
    step = np.asarray(list(motion), dtype=np.float64)

    def pose_at(t_s: float) -> Pose:
        whole, part = divmod(t_s / PERIOD_S + 1e-9, 1.0)
        pose = start
        for _ in range(int(whole)):
            pose = compose(pose, Pose.from_euler(step[:3], step[3:]))
        return compose(pose, Pose.from_euler(part * step[:3], part * step[3:]))

    return pose_at


def still_between(path: Callable[[float], Pose], begin_s: float, end_s: float) -> Callable[[float], Pose]:
    """Return a path that begins to move at ``begin_s`` and stops at ``end_s``."""
    return lambda t_s: path(min(max(t_s, begin_s), end_s) - begin_s)


CURVE = path_of([0.004, -0.002, 0.001, 0.01, -0.005, 0.02])


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What a robot did. Stamps are reception minus latency; all streams begin at ``begin_s``."""

    path: Callable[[float], Pose] = CURVE
    seconds: float = 2.0
    begin_s: float = 0.0
    opening: Callable[[float], float] = lambda t_s: 1.0
    camera_hz: float = 30.0
    body_hz: float = 100.0
    latency_ms: float = 0.0
    drop: Callable[[str, int], bool] = lambda stream, number: False

    def messages(self) -> Iterator[Message]:
        """Yield the messages of the robot's streams in the order of reception."""
        yield from sorted(self._messages(), key=lambda entry: entry[0])

    def _messages(self) -> Iterator[Message]:
        delay = round(self.latency_ms * MS)
        for k in range(round(self.seconds * self.camera_hz) + 1):
            stamp = self._stamp(k, self.camera_hz)
            if not self.drop("static", k):
                yield stamp + delay, "/" + SPEC.cameras["static"].topic, raw_image(stamp, picture("static", k))
            if not self.drop("wrist", k):
                yield stamp + delay, "/" + SPEC.cameras["wrist"].topic, png_image(stamp, picture("wrist", k))
        for k in range(round(self.seconds * self.body_hz) + 1):
            stamp = self._stamp(k, self.body_hz)
            t_s = k / self.body_hz
            if not self.drop("tcp_pose", k):
                yield stamp + delay, "/" + SPEC.tcp_pose.topic, pose(stamp, self.path(t_s))
            if not self.drop("joints", k):
                yield stamp + delay, "/" + SPEC.joints.topic, joints(stamp, self.opening(t_s))

    def _stamp(self, number: int, rate_hz: float) -> int:
        return at(self.begin_s) + round(number * S / rate_hz)


def at(t_s: float) -> int:
    """Return the time of reception that is ``t_s`` seconds after the beginning."""
    return T0 + round(t_s * S)


def header(stamp_ns: int, frame_id: str = "") -> Any:
    stamp = TYPES["builtin_interfaces/msg/Time"](*split_stamp_ns(stamp_ns))
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def picture(camera: str, number: int) -> np.ndarray:
    """Return a picture that differs from all others of its camera."""
    size = (SPEC.cameras[camera].height_px, SPEC.cameras[camera].width_px, 3)
    pixels = np.full(size, number % 200, dtype=np.uint8)
    pixels[0, :4, 0] = list(struct.pack("<I", number))
    pixels[:, -1, 1] = 255 if camera == "wrist" else 0
    return pixels


def number_in(pixels: np.ndarray) -> int:
    """Return the number that a picture tells."""
    return int(struct.unpack("<I", pixels[0, :4, 0].tobytes())[0])


def raw_image(stamp_ns: int, pixels: np.ndarray, encoding: str = "rgb8") -> Any:
    height, width = pixels.shape[:2]
    head = header(stamp_ns, SPEC.cameras["static"].frame)
    return TYPES["sensor_msgs/msg/Image"](head, height, width, encoding, 0, width * 3, pixels.ravel())


def png_image(stamp_ns: int, pixels: np.ndarray) -> Any:
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return compressed_image(stamp_ns, buffer.getvalue())


def compressed_image(stamp_ns: int, data: bytes) -> Any:
    head = header(stamp_ns, SPEC.cameras["wrist"].frame)
    return TYPES["sensor_msgs/msg/CompressedImage"](head, "png", np.frombuffer(data, dtype=np.uint8))


def pose(stamp_ns: int, at_pose: Pose) -> Any:
    geometry = TYPES["geometry_msgs/msg/Pose"](
        TYPES["geometry_msgs/msg/Point"](*at_pose.position_m),
        TYPES["geometry_msgs/msg/Quaternion"](*at_pose.quat_xyzw),
    )
    return TYPES["geometry_msgs/msg/PoseStamped"](header(stamp_ns, SPEC.base_frame), geometry)


def joints(stamp_ns: int, opening: float) -> Any:
    names = [SPEC.gripper.joint, *SPEC.joints.names]
    finger = SPEC.gripper.joint_closed + opening * (SPEC.gripper.joint_open - SPEC.gripper.joint_closed)
    positions = np.array([finger, *(0.1 * k for k in range(len(SPEC.joints.names)))])
    empty = np.zeros(0)
    return TYPES["sensor_msgs/msg/JointState"](header(stamp_ns), names, positions, empty, empty)


def twist(stamp_ns: int, linear: Iterable[float], angular: Iterable[float], frame: str = SPEC.base_frame) -> Any:
    vector = TYPES["geometry_msgs/msg/Vector3"]
    body = TYPES["geometry_msgs/msg/Twist"](vector(*linear), vector(*angular))
    return TYPES["geometry_msgs/msg/TwistStamped"](header(stamp_ns, frame), body)


def gripper_command(opening: float) -> Any:
    layout = TYPES["std_msgs/msg/MultiArrayLayout"]([], 0)
    gripper = SPEC.gripper
    value = gripper.command_closed + opening * (gripper.command_open - gripper.command_closed)
    return TYPES["std_msgs/msg/Float64MultiArray"](layout, np.array([value]))


def say(t_s: float, text: str) -> Message:
    """Return an instruction."""
    return at(t_s), "/vla/instruction", TYPES["vla_msgs/msg/Instruction"](header(at(t_s)), text)


def mark(t_s: float, kind: str, sentence: str = "", name: str = "", outcome: int = 0) -> Message:
    """Return a marker of an episode."""
    event = {"start": 1, "stop": 2, "discard": 3, "relabel": 4}[kind]
    message = TYPES["vla_msgs/msg/EpisodeEvent"](header(at(t_s)), event, name, sentence, outcome)
    return at(t_s), "/vla/episode", message


def write_bag(folder: Path, messages: Iterable[Message], storage: str = "mcap") -> Path:
    """Write a bag by ``rosbags``; storage: mcap or sqlite3, also with -zstd (mcap alone), -message or -file."""
    kind, _, mode = storage.partition("-")
    plugin = StoragePlugin.MCAP if kind == "mcap" else StoragePlugin.SQLITE3
    writer = Writer(folder, version=9, storage_plugin=plugin)
    modes = {"zstd": CompressionMode.STORAGE, "message": CompressionMode.MESSAGE, "file": CompressionMode.FILE}
    if mode:
        writer.set_compression(modes[mode], CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for received_ns, topic, message in sorted(messages, key=lambda entry: entry[0]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
            data = STORE.serialize_cdr(message, message.__msgtype__)
            writer.write(connections[topic], received_ns, data)
    return folder


def write_mcap(
    path: Path,
    messages: Iterable[Message],
    *,
    compression: CompressionType = CompressionType.ZSTD,
    chunked: bool = True,
    chunk_bytes: int = 20_000,
) -> Path:
    """Write one MCAP file by the package ``mcap``, in the order given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = McapWriter(file, chunk_size=chunk_bytes, compression=compression, use_chunking=chunked)
        writer.start(profile="ros2")
        channels: dict[str, int] = {}
        for received_ns, topic, message in messages:
            kind = message.__msgtype__
            if topic not in channels:
                text = STORE.generate_msgdef(kind, ros_version=2)[0].encode()
                schema = writer.register_schema(kind, "ros2msg", text)
                channels[topic] = writer.register_channel(topic, "cdr", schema)
            data = bytes(STORE.serialize_cdr(message, kind))
            writer.add_message(channels[topic], received_ns, data, received_ns)
        writer.finish()
    return path


def zstd_file(path: Path) -> Path:
    """Compress a file as rosbag2 does; the plain one is removed."""
    packed = path.with_name(path.name + ".zstd")
    packed.write_bytes(zstandard.ZstdCompressor().compress(path.read_bytes()))
    path.unlink()
    return packed


def with_camera(**changes: Any) -> RobotSpec:
    """Return the robot with a changed static camera."""
    cameras = {**SPEC.cameras, "static": replace(SPEC.cameras["static"], **changes)}
    return replace(SPEC, cameras=cameras)
