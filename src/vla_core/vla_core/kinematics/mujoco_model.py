# SPDX-License-Identifier: Apache-2.0
"""A chain of joints as a MuJoCo model: one body per link, no shapes, the base link's frame as the world."""

import mujoco
import numpy as np

from vla_core.geometry import Pose
from vla_core.kinematics.arm import Arm
from vla_core.kinematics.urdf import UrdfJoint

TCP_SITE = "tcp"


def make_model(arm: Arm) -> mujoco.MjModel:
    """Return the model of an arm: its joints in the order of the robot spec, and the site ``tcp``.

    A URDF's joint frame is that of its child link, as MuJoCo's is that of its body, so frames are taken over as
    they are. Built link by link, since MuJoCo's own URDF reader wants the meshes and merges links.
    """
    spec = mujoco.MjSpec()
    body = spec.worldbody
    limits = iter(zip(arm.lower_rad, arm.upper_rad, strict=True))
    for joint in arm.chain:
        body = body.add_body(**_placed(joint.pose_child_in_parent))
        if joint.moves:
            _add_joint(body, joint, *next(limits))
    body.add_site(name=TCP_SITE, **_placed(arm.pose_tcp_in_tip))
    return spec.compile()


def _add_joint(body: mujoco.MjsBody, joint: UrdfJoint, lower_rad: float, upper_rad: float) -> None:
    body.add_joint(
        name=joint.name,
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=joint.axis,
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        range=np.degrees([lower_rad, upper_rad]),
    )
    # Nothing here has a weight, but MuJoCo refuses bodies that move and have none.
    body.mass, body.inertia, body.explicitinertial = 1.0, [1.0, 1.0, 1.0], True


def _placed(pose: Pose) -> dict[str, list[float]]:
    x, y, z, w = pose.quat_xyzw.tolist()
    return {"pos": pose.position_m.tolist(), "quat": [w, x, y, z]}
