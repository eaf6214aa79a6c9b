# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pose_strategies import assert_pose_close, poses
from scipy.spatial.transform import Rotation

from vla_core.geometry import (
    Pose,
    angle_rad,
    compose,
    distance_m,
    euler_xyz_from_matrix,
    invert,
    relative,
    shortened,
    step_towards,
    wrap_angle,
)


@given(poses())
def test_a_pose_and_its_inverse_compose_to_the_identity(pose: Pose) -> None:
    assert_pose_close(compose(pose, invert(pose)), Pose.identity())
    assert_pose_close(compose(invert(pose), pose), Pose.identity())


@given(poses(), poses(), poses())
def test_composition_is_associative(a: Pose, b: Pose, c: Pose) -> None:
    assert_pose_close(compose(compose(a, b), c), compose(a, compose(b, c)))


@given(poses(), poses())
def test_composition_agrees_with_homogeneous_matrices(a: Pose, b: Pose) -> None:
    np.testing.assert_allclose(compose(a, b).matrix, a.matrix @ b.matrix, atol=1e-12)


@given(poses(), poses())
def test_relative_then_compose_returns_the_target(a: Pose, b: Pose) -> None:
    assert_pose_close(compose(a, relative(a, b)), b)


@given(poses())
def test_quaternion_euler_and_matrix_describe_the_same_pose(pose: Pose) -> None:
    assert_pose_close(Pose.from_quat(pose.position_m, pose.quat_xyzw), pose)
    assert_pose_close(Pose.from_euler(pose.position_m, pose.euler_xyz_rad), pose)
    assert_pose_close(Pose(pose.matrix[:3, 3], Rotation.from_matrix(pose.matrix[:3, :3])), pose)


@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
@given(roll=st.floats(-3.1, 3.1), yaw=st.floats(-3.1, 3.1))
def test_euler_angles_at_gimbal_lock_still_reproduce_the_rotation(pitch: float, roll: float, yaw: float) -> None:
    matrix = Rotation.from_euler("xyz", [roll, pitch, yaw]).as_matrix()
    again = Rotation.from_euler("xyz", euler_xyz_from_matrix(matrix)).as_matrix()
    np.testing.assert_allclose(again, matrix, atol=1e-7)


@given(poses(), poses(), st.floats(0.0, 1.0))
def test_a_step_covers_its_fraction_of_way_and_turn(a: Pose, b: Pose, fraction: float) -> None:
    middle = step_towards(a, b, fraction)
    assert distance_m(a, middle) == pytest.approx(fraction * distance_m(a, b), abs=1e-9)
    assert angle_rad(a, middle) == pytest.approx(fraction * angle_rad(a, b), abs=1e-6)


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), st.floats(0.0, 100.0))
def test_a_shortened_vector_keeps_its_direction_and_is_no_longer_than_asked(
    xyz: list[float], longest: float
) -> None:
    vector = np.array(xyz)
    length = float(np.linalg.norm(vector))
    found = shortened(vector, longest)
    assert np.linalg.norm(found) == pytest.approx(min(length, longest), abs=1e-9)
    np.testing.assert_allclose(found * length, vector * np.linalg.norm(found), atol=1e-6)


def test_a_vector_that_is_short_enough_stays_as_it_is() -> None:
    vector = np.array([3.0, 0.0, 4.0])
    np.testing.assert_array_equal(shortened(vector, 5.0), vector)
    np.testing.assert_array_equal(shortened(np.zeros(3), 0.0), np.zeros(3))


@given(st.floats(-50.0, 50.0))
def test_wrapped_angles_lie_in_one_turn_and_mean_the_same(angle: float) -> None:
    wrapped = float(wrap_angle(angle))
    assert -np.pi <= wrapped <= np.pi
    assert np.cos(wrapped) == pytest.approx(np.cos(angle), abs=1e-9)
    assert np.sin(wrapped) == pytest.approx(np.sin(angle), abs=1e-9)


@pytest.mark.parametrize("quat", [[0, 0, 0, 0], [0, 0, 0, 2], [np.nan, 0, 0, 1]])
def test_a_quaternion_that_is_no_rotation_is_refused(quat: list[float]) -> None:
    with pytest.raises(ValueError, match=r"quaternion|finite"):
        Pose.from_quat([0, 0, 0], quat)
