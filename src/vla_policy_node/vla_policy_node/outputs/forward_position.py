# SPDX-License-Identifier: Apache-2.0
"""``std_msgs/Float64MultiArray`` of joint positions, in the robot spec's order; still means: those sent last."""

from rclpy.time import Time
from std_msgs.msg import Float64MultiArray

from vla_core.geometry import Pose
from vla_core.joint_following import JointFollower, JointProblem
from vla_core.kinematics.solver import Kinematics
from vla_core.observer import Proprioception
from vla_core.robot_spec import RobotSpec
from vla_core.types import PosePath


class ForwardPositionOutput:
    """Sends joint positions that put the TCP at the guarded pose, one step of inverse kinematics per command."""

    message_type = Float64MultiArray
    queue_depth = 1

    def __init__(self, spec: RobotSpec, kinematics: Kinematics) -> None:
        self._follower = JointFollower(spec, kinematics)

    def move(
        self, target: Pose, measured: Proprioception | None, now: Time, ahead: PosePath | None
    ) -> tuple[Float64MultiArray | None, JointProblem | None]:
        """Return the joint positions for now."""
        joints_rad = None if measured is None else measured.joint_positions_rad
        step, problem = self._follower.follow(target, joints_rad, now.nanoseconds)
        return None if step is None else Float64MultiArray(data=step.positions_rad.tolist()), problem

    def stand_still(self, held: Pose, now: Time) -> Float64MultiArray | None:
        """Return the joint positions sent last."""
        step = self._follower.hold(now.nanoseconds)
        return None if step is None else Float64MultiArray(data=step.positions_rad.tolist())

    def release(self) -> None:
        """The next motion starts at the measured joints."""
        self._follower.release()
