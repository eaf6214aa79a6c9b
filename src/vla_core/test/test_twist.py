# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from pose_strategies import poses
from scipy.spatial.transform import Rotation
from sim_arm import sim_arm

from vla_core.geometry import Pose
from vla_core.twist import TwistFollower

LIMITS = sim_arm().limits
TICK_NS = 20_000_000
HOME = Pose(np.array([0.4, 0.0, 0.3]), Rotation.from_euler("xyz", [np.pi, 0, 0]))


def moved(x_m: float, yaw_rad: float = 0.0) -> Pose:
    return Pose(HOME.position_m + np.array([x_m, 0, 0]), Rotation.from_euler("z", yaw_rad) * HOME.rotation)


def test_an_arm_on_its_target_gets_the_velocity_of_the_targets() -> None:
    follower = TwistFollower(LIMITS, 3.0)
    follower.follow(HOME, HOME, 0)
    twist = follower.follow(moved(0.002, 0.01), moved(0.002, 0.01), TICK_NS)
    np.testing.assert_allclose(twist.linear_m_s, [0.1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(twist.angular_rad_s, [0, 0, 0.5], atol=1e-9)


def test_an_arm_that_lags_is_pulled_to_a_target_that_rests() -> None:
    follower, x_m = TwistFollower(LIMITS, 3.0), 0.0
    for k in range(200):
        x_m += follower.follow(moved(0.05), moved(x_m), k * TICK_NS).linear_m_s[0] * TICK_NS * 1e-9
    assert x_m == pytest.approx(0.05, abs=1e-4)


def test_after_a_stop_the_way_since_the_last_target_is_no_velocity() -> None:
    follower = TwistFollower(LIMITS, 3.0)
    follower.follow(HOME, HOME, 0)
    assert not follower.stop().linear_m_s.any()
    assert not follower.follow(moved(0.1), moved(0.1), TICK_NS).linear_m_s.any()


@given(poses(), poses(), poses())
def test_no_velocity_leaves_the_limits(first: Pose, second: Pose, measured: Pose) -> None:
    follower = TwistFollower(LIMITS, 3.0)
    follower.follow(first, measured, 0)
    for now_ns in (0, 1, TICK_NS):
        twist = follower.follow(second, measured, now_ns)
        assert np.linalg.norm(twist.linear_m_s) <= LIMITS.max_speed_m_s + 1e-9
        assert np.linalg.norm(twist.angular_rad_s) <= LIMITS.max_speed_rad_s + 1e-9
