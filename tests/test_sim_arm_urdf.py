# SPDX-License-Identifier: Apache-2.0
"""The simulated arm's URDF and its MuJoCo model are one arm."""

from pathlib import Path

import numpy as np
import pytest

from vla_core.geometry import angle_rad, distance_m
from vla_core.kinematics import load_kinematics
from vla_core.robot_spec import RobotSpec

SIM_ARM = Path(__file__).resolve().parents[1] / "config" / "robots" / "sim_arm.yaml"


def test_urdf_and_simulator_agree_on_poses_limits_and_speeds() -> None:
    scene_model = pytest.importorskip("vla_sim.scene.model")
    from vla_sim.kinematics import ArmKinematics

    kinematics = load_kinematics(RobotSpec.load(SIM_ARM), SIM_ARM.parent)
    scene = scene_model.load_scene()
    simulated, arm = ArmKinematics(scene), kinematics.arm
    assert arm.lower_rad == pytest.approx(scene.arm_lower_rad)
    assert arm.upper_rad == pytest.approx(scene.arm_upper_rad)
    assert arm.max_speed_rad_s == pytest.approx(scene_model.MAX_JOINT_SPEED_RAD_S)
    random = np.random.default_rng(3)
    for _ in range(500):
        joints_rad = random.uniform(arm.lower_rad, arm.upper_rad)
        found, wanted = kinematics.forward(joints_rad), simulated.pose(joints_rad)
        assert distance_m(found, wanted) < 1e-9
        assert angle_rad(found, wanted) < 1e-7
