# SPDX-License-Identifier: Apache-2.0
"""``geometry_msgs/TwistStamped`` of the TCP in the base frame; still means: zero."""

from geometry_msgs.msg import TwistStamped
from rclpy.time import Time

from vla_core.geometry import Pose
from vla_core.observer import Proprioception
from vla_core.robot_spec import RobotSpec
from vla_core.twist import Twist, TwistFollower
from vla_core.types import PosePath


class TwistOutput:
    """Sends the velocity that follows the guarded poses."""

    message_type = TwistStamped
    queue_depth = 1

    def __init__(self, spec: RobotSpec) -> None:
        self._frame = spec.base_frame
        self._follower = TwistFollower(spec.limits, spec.command.twist_feedback_hz)

    def move(
        self, target: Pose, measured: Proprioception | None, now: Time, ahead: PosePath | None
    ) -> tuple[TwistStamped, None]:
        """Return the velocity for now."""
        pose = None if measured is None else measured.pose_tcp_in_base
        return self._message(self._follower.follow(target, pose, now.nanoseconds), now), None

    def stand_still(self, held: Pose, now: Time) -> TwistStamped:
        """Return a zero velocity."""
        return self._message(self._follower.stop(), now)

    def release(self) -> None:
        """Forget the last target."""
        self._follower.stop()

    def _message(self, twist: Twist, now: Time) -> TwistStamped:
        message = TwistStamped()
        message.header.stamp, message.header.frame_id = now.to_msg(), self._frame
        linear, angular = message.twist.linear, message.twist.angular
        linear.x, linear.y, linear.z = twist.linear_m_s.tolist()
        angular.x, angular.y, angular.z = twist.angular_rad_s.tolist()
        return message
