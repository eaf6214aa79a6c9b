# SPDX-License-Identifier: Apache-2.0
"""``geometry_msgs/PoseStamped`` targets in the base frame; still means: stay at the pose sent last."""

from geometry_msgs.msg import PoseStamped
from rclpy.time import Time

from vla_core.codecs.pose_stamped import encode_pose
from vla_core.geometry import Pose
from vla_core.observer import Proprioception
from vla_core.robot_spec import RobotSpec
from vla_core.types import PosePath


class TargetPoseOutput:
    """Sends the guarded pose as it is."""

    message_type = PoseStamped
    queue_depth = 1

    def __init__(self, spec: RobotSpec) -> None:
        self._frame = spec.base_frame

    def move(
        self, target: Pose, measured: Proprioception | None, now: Time, ahead: PosePath | None
    ) -> tuple[PoseStamped, None]:
        """Return the target pose."""
        return self.stand_still(target, now), None

    def stand_still(self, held: Pose, now: Time) -> PoseStamped:
        """Return the held pose."""
        message = PoseStamped()
        message.header.stamp, message.header.frame_id = now.to_msg(), self._frame
        encode_pose(held, message.pose)
        return message

    def release(self) -> None:
        """Nothing is remembered here."""
