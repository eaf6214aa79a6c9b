# SPDX-License-Identifier: Apache-2.0
"""Forward and differential inverse kinematics of the arm: damped least squares within the joint limits."""

import mujoco
import numpy as np

from vla_core.errors import VlaError
from vla_core.geometry import FloatArray, Pose
from vla_sim.scene.model import HOME_RAD, Scene

DAMPING = 1e-4  # in the units of J @ J.T; small against the singular values away from singular poses
_DAMPED = DAMPING * np.eye(6)


class ArmKinematics:
    """Kinematics of the seven arm joints, on data of its own. Not thread-safe."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._data = mujoco.MjData(scene.model)
        self._jacobian_position = np.zeros((3, scene.model.nv))
        self._jacobian_rotation = np.zeros((3, scene.model.nv))
        self._quat_wxyz = np.zeros(4)

    def pose(self, joints_rad: FloatArray) -> Pose:
        """Return ``pose_tcp_in_base`` for (7,) joint positions."""
        self._place(joints_rad)
        return self._scene.pose_tcp_in_base(self._data)

    def improve(
        self, joints_rad: FloatArray, target: Pose, *, posture_gain: float = 0.0
    ) -> tuple[FloatArray, float]:
        """Return (7,) joint positions one step nearer to the target, and the error before the step.

        Args:
            joints_rad: (7,) joint positions to start from.
            target: Wanted ``pose_tcp_in_base``.
            posture_gain: Part of the way to the home posture that is made up within the null space.

        Returns:
            Joint positions within their limits, and the error as a single number, metres and radians alike.
        """
        self._place(joints_rad)
        error = self._error(target)
        jacobian = self._jacobian()
        inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + _DAMPED)
        step = inverse @ error
        if posture_gain > 0.0:
            homewards = posture_gain * (HOME_RAD - joints_rad)
            step += homewards - inverse @ (jacobian @ homewards)
        improved = np.clip(joints_rad + step, self._scene.arm_lower_rad, self._scene.arm_upper_rad)
        return improved, float(np.linalg.norm(error))

    def solve(
        self, joints_rad: FloatArray, target: Pose, *, tolerance: float = 1e-9, max_iterations: int = 200
    ) -> FloatArray:
        """Return (7,) joint positions whose TCP pose is the target.

        Raises:
            VlaError: The target is out of reach from these joint positions.
        """
        joints = np.array(joints_rad, dtype=np.float64)
        error = np.inf
        for _ in range(max_iterations):
            improved, error = self.improve(joints, target)
            if error < tolerance:
                return joints
            joints = improved
        raise VlaError(
            f"inverse kinematics: {target} is out of reach, the nearest pose found is {error:.3g} (m, rad) away; "
            "the allowed error is "
            f"{tolerance:g}. Ask for a pose nearer to the middle of the table"
        )

    def _place(self, joints_rad: FloatArray) -> None:
        self._data.qpos[self._scene.arm_qpos] = joints_rad
        mujoco.mj_kinematics(self._scene.model, self._data)

    def _error(self, target: Pose) -> FloatArray:
        # MuJoCo's own arithmetic: this runs hundreds of times per simulated second.
        site, turn = self._scene.tcp_site, np.zeros(3)
        mujoco.mju_mat2Quat(self._quat_wxyz, self._data.site_xmat[site])
        mujoco.mju_subQuat(turn, np.roll(target.quat_xyzw, 1), self._quat_wxyz)
        turn_in_base = self._data.site_xmat[site].reshape(3, 3) @ turn
        return np.concatenate([target.position_m - self._data.site_xpos[site], turn_in_base])

    def _jacobian(self) -> FloatArray:
        mujoco.mj_comPos(self._scene.model, self._data)
        mujoco.mj_jacSite(
            self._scene.model, self._data, self._jacobian_position, self._jacobian_rotation, self._scene.tcp_site
        )
        return np.vstack([self._jacobian_position, self._jacobian_rotation])[:, self._scene.arm_qvel]
