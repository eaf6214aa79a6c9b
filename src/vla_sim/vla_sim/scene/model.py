# SPDX-License-Identifier: Apache-2.0
"""Load the tabletop model and name the places in its state vectors. The only file that looks names up."""

from dataclasses import dataclass
from importlib import resources

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vla_core.geometry import FloatArray, Pose

ARM_JOINTS = ("joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "joint7")
FINGER_JOINTS = ("finger_joint", "finger_joint_mirror")
BLOCKS = ("red_block", "blue_block", "pink_block")
BLOCK_SIZE_M = 0.044
MAX_JOINT_SPEED_RAD_S = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
HOME_RAD = np.array([0.0, -0.12, 0.0, -2.42, 0.0, 2.30, 0.7854])

IndexArray = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Scene:
    """The model and the addresses of its parts.

    Attributes:
        model: The compiled MuJoCo model. Not written to after loading.
        tcp_site: Site of the tool centre point.
        arm_qpos: (7,) places of the arm joints in ``qpos``.
        arm_qvel: (7,) places of the arm joints in ``qvel``.
        finger_qpos: (2,) places of the finger joints in ``qpos``.
        finger_qvel: (2,) places of the finger joints in ``qvel``.
        block_qpos: Block name to the first of its seven places in ``qpos`` (position, then quaternion wxyz).
        fixture_qpos: ``drawer``, ``slider`` and ``button`` to their place in ``qpos``.
        arm_lower_rad: (7,) lower joint limits.
        arm_upper_rad: (7,) upper joint limits.
    """

    model: mujoco.MjModel
    tcp_site: int
    arm_qpos: IndexArray
    arm_qvel: IndexArray
    finger_qpos: IndexArray
    finger_qvel: IndexArray
    block_qpos: dict[str, int]
    fixture_qpos: dict[str, int]
    arm_lower_rad: FloatArray
    arm_upper_rad: FloatArray

    def pose_tcp_in_base(self, data: mujoco.MjData) -> Pose:
        """Return the pose of the TCP, as of the last kinematics of ``data``."""
        rotation = Rotation.from_matrix(data.site_xmat[self.tcp_site].reshape(3, 3))
        return Pose(data.site_xpos[self.tcp_site].copy(), rotation)


def load_scene(*, with_contacts: bool = True) -> Scene:
    """Return a freshly compiled tabletop scene.

    Args:
        with_contacts: Whether bodies touch each other, or pass through each other.
    """
    model = mujoco.MjModel.from_xml_string(
        resources.files(__package__).joinpath("tabletop.xml").read_text("utf-8")
    )
    if not with_contacts:
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT
    arm_range = np.array([model.joint(name).range for name in ARM_JOINTS])
    return Scene(
        model=model,
        tcp_site=model.site("tcp").id,
        arm_qpos=_addresses(model, ARM_JOINTS, "qposadr"),
        arm_qvel=_addresses(model, ARM_JOINTS, "dofadr"),
        finger_qpos=_addresses(model, FINGER_JOINTS, "qposadr"),
        finger_qvel=_addresses(model, FINGER_JOINTS, "dofadr"),
        block_qpos={name: int(model.joint(name).qposadr[0]) for name in BLOCKS},
        fixture_qpos={name: int(model.joint(name).qposadr[0]) for name in ("drawer", "slider", "button")},
        arm_lower_rad=arm_range[:, 0].copy(),
        arm_upper_rad=arm_range[:, 1].copy(),
    )


def _addresses(model: mujoco.MjModel, joints: tuple[str, ...], kind: str) -> IndexArray:
    return np.array([getattr(model.joint(name), kind)[0] for name in joints], dtype=np.intp)
