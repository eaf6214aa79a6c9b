# SPDX-License-Identifier: Apache-2.0
"""What arm and gripper had been told until a time, from the recorded command topics."""

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from vla_core.codecs.pose_stamped import decode_pose
from vla_core.errors import CodecError
from vla_core.geometry import FloatArray, Pose, step_towards
from vla_core.robot_spec import COMMAND_TYPES, CommandInterface, RobotSpec
from vla_core.units import NS_PER_S
from vla_training.bags.message_types import UndecodableMessageError
from vla_training.bags.raw_message import RawMessage

TCP_INTERFACES: tuple[CommandInterface, ...] = ("target_pose", "twist")
"""The interfaces whose commands say where the TCP shall be; joint commands do not."""
_LONGEST_GAP_PERIODS = 2.5


class CommandFollower:
    """Takes the commands of a robot in the order of reception.

    Poses that are commanded one after the other at the robot's rate are a path: a tick between two of them lies
    between them, too. Otherwise the actions of equal motion would differ by how many commands fell into each tick.
    A pose that is not followed by another for longer is held.

    A twist, given in axes of the base, is integrated: what ``pose_at`` returns then has no meaning of its own, but
    from one tick to the next it moves as the arm was told to.

    Attributes:
        between: Time asked for to the pose between the commands before and after it, once that came.

    Args:
        spec: The robot.
        twist_timeout_ns: A twist that is not repeated for this long has ended.
    """

    def __init__(self, spec: RobotSpec, twist_timeout_ns: int) -> None:
        self._spec, self._timeout_ns = spec, twist_timeout_ns
        self._pose: Pose | None = None
        self._twist: Any = None
        self._twist_ns = self._moved_ns = 0
        self._gripper_open: float | None = None
        self._told_ns = 0
        self._longest_gap_ns = round(_LONGEST_GAP_PERIODS * NS_PER_S / spec.command.rate_hz)
        self._waiting_ns: list[int] = []
        self.between: dict[int, Pose] = {}

    @property
    def gripper_open(self) -> float | None:
        """What the gripper was told last, 0 closed or 1 open; ``None`` before the first command."""
        return self._gripper_open

    def take_motion(self, message: Any, raw: RawMessage) -> None:
        """Take a command of the arm.

        Raises:
            UndecodableMessageError: It is in another frame, of another type, or not finite.
        """
        expected = COMMAND_TYPES[self._spec.command.interface]
        if raw.type != expected:
            raise UndecodableMessageError(f"{raw.topic}: the type is {raw.type}, expected {expected}")
        if self._spec.command.interface == "target_pose":
            try:
                pose = decode_pose(message, self._spec.base_frame)
            except CodecError as error:
                raise UndecodableMessageError(f"{raw.topic}: {error}") from error
            self._take_pose(pose, raw.received_ns)
            return
        frame = message.header.frame_id.lstrip("/")
        if frame not in ("", self._spec.base_frame.lstrip("/")):
            raise UndecodableMessageError(
                f"{raw.topic}: frame_id is '{frame}', the robot spec says '{self._spec.base_frame}'"
            )
        twist = message.twist
        if not np.all(np.isfinite([*_xyz(twist.linear), *_xyz(twist.angular)])):
            raise UndecodableMessageError(f"{raw.topic}: a twist is not finite")
        self._move_until(raw.received_ns)
        self._twist, self._twist_ns = twist, raw.received_ns

    def take_gripper(self, message: Any, raw: RawMessage) -> None:
        """Take a command of the gripper.

        Raises:
            UndecodableMessageError: It does not hold one value.
        """
        values = getattr(message, "data", None)
        if values is None or len(values) != 1 or not np.isfinite(values[0]):
            raise UndecodableMessageError(f"{raw.topic}: a gripper command holds one finite value")
        gripper = self._spec.gripper
        share = (float(values[0]) - gripper.command_closed) / (gripper.command_open - gripper.command_closed)
        self._gripper_open = 1.0 if share > 0.5 else 0.0

    def pose_at(self, time_ns: int) -> Pose | None:
        """Return the pose that was asked for until a time; ``None`` before the first command."""
        if self._twist is not None:
            self._move_until(time_ns)
        elif self._pose is not None:
            self._waiting_ns.append(time_ns)
        return self._pose

    def _take_pose(self, pose: Pose, received_ns: int) -> None:
        gap_ns = received_ns - self._told_ns
        if self._pose is not None and 0 < gap_ns <= self._longest_gap_ns:
            for time_ns in self._waiting_ns:
                self.between[time_ns] = step_towards(self._pose, pose, (time_ns - self._told_ns) / gap_ns)
        self._waiting_ns.clear()
        self._pose, self._told_ns = pose, received_ns

    def _move_until(self, time_ns: int) -> None:
        """Integrate the twist in force up to a time, or to the moment when it had ended."""
        if self._twist is None:
            self._pose, self._moved_ns = Pose.identity(), time_ns
            return
        until_ns = min(time_ns, self._twist_ns + self._timeout_ns)
        dt_s = max(0, until_ns - max(self._moved_ns, self._twist_ns)) / NS_PER_S
        self._moved_ns = max(self._moved_ns, time_ns)
        assert self._pose is not None
        turn = Rotation.from_rotvec(_xyz(self._twist.angular) * dt_s)
        step_m = _xyz(self._twist.linear) * dt_s
        self._pose = Pose(self._pose.position_m + step_m, turn * self._pose.rotation)


def _xyz(vector: Any) -> FloatArray:
    return np.array([vector.x, vector.y, vector.z], dtype=np.float64)
