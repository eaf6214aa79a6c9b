# SPDX-License-Identifier: Apache-2.0
"""The arm ends where the action says."""

import numpy as np
import pytest

from vla_core.actions.action_space import ActionSpace, target_pose
from vla_core.errors import VlaError
from vla_core.geometry import Pose, angle_rad, distance_m
from vla_sim.arm_goals import PoseGoal
from vla_sim.kinematics import ArmKinematics
from vla_sim.scene.model import HOME_RAD, load_scene
from vla_sim.tabletop import Tabletop


@pytest.mark.parametrize("frame", ["tcp", "base"])
def test_the_tcp_ends_where_an_action_says_to_a_millionth(frame: str) -> None:
    kinematics = ArmKinematics(load_scene())
    rng = np.random.default_rng(7)
    for _ in range(25):
        joints = HOME_RAD + rng.uniform(-0.4, 0.4, 7)
        target = target_pose(ActionSpace(frame=frame), kinematics.pose(joints), rng.uniform(-1, 1, 6))  # type: ignore[arg-type]
        reached = kinematics.pose(kinematics.solve(joints, target))
        assert distance_m(reached, target) < 1e-6
        assert angle_rad(reached, target) < 1e-6


@pytest.mark.parametrize("frame", ["tcp", "base"])
def test_the_moving_arm_settles_within_a_tenth_of_a_millimetre(tabletop: Tabletop, frame: str) -> None:
    rng = np.random.default_rng(3)
    for seed in range(3):
        tabletop.reset(seed)
        start = tabletop.arm_state().pose_tcp_in_base
        target = target_pose(ActionSpace(frame=frame), start, rng.uniform(-1, 1, 6))  # type: ignore[arg-type]
        tabletop.follow(PoseGoal(target))
        tabletop.step(1.5)
        assert distance_m(tabletop.arm_state().pose_tcp_in_base, target) < 1e-4


def test_a_pose_out_of_reach_is_refused_with_the_distance() -> None:
    kinematics = ArmKinematics(load_scene())
    home = kinematics.pose(HOME_RAD)
    with pytest.raises(VlaError, match="out of reach"):
        kinematics.solve(HOME_RAD, Pose(np.array([2.0, 0.0, 0.3]), home.rotation))
