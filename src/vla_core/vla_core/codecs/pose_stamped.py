# SPDX-License-Identifier: Apache-2.0
"""``geometry_msgs/PoseStamped`` to a ``Pose`` and back."""

from typing import Any

from vla_core.errors import CodecError
from vla_core.geometry import Pose


def decode_pose(message: Any, frame: str) -> Pose:
    """Return the pose of a ``PoseStamped`` given in ``frame``.

    Raises:
        CodecError: The message is in another frame, or is not a finite pose with a unit quaternion.
    """
    if message.header.frame_id.lstrip("/") != frame.lstrip("/"):
        raise CodecError(
            f"pose: frame_id is '{message.header.frame_id}', the robot spec says '{frame}'. Correct one of them"
        )
    p, q = message.pose.position, message.pose.orientation
    try:
        return Pose.from_quat([p.x, p.y, p.z], [q.x, q.y, q.z, q.w])
    except ValueError as error:
        raise CodecError(f"pose: {error}") from error


def encode_pose(pose: Pose, message: Any) -> Any:
    """Write ``pose`` into the fields of a ``geometry_msgs/Pose`` and return it."""
    p, q = message.position, message.orientation
    p.x, p.y, p.z = (float(value) for value in pose.position_m)
    q.x, q.y, q.z, q.w = (float(value) for value in pose.quat_xyzw)
    return message
