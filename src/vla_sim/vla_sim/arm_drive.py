# SPDX-License-Identifier: Apache-2.0
"""The arm's low-level controller: turns the latest goal into joint set points, always within the speed limits.

A goal that comes in a row of goals is approached over the time in which the next one is expected, so the row is
followed at an even speed. With nothing to do the set point stands, and so it does once a pose is reached: the
posture improves by a share of the way that the TCP goes.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from vla_core.geometry import FloatArray, Pose, angle_rad, distance_m, shortened, step_towards
from vla_sim.arm_goals import ArmGoal, CommandRefusedError, JointGoal, PoseGoal, TrajectoryGoal, TwistGoal
from vla_sim.kinematics import ArmKinematics
from vla_sim.scene.model import ARM_JOINTS, MAX_JOINT_SPEED_RAD_S, Scene

MAX_SPEED_M_S = 0.5
MAX_SPEED_RAD_S = 1.5
POSTURE_RATE_HZ = 0.5
POSTURE_PER_WAY = 10.0  # full rate from 0.05 m/s or 0.05 rad/s on
IK_STEPS = 2
APPROACH_S = 0.02  # the time between two goals of a row at the usual 50 Hz


@dataclass(frozen=True, eq=False)
class SetPoint:
    """What the joints are asked for at the end of a control step.

    Attributes:
        positions_rad: (7,) joint positions.
        velocities_rad_s: (7,) mean joint velocities over the step.
        accelerations_rad_s2: (7,) their change since the step before, per second.
    """

    positions_rad: FloatArray
    velocities_rad_s: FloatArray
    accelerations_rad_s2: FloatArray


class ArmDrive:
    """Follows one goal at a time; a new goal replaces the old one. Not thread-safe."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._kinematics = ArmKinematics(scene)
        self.reset(np.zeros(7))

    def reset(self, joints_rad: FloatArray) -> None:
        """Hold (7,) joint positions and forget the goal."""
        self._goal: ArmGoal | None = None
        self._joints = np.array(joints_rad, dtype=np.float64)
        self._velocities = np.zeros(7)
        self._approach_left_s = 0.0
        self._trajectory_from = self._joints

    def follow(self, goal: ArmGoal) -> None:
        """Replace the goal.

        Raises:
            CommandRefusedError: A joint position is outside its limits; the old goal stays.
        """
        if isinstance(goal, JointGoal | TrajectoryGoal):
            self._require_within_limits(np.atleast_2d(goal.positions_rad))
        self._goal = goal
        self._approach_left_s = APPROACH_S
        self._trajectory_from = self._joints

    def step(self, now_s: float, dt_s: float) -> SetPoint:
        """Return what to ask the joints for now.

        Args:
            now_s: Simulated time.
            dt_s: Time since the last call.
        """
        motion = self._wanted(now_s, dt_s) - self._joints
        self._approach_left_s -= dt_s
        excess = float(np.max(np.abs(motion) / (MAX_JOINT_SPEED_RAD_S * dt_s)))
        motion /= max(1.0, excess)
        self._joints = self._joints + motion
        before, self._velocities = self._velocities, motion / dt_s
        return SetPoint(self._joints, self._velocities, (self._velocities - before) / dt_s)

    def _wanted(self, now_s: float, dt_s: float) -> FloatArray:
        match self._goal:
            case PoseGoal(pose_tcp_in_base=target):
                current = self._kinematics.pose(self._joints)
                return self._nearer_to(self._on_the_way_to(current, target, dt_s), current, dt_s)
            case TwistGoal() as twist if now_s <= twist.expires_s:
                current = self._kinematics.pose(self._joints)
                return self._nearer_to(self._moved_by(current, twist, dt_s), current, dt_s)
            case JointGoal(positions_rad=positions):
                fraction = dt_s / max(self._approach_left_s, dt_s)
                return self._joints + fraction * (positions - self._joints)
            case TrajectoryGoal() as trajectory:
                return self._on_trajectory(trajectory, now_s)
        return self._joints

    def _nearer_to(self, target: Pose, current: Pose, dt_s: float) -> FloatArray:
        joints = self._joints
        way = max(distance_m(current, target), angle_rad(current, target))
        posture_gain = min(POSTURE_RATE_HZ * dt_s, POSTURE_PER_WAY * way)
        for _ in range(IK_STEPS):
            joints, _ = self._kinematics.improve(joints, target, posture_gain=posture_gain)
        return joints

    def _on_the_way_to(self, current: Pose, target: Pose, dt_s: float) -> Pose:
        duration_s = max(
            self._approach_left_s,
            distance_m(current, target) / MAX_SPEED_M_S,
            angle_rad(current, target) / MAX_SPEED_RAD_S,
        )
        return target if duration_s <= dt_s else step_towards(current, target, dt_s / duration_s)

    def _moved_by(self, current: Pose, twist: TwistGoal, dt_s: float) -> Pose:
        linear = shortened(twist.linear_m_s, MAX_SPEED_M_S) * dt_s
        turn = Rotation.from_rotvec(shortened(twist.angular_rad_s, MAX_SPEED_RAD_S) * dt_s)
        if twist.frame == "tcp":
            return Pose(current.position_m + current.rotation.apply(linear), current.rotation * turn)
        return Pose(current.position_m + linear, turn * current.rotation)

    def _on_trajectory(self, trajectory: TrajectoryGoal, now_s: float) -> FloatArray:
        times_s, positions = trajectory.times_s, trajectory.positions_rad
        if times_s[0] > 0.0:
            times_s = np.concatenate([[0.0], times_s])
            positions = np.vstack([self._trajectory_from, positions])
        elapsed_s = now_s - trajectory.start_s
        return np.array([np.interp(elapsed_s, times_s, column) for column in positions.T])

    def _require_within_limits(self, positions_rad: FloatArray) -> None:
        lower, upper = self._scene.arm_lower_rad, self._scene.arm_upper_rad
        outside = np.argwhere((positions_rad < lower - 1e-9) | (positions_rad > upper + 1e-9))
        if len(outside):
            row, joint = outside[0]
            raise CommandRefusedError(
                f"{ARM_JOINTS[joint]} is asked to go to {positions_rad[row, joint]:.4g} rad; its limits are "
                f"{lower[joint]:.4g} to {upper[joint]:.4g} rad"
            )
