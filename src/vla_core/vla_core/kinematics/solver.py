# SPDX-License-Identifier: Apache-2.0
"""Joint positions to the TCP pose and back: MuJoCo's kinematics, and mink's quadratic program for the way back.

One iteration minimises ``|J dq - e|^2 + damping |dq|^2`` over the joint motion ``dq``, with the pose error ``e``
and its Jacobian ``J`` of mink's ``FrameTask``, within bounds on ``dq``. The damping grows with the error
(Levenberg-Marquardt), so that a pose out of reach or a singular arm asks for no wild motion.
"""

import math

import mink
import numpy as np
from scipy.spatial.transform import Rotation

from vla_core.geometry import FloatArray, Pose, angle_rad, distance_m
from vla_core.kinematics.arm import Arm
from vla_core.kinematics.mujoco_model import TCP_SITE, make_model

_LM_DAMPING = 0.1
_DAMPING = 1e-5
_ITERATIONS_PER_STEP = 3
_POSTURE_COST = 1e-2
_POSTURE_RATE_HZ = 0.5
# The null space moves only while the TCP does: full rate from 5 mm or 5 mrad between target and arm.
_POSTURE_PER_WAY = 2.0
_CLOSE_ENOUGH = 1e-6  # metres and radians: what further iterations would gain is below what joints can do
# An arm with few joints cannot have both: the place counts, the orientation comes as near as it may.
_ORIENTATION_COST_OF_FEW_JOINTS = 0.03


class _Box(mink.Limit):
    """Joint positions between two bounds. The joints lie between them, so there is always a solution."""

    def __init__(self, num_joints: int) -> None:
        self._rows = np.vstack([np.eye(num_joints), -np.eye(num_joints)])
        self.lower_rad = self.upper_rad = np.zeros(num_joints)

    def compute_qp_inequalities(self, configuration: mink.Configuration, dt: float) -> mink.Constraint:
        """Return the rows that keep ``q + dq`` between the bounds."""
        joints = configuration.q
        return mink.Constraint(G=self._rows, h=np.hstack([self.upper_rad - joints, joints - self.lower_rad]))


class Kinematics:
    """Forward and inverse kinematics of one arm. Not thread-safe.

    Joint arrays are (J,) float64, radians, in the order of the robot spec. Poses are of the TCP in the base frame.

    Attributes:
        arm: The arm.
    """

    def __init__(self, arm: Arm) -> None:
        self.arm = arm
        self._configuration = mink.Configuration(make_model(arm))
        self._site = self._configuration.model.site(TCP_SITE).id
        turning = 1.0 if arm.turns_freely else _ORIENTATION_COST_OF_FEW_JOINTS
        self._frame = mink.FrameTask(TCP_SITE, "site", 1.0, turning, lm_damping=_LM_DAMPING)
        self._posture = mink.PostureTask(self._configuration.model, cost=_POSTURE_COST)
        self._posture.set_target(arm.posture_rad)
        self._box = _Box(len(arm.lower_rad))

    def forward(self, joints_rad: FloatArray) -> Pose:
        """Return ``pose_tcp_in_base``."""
        self._configuration.update(joints_rad)
        return self._pose()

    def smallest_singular_value(self, joints_rad: FloatArray) -> float:
        """Return how far the arm is from a singularity: 0 there, metres and radians per radian elsewhere.

        It is the smallest singular value of the (6, J) Jacobian: the slowest motion of the TCP, over all
        directions, that a unit of joint speed gives. An arm with fewer than six joints always has 0.
        """
        self._configuration.update(joints_rad)
        jacobian = self._configuration.get_frame_jacobian(TCP_SITE, "site")
        if jacobian.shape[1] < len(jacobian):
            return 0.0
        return float(np.linalg.svd(jacobian, compute_uv=False)[-1])

    def approach(
        self, joints_rad: FloatArray, target: Pose, dt_s: float, *, margin_rad: FloatArray | float = 0.0
    ) -> FloatArray:
        """Return joint positions as near to ``target`` as ``dt_s`` and the joint limits allow.

        No joint moves further than its speed allows, none leaves its limits, and one that is outside comes back
        in or stays. What motion is left over in a redundant arm leads towards its posture.

        Args:
            joints_rad: Joint positions now.
            target: Where the TCP shall be.
            dt_s: Time until then, seconds.
            margin_rad: Distance kept from the joint limits.
        """
        joints = np.array(joints_rad, dtype=np.float64)
        reach = self.arm.max_speed_rad_s * dt_s
        lower = np.minimum(self.arm.lower_rad + margin_rad, joints)
        upper = np.maximum(self.arm.upper_rad - margin_rad, joints)
        self._box.lower_rad, self._box.upper_rad = (
            np.maximum(lower, joints - reach),
            np.minimum(upper, joints + reach),
        )
        way = self._way(joints, target)
        self._posture.gain = min(_POSTURE_RATE_HZ * dt_s, _POSTURE_PER_WAY * way, 1.0)
        self._aim(target)
        joints = self._iterate(joints, [self._frame, self._posture])
        for _ in range(_ITERATIONS_PER_STEP - 1):
            if self._way(joints, target) < _CLOSE_ENOUGH:
                break
            joints = self._iterate(joints, [self._frame])
        return joints

    def solve(
        self, joints_rad: FloatArray, target: Pose, *, tolerance: float = 1e-8, max_iterations: int = 200
    ) -> FloatArray:
        """Return joint positions within the limits whose TCP pose is the target, or is as near as was found.

        Args:
            joints_rad: Joint positions to start from.
            target: Wanted pose.
            tolerance: Metres and radians at which to end.
            max_iterations: After so many it ends.
        """
        arm = self.arm
        self._box.lower_rad, self._box.upper_rad = arm.lower_rad, arm.upper_rad
        self._aim(target)
        joints = np.clip(joints_rad, arm.lower_rad, arm.upper_rad)
        best, least = joints, math.inf
        for _ in range(max_iterations):
            way = self._way(joints, target)
            if way < least:
                best, least = joints, way
            if way < tolerance:
                break
            joints = self._iterate(joints, [self._frame])
        return best

    def _aim(self, target: Pose) -> None:
        x, y, z, w = target.quat_xyzw
        self._frame.set_target(mink.SE3(np.array([w, x, y, z, *target.position_m])))

    def _iterate(self, joints: FloatArray, tasks: list[mink.Task]) -> FloatArray:
        self._configuration.update(joints)
        # A step of one second makes mink's velocity the motion itself.
        try:
            motion = mink.solve_ik(self._configuration, tasks, 1.0, "daqp", damping=_DAMPING, limits=[self._box])
        except mink.NoSolutionFound:
            return joints  # by numbers alone, since the joints lie between the bounds; the next step tries again
        # The program keeps its bounds up to its own tolerance; commands keep them exactly.
        within: FloatArray = np.clip(joints + motion, self._box.lower_rad, self._box.upper_rad)
        return within

    def _way(self, joints: FloatArray, target: Pose) -> float:
        pose = self.forward(joints)
        return max(distance_m(pose, target), angle_rad(pose, target))

    def _pose(self) -> Pose:
        data = self._configuration.data
        rotation = Rotation.from_matrix(data.site_xmat[self._site].reshape(3, 3))
        return Pose(data.site_xpos[self._site].copy(), rotation)
