# SPDX-License-Identifier: Apache-2.0
"""``trajectory_msgs/JointTrajectory`` along the path ahead; still means: brake and stay.

A trajectory ends at rest and is replaced by one that begins, at its header stamp, with the positions and
velocities that the one before it has at that moment.
"""

import numpy as np
from builtin_interfaces.msg import Duration
from rclpy.time import Time
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMessage
from trajectory_msgs.msg import JointTrajectoryPoint

from vla_core.codecs.stamp import split_stamp_ns
from vla_core.geometry import Pose
from vla_core.joint_following import JointProblem
from vla_core.joint_trajectory import JointTrajectory, TrajectoryPlanner
from vla_core.kinematics.solver import Kinematics
from vla_core.observer import Proprioception
from vla_core.robot_spec import RobotSpec
from vla_core.types import PosePath
from vla_core.units import NS_PER_S

# Without a path ahead a command leads this many command periods on, so that the next one finds the arm moving.
_PERIODS_ALONE = 3


class JointTrajectoryOutput:
    """Sends one spline for each new path, or a short one per command where nobody tells the path."""

    message_type = JointTrajectoryMessage
    queue_depth = 10  # each begins where the one before it leads, so none may be lost

    def __init__(self, spec: RobotSpec, kinematics: Kinematics) -> None:
        self._names = list(spec.joints.names)
        self._planner = TrajectoryPlanner(spec, kinematics)
        self._period_ns = round(NS_PER_S / spec.command.rate_hz)
        self._has_path = False
        self._braking: JointTrajectory | None = None

    def move(
        self, target: Pose, measured: Proprioception | None, now: Time, ahead: PosePath | None
    ) -> tuple[JointTrajectoryMessage | None, JointProblem | None]:
        """Return the trajectory along a new path; ``None`` while the one before goes on."""
        self._has_path |= ahead is not None
        # After a brake the arm is where no path has led it: the target says where to go on.
        if ahead is None and self._has_path and self._braking is None:
            return None, None
        self._braking = None
        path = ahead or PosePath(np.array([now.nanoseconds + _PERIODS_ALONE * self._period_ns]), (target,))
        joints_rad = None if measured is None else measured.joint_positions_rad
        trajectory, problem = self._planner.plan(path, joints_rad, now.nanoseconds)
        return None if trajectory is None else self._message(trajectory), problem

    def stand_still(self, held: Pose, now: Time) -> JointTrajectoryMessage | None:
        """Return the braking trajectory, and the place where it has ended once it has."""
        if self._braking is None or now.nanoseconds >= self._braking.end_ns:
            self._braking = self._planner.brake(now.nanoseconds)
        return None if self._braking is None else self._message(self._braking)

    def release(self) -> None:
        """The next motion starts at the measured joints."""
        self._planner.release()
        self._has_path, self._braking = False, None

    def _message(self, trajectory: JointTrajectory) -> JointTrajectoryMessage:
        message = JointTrajectoryMessage(joint_names=self._names)
        message.header.stamp = Time(nanoseconds=trajectory.start_ns).to_msg()
        for time_s, positions, velocities in zip(
            trajectory.times_s, trajectory.positions_rad, trajectory.velocities_rad_s, strict=True
        ):
            sec, nanosec = split_stamp_ns(round(float(time_s) * NS_PER_S))
            message.points.append(
                JointTrajectoryPoint(
                    positions=positions.tolist(),
                    velocities=velocities.tolist(),
                    time_from_start=Duration(sec=sec, nanosec=nanosec),
                )
            )
        return message
