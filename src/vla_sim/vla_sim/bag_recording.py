# SPDX-License-Identifier: Apache-2.0
"""What the simulated robot would publish during an episode, written as a rosbag2 without ROS.

Exactly the topics of the robot spec, as the recorder of the live suite takes them. Stamps are exact: cameras lie
on the grid of their rate, and each picture shows the scene at its stamp. Messages are received a little later, and
none before the first picture: a grid of ticks that begins with the bag sees pictures as new as the live node's,
whose ticks wait for one.
"""

import heapq
import io
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image as Encoder
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from vla_core.actions.gripper import command_from_open
from vla_core.codecs.stamp import split_stamp_ns
from vla_core.geometry import Pose
from vla_core.robot_spec import RobotSpec
from vla_core.types import Command
from vla_sim.cameras import Cameras, Picture
from vla_sim.tabletop import ArmState, Snapshot, Tabletop

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
NS_PER_S = 1_000_000_000
STATE_LATENCY_NS = 500_000
CAMERA_LATENCY_NS = 4_000_000
COMMAND_LATENCY_NS = 4_300_000  # after the picture: whoever commands has seen it
_JPEG_QUALITY = 92


class BagRecording:
    """A witness of an episode (``vla_sim.episode``) that writes a bag. Use it as a context.

    Memory holds the messages of a few milliseconds. Equal episodes give equal bags.

    Args:
        folder: Folder of the bag; it must not exist.
        spec: The robot; its command interface is ``target_pose``.
        cameras: Renders the pictures.
        storage: Key of ``STORAGES``.
        start_ns: Stamp of simulated time zero.
    """

    def __init__(self, folder: Path, spec: RobotSpec, cameras: Cameras, *, storage: str, start_ns: int) -> None:
        self._spec, self._cameras, self._start_ns = spec, cameras, start_ns
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._types = self._store.types
        self._writer = Writer(folder, version=9, storage_plugin=STORAGES[storage])
        self._connections: dict[str, Any] = {}
        self._waiting: list[tuple[int, int, str, Any]] = []
        self._count = self._steps = 0
        self._next_picture = dict.fromkeys(spec.cameras, 0)
        self._before: Snapshot | None = None
        self._now_ns = start_ns

    def __enter__(self) -> "BagRecording":
        self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush(None)
        self._writer.close()

    @property
    def ended_ns(self) -> int:
        """Stamp of the last control step."""
        return self._now_ns

    def on_command(self, time_s: float, command: Command) -> None:
        """Record a command of the arm and, where there is one, of the gripper."""
        stamp_ns = self._stamp(time_s)
        received_ns = stamp_ns + COMMAND_LATENCY_NS
        topic = self._spec.command.topics["target_pose"]
        self._put(received_ns, topic, self._pose(stamp_ns, command.pose_tcp_in_base))
        gripper = self._spec.gripper
        if command.gripper_open is not None and gripper.topic is not None:
            value = command_from_open(
                command.gripper_open, closed=gripper.command_closed, opened=gripper.command_open
            )
            layout = self._types["std_msgs/msg/MultiArrayLayout"]([], 0)
            message = self._types["std_msgs/msg/Float64MultiArray"](layout, np.array([value]))
            self._put(received_ns, gripper.topic, message)

    def on_step(self, tabletop: Tabletop) -> None:
        """Record what arm and cameras measure since the last step."""
        arm, snapshot = tabletop.arm_state(), tabletop.snapshot
        before_ns, self._now_ns = self._now_ns, self._stamp(tabletop.time_s)
        for topic, rate_hz, message in (
            (
                self._spec.tcp_pose.topic,
                self._spec.tcp_pose.rate_hz,
                self._pose(self._now_ns, arm.pose_tcp_in_base),
            ),
            (self._spec.joints.topic, self._spec.joints.rate_hz, self._joints(self._now_ns, arm)),
        ):
            if self._steps % max(1, round(1.0 / (rate_hz * tabletop.period_s))) == 0:
                self._put(self._now_ns + STATE_LATENCY_NS, topic, message)
        self._steps += 1
        for name, stamp_ns in self._due_pictures():
            seen = _between(
                self._before or snapshot, snapshot, (stamp_ns - before_ns) / (self._now_ns - before_ns or 1)
            )
            self._put_picture(name, stamp_ns, self._cameras.render(seen, [name])[name])
        self._before = snapshot
        self._flush(before_ns)

    def _due_pictures(self) -> Iterator[tuple[str, int]]:
        for name, camera in self._spec.cameras.items():
            while (stamp_ns := self._start_ns + round(self._next_picture[name] * NS_PER_S / camera.rate_hz)) <= (
                self._now_ns
            ):
                yield name, stamp_ns
                self._next_picture[name] += 1

    def _put_picture(self, name: str, stamp_ns: int, picture: Picture) -> None:
        camera = self._spec.cameras[name]
        header = self._header(stamp_ns, camera.frame)
        if camera.type == "sensor_msgs/msg/CompressedImage":
            buffer = io.BytesIO()
            Encoder.fromarray(picture).save(buffer, format="JPEG", quality=_JPEG_QUALITY)
            data = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
            message = self._types[camera.type](header, "rgb8; jpeg compressed bgr8", data)
        else:
            height, width = picture.shape[:2]
            message = self._types[camera.type](header, height, width, "rgb8", 0, 3 * width, picture.ravel())
        self._put(stamp_ns + CAMERA_LATENCY_NS, camera.topic, message)

    def _pose(self, stamp_ns: int, pose: Pose) -> Any:
        geometry = self._types["geometry_msgs/msg/Pose"](
            self._types["geometry_msgs/msg/Point"](*pose.position_m),
            self._types["geometry_msgs/msg/Quaternion"](*pose.quat_xyzw),
        )
        header = self._header(stamp_ns, self._spec.base_frame)
        return self._types["geometry_msgs/msg/PoseStamped"](header, geometry)

    def _joints(self, stamp_ns: int, arm: ArmState) -> Any:
        names = [*self._spec.joints.names, self._spec.gripper.joint]
        positions = np.array([*arm.positions_rad, arm.finger_m])
        velocities = np.array([*arm.velocities_rad_s, arm.finger_m_s])
        kind = self._types["sensor_msgs/msg/JointState"]
        return kind(self._header(stamp_ns), names, positions, velocities, np.zeros(0))

    def _header(self, stamp_ns: int, frame: str = "") -> Any:
        stamp = self._types["builtin_interfaces/msg/Time"](*split_stamp_ns(stamp_ns))
        return self._types["std_msgs/msg/Header"](stamp, frame)

    def _stamp(self, time_s: float) -> int:
        return self._start_ns + round(time_s * 1e3) * 1_000_000  # control steps are whole milliseconds

    def _put(self, received_ns: int, topic: str, message: Any) -> None:
        received_ns = max(received_ns, self._start_ns + CAMERA_LATENCY_NS)
        heapq.heappush(self._waiting, (received_ns, self._count, topic, message))
        self._count += 1

    def _flush(self, until_ns: int | None) -> None:
        """Write, in the order of reception, what was received until a time; nothing earlier may come any more."""
        while self._waiting and (until_ns is None or self._waiting[0][0] <= until_ns):
            received_ns, _, topic, message = heapq.heappop(self._waiting)
            if topic not in self._connections:
                name = topic if topic.startswith("/") else f"/{topic}"
                self._connections[topic] = self._writer.add_connection(
                    name, message.__msgtype__, typestore=self._store
                )
            data = self._store.serialize_cdr(message, message.__msgtype__)
            self._writer.write(self._connections[topic], received_ns, data)


def _between(before: Snapshot, after: Snapshot, share: float) -> Snapshot:
    """Return the scene between two control steps; the renderer normalises quaternions."""
    qpos = before.qpos + share * (after.qpos - before.qpos)
    return Snapshot(qpos, after.is_light_on if share > 0.5 else before.is_light_on)
