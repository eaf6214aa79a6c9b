# SPDX-License-Identifier: Apache-2.0
"""One row per tick of a bag, some kilobytes and no picture, so that a bag of hours fits into memory."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_core.errors import ObservationRefusedError
from vla_core.geometry import FloatArray, Pose
from vla_core.observer import Proprioception
from vla_core.timeline import Sample
from vla_core.types import Observation, RgbImage

Int64Array = NDArray[np.int64]
Refusal = tuple[str, str]
"""Stream, and what is wrong with it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TickTable:
    """T ticks. A refused tick has commands only: no pose, NaN for numbers, -1 for pictures and stamps.

    Attributes:
        stamp_ns: (T,) int64.
        refusals: T entries; ``None`` where there is an observation.
        poses: T measured poses, TCP in base.
        joints: (T, J) radians.
        gripper_open: (T,) 0 closed, 1 open.
        pictures: Camera to (T,) the number of the message that shows the picture.
        source_stamps: Stream to (T,) stamp of the message used, nanoseconds.
        commands: T poses that the arm had been told to take at the tick; ``None`` before the first command.
        gripper_command: (T,) opening that the gripper had been told to take, 0 or 1; NaN before the first.
        reasons: Refusal to the sentence of the first tick that was refused so.
    """

    stamp_ns: Int64Array
    refusals: tuple[Refusal | None, ...]
    poses: tuple[Pose | None, ...]
    joints: FloatArray
    gripper_open: FloatArray
    pictures: dict[str, Int64Array]
    source_stamps: dict[str, Int64Array]
    commands: tuple[Pose | None, ...]
    gripper_command: FloatArray
    reasons: Mapping[Refusal, str]

    def __len__(self) -> int:
        return len(self.stamp_ns)

    def observation(self, tick: int, images: Mapping[str, RgbImage]) -> Observation:
        """Return the observation of a tick that was not refused, with its decoded pictures."""
        pose = self.poses[tick]
        assert pose is not None, "the tick was refused"
        return Observation(
            stamp_ns=int(self.stamp_ns[tick]),
            images=images,
            pose_tcp_in_base=pose,
            joint_positions_rad=self.joints[tick],
            gripper_open=float(self.gripper_open[tick]),
            source_stamps_ns={name: int(stamps[tick]) for name, stamps in self.source_stamps.items()},
        )


class TickRows:
    """Collects the rows of a table.

    Args:
        cameras: Names of the cameras.
        num_joints: Number of arm joints.
    """

    def __init__(self, cameras: tuple[str, ...], num_joints: int) -> None:
        self._num_joints = num_joints
        self._stamp_ns = array("q")
        self._refusals: list[Refusal | None] = []
        self._reasons: dict[Refusal, str] = {}
        self._poses: list[Pose | None] = []
        self._joints, self._gripper_open = array("d"), array("d")
        self._pictures = {camera: array("q") for camera in cameras}
        self._source_stamps: dict[str, array[int]] = {}
        self._commands: list[Pose | None] = []
        self._gripper_command = array("d")

    def add(self, tick_ns: int, samples: Mapping[str, Sample[Any]], proprioception: Proprioception) -> None:
        """Add a tick with an observation."""
        for camera, numbers in self._pictures.items():
            numbers.append(samples[camera].number)
        for stream, sample in samples.items():
            self._stamps_of(stream).append(sample.stamp_ns)
        self._poses.append(proprioception.pose_tcp_in_base)
        self._joints.extend(proprioception.joint_positions_rad)
        self._gripper_open.append(proprioception.gripper_open)
        self._refusals.append(None)
        self._stamp_ns.append(tick_ns)

    def refuse(self, tick_ns: int, refusal: ObservationRefusedError) -> None:
        """Add a tick without an observation."""
        for numbers in (*self._pictures.values(), *self._source_stamps.values()):
            numbers.append(-1)
        self._poses.append(None)
        self._joints.extend([np.nan] * self._num_joints)
        self._gripper_open.append(np.nan)
        reason = refusal.stream, refusal.kind.value
        self._refusals.append(reason)
        self._reasons.setdefault(reason, str(refusal))
        self._stamp_ns.append(tick_ns)

    def add_commands(self, pose: Pose | None, gripper_open: float | None) -> None:
        """Add to the newest tick what arm and gripper had been told until then."""
        self._commands.append(pose)
        self._gripper_command.append(np.nan if gripper_open is None else gripper_open)

    def table(self, between: Mapping[int, Pose]) -> TickTable:
        """Return what was collected.

        Args:
            between: Tick to the pose between two commands, instead of the one before it.
        """
        num = len(self._stamp_ns)
        return TickTable(
            stamp_ns=np.array(self._stamp_ns, dtype=np.int64),
            refusals=tuple(self._refusals),
            poses=tuple(self._poses),
            joints=np.array(self._joints).reshape(num, self._num_joints),
            gripper_open=np.array(self._gripper_open),
            pictures={name: np.array(numbers, dtype=np.int64) for name, numbers in self._pictures.items()},
            source_stamps={name: np.array(ns, dtype=np.int64) for name, ns in self._source_stamps.items()},
            commands=tuple(map(between.get, self._stamp_ns, self._commands)),
            gripper_command=np.array(self._gripper_command),
            reasons=self._reasons,
        )

    def _stamps_of(self, stream: str) -> "array[int]":
        if stream not in self._source_stamps:  # until now every tick was refused
            self._source_stamps[stream] = array("q", [-1] * len(self._stamp_ns))
        return self._source_stamps[stream]
