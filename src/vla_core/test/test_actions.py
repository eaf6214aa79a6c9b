# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pose_strategies import assert_pose_close, poses
from scipy.spatial.transform import Rotation

from vla_core.actions.action_space import ActionFrame, ActionSpace, action_towards, calvin_action, target_pose
from vla_core.actions.frames import (
    apply_base_motion,
    apply_tcp_motion,
    base_motion_between,
    tcp_motion_between,
)
from vla_core.actions.normalization import (
    NormalizationSpec,
    StandardizationSpec,
    compand,
    expand,
    normalize,
    standardize,
    unnormalize,
    unstandardize,
)
from vla_core.actions.robovlms_frame import base_to_robovlms_tcp, robovlms_tcp_to_base
from vla_core.geometry import Pose

GOLDEN = Path(__file__).parent / "golden"
FRAMES = get_args(ActionFrame)
arms = st.tuples(*[st.floats(-1.0, 1.0)] * 6).map(np.array)


@pytest.fixture(scope="module")
def robovlms_frames() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "a_frames.npz"))


def test_robovlms_world_to_tcp_is_repeated_to_the_bit(robovlms_frames: dict[str, np.ndarray]) -> None:
    euler = robovlms_frames["robot_obs"][..., 3:6]
    found = base_to_robovlms_tcp(robovlms_frames["action"], euler)
    np.testing.assert_allclose(found, robovlms_frames["action_tcp"], atol=1e-5)


def test_robovlms_tcp_to_world_is_repeated_to_the_bit(robovlms_frames: dict[str, np.ndarray]) -> None:
    euler = robovlms_frames["robot_obs"][..., 3:6]
    found = robovlms_tcp_to_base(robovlms_frames["action"], euler)
    np.testing.assert_allclose(found, robovlms_frames["tcp_to_world_of_action"], atol=1e-5)
    again = robovlms_tcp_to_base(robovlms_frames["action_tcp"], euler)
    np.testing.assert_allclose(again, robovlms_frames["roundtrip"], atol=1e-5)


def test_robovlms_chunks_keep_their_shape(robovlms_frames: dict[str, np.ndarray]) -> None:
    found = base_to_robovlms_tcp(robovlms_frames["action4"], robovlms_frames["obs4"][..., 3:6])
    assert found.shape == robovlms_frames["action4"].shape
    values = robovlms_frames["action_tcp4"].reshape(found.shape)  # the original flattens two axes
    np.testing.assert_allclose(found, values, atol=1e-5)


@given(arms, st.tuples(*[st.floats(-1.2, 1.2)] * 3).map(np.array))
def test_robovlms_frame_and_its_inverse_cancel(arm: np.ndarray, euler: np.ndarray) -> None:
    there = base_to_robovlms_tcp(arm, euler)
    np.testing.assert_allclose(robovlms_tcp_to_base(there, euler), arm, atol=1e-9)


@given(poses(), arms)
def test_a_tcp_action_is_a_rigid_motion_seen_from_the_tool(pose: Pose, arm: np.ndarray) -> None:
    delta = np.eye(4)
    delta[:3, :3] = Rotation.from_euler("xyz", 0.05 * arm[3:]).as_matrix()
    delta[:3, 3] = 0.02 * arm[:3]
    found = target_pose(ActionSpace(frame="tcp"), pose, arm)
    np.testing.assert_allclose(found.matrix, pose.matrix @ delta, atol=1e-9)


@given(poses(), arms)
def test_a_base_action_moves_along_base_axes_and_adds_euler_angles(pose: Pose, arm: np.ndarray) -> None:
    found = target_pose(ActionSpace(frame="base"), pose, arm)
    np.testing.assert_allclose(found.position_m, pose.position_m + 0.02 * arm[:3], atol=1e-9)
    turned = Rotation.from_euler("xyz", pose.euler_xyz_rad + 0.05 * arm[3:])
    assert (found.rotation * turned.inv()).magnitude() < 1e-6


@given(poses(), poses())
def test_motion_between_then_apply_returns_the_target(start: Pose, target: Pose) -> None:
    assert_pose_close(apply_tcp_motion(start, tcp_motion_between(start, target)), target)
    assert_pose_close(apply_base_motion(start, base_motion_between(start, target)), target)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("normalization", [None, NormalizationSpec.symmetric(0.65)])
@given(pose=poses(), arm=arms)
def test_action_then_action_towards_reach_the_same_target(
    frame: ActionFrame, normalization: NormalizationSpec | None, pose: Pose, arm: np.ndarray
) -> None:
    # RoboVLMs adds a hundredth of an action to Euler angles, and cannot undo that across a pitch of 90 degrees.
    assume(frame != "robovlms_tcp" or abs(pose.euler_xyz_rad[1]) < 1.4)
    space = ActionSpace(frame=frame, normalization=normalization)
    target = target_pose(space, pose, 0.5 * arm)
    # What lies outside the normalised range is clipped on purpose (Euler differences explode at gimbal lock).
    between = tcp_motion_between if frame == "tcp" else base_motion_between
    assume(normalization is None or np.abs(between(pose, target) / space.scale).max() < 0.65)
    again = target_pose(space, pose, action_towards(space, pose, target))
    assert_pose_close(again, target)


def test_a_base_action_across_a_pitch_of_90_degrees_stays_small() -> None:
    start = Pose.from_euler([0, 0, 0], [1.913, 1.565, -1.039])
    space = ActionSpace(frame="base", normalization=NormalizationSpec.symmetric(0.95))
    target = target_pose(space, start, [-0.9, -0.87, -0.56, 0.89, 0.52, -0.89])
    assert_pose_close(target_pose(space, start, action_towards(space, start, target)), target)


@pytest.mark.parametrize("frame", FRAMES)
@given(pose=poses())
def test_a_zero_action_stays(frame: ActionFrame, pose: Pose) -> None:
    assert_pose_close(target_pose(ActionSpace(frame=frame), pose, np.zeros(6)), pose)


def test_normalisation_repeats_robovlms() -> None:
    golden = np.load(GOLDEN / "b_normalize.npz")
    spec = NormalizationSpec.symmetric(0.65)
    np.testing.assert_allclose(normalize(golden["x"][..., :6], spec), golden["norm_065_keep"][..., :6], atol=1e-12)
    np.testing.assert_allclose(unnormalize(golden["y"][..., :6], spec), golden["unnorm_065"][..., :6], atol=1e-12)


@given(arms)
def test_unnormalize_inverts_normalize_inside_the_range(arm: np.ndarray) -> None:
    spec = NormalizationSpec(low=(-0.3, -1, -2, -0.1, -1, -1), high=(0.5, 2, 1, 0.1, 3, 1))
    low, high = np.array(spec.low), np.array(spec.high)
    np.testing.assert_allclose(unnormalize(normalize(arm, spec), spec), np.clip(arm, low, high), atol=1e-12)
    np.testing.assert_allclose(normalize(unnormalize(arm, spec), spec), arm, atol=1e-12)


def test_percentiles_give_the_range_of_the_data() -> None:
    actions = np.linspace(-1, 1, 101)[:, None] * np.arange(1, 8)
    spec = NormalizationSpec.from_percentiles(actions)
    np.testing.assert_allclose(spec.high, 0.98 * np.arange(1, 7))
    with pytest.raises(ValueError, match="not below"):
        NormalizationSpec.from_percentiles(np.zeros((5, 7)))


STANDARD = StandardizationSpec(mean=(0.1,) * 6, std=(0.5,) * 6)


def test_standardisation_and_mu_law_repeat_robovlms() -> None:
    golden = np.load(GOLDEN / "b_normalize.npz")
    rows = slice(None, -1)  # the original leaves the last row as it is
    for found, name in (
        (standardize(golden["x2"][..., :6], STANDARD), "regularize_0p1_0p5"),
        (unstandardize(golden["x2"][..., :6], STANDARD), "unregularize_0p1_0p5"),
        (compand(golden["mu_in"][..., :6], 255), "mu_law"),
        (expand(golden["mu_in"][..., :6], 255), "inv_mu_law"),
    ):
        np.testing.assert_allclose(found[rows], golden[name][rows, :6], atol=1e-12, err_msg=name)
    np.testing.assert_allclose(compand(golden["mu_in"][0, :6], 255), golden["mu_law_vec"][:6], atol=1e-12)
    np.testing.assert_allclose(expand(golden["mu_in"][0, :6], 255), golden["inv_mu_law_vec"][:6], atol=1e-12)


@given(arms, st.floats(1.0, 1000.0), arms, st.tuples(*[st.floats(1e-3, 3.0)] * 6))
def test_standardisation_and_mu_law_have_inverses(
    arm: np.ndarray, mu: float, mean: np.ndarray, std: tuple[float, ...]
) -> None:
    spec = StandardizationSpec(mean=tuple(mean.tolist()), std=std)
    np.testing.assert_allclose(unstandardize(standardize(arm, spec), spec), arm, atol=1e-9)
    np.testing.assert_allclose(expand(compand(arm, mu), mu), arm, atol=1e-9)
    np.testing.assert_allclose(compand(expand(arm, mu), mu), arm, atol=1e-9)


@pytest.mark.filterwarnings("ignore:overflow")  # at gimbal lock, where Euler differences explode
@pytest.mark.parametrize("frame", FRAMES)
@given(pose=poses(), arm=arms)
def test_all_transforms_together_reach_the_same_target(frame: ActionFrame, pose: Pose, arm: np.ndarray) -> None:
    space = ActionSpace(
        frame=frame, normalization=NormalizationSpec.symmetric(3.2), standardization=STANDARD, mu_law=255
    )
    target = target_pose(space, pose, 0.5 * arm)
    between = tcp_motion_between if frame == "tcp" else base_motion_between
    assume(np.abs(between(pose, target) / space.scale).max() < 3.2)
    assert_pose_close(target_pose(space, pose, action_towards(space, pose, target)), target)


def test_transforms_are_undone_in_the_reverse_of_the_order_of_training() -> None:
    range_ = NormalizationSpec.symmetric(0.65)
    space = ActionSpace(frame="base", normalization=range_, standardization=STANDARD, mu_law=255)
    rel_action = np.array([0.3, -0.2, 0.1, 0.4, -0.5, 0.05])
    trained_on = compand(standardize(normalize(rel_action, range_), STANDARD), 255)
    found = calvin_action(space, np.append(trained_on, 0.7), np.zeros(3))
    np.testing.assert_allclose(found, np.append(rel_action, 1.0), atol=1e-12)


@pytest.mark.parametrize("frame", FRAMES)
@given(pose=poses(), arm=arms)
def test_a_calvin_action_leads_where_the_action_leads(frame: ActionFrame, pose: Pose, arm: np.ndarray) -> None:
    space = ActionSpace(frame=frame, translation_m=0.03, normalization=NormalizationSpec.symmetric(0.65))
    found = calvin_action(space, np.append(0.5 * arm, 0.2), pose.euler_xyz_rad)
    assert found[6] == -1.0
    assert_pose_close(target_pose(ActionSpace(frame="base"), pose, found[:6]), target_pose(space, pose, 0.5 * arm))


def test_a_calvin_action_of_robovlms_tcp_frame_is_the_original_base_action(
    robovlms_frames: dict[str, np.ndarray],
) -> None:
    for name, expected in (("action", "tcp_to_world_of_action"), ("action_tcp", "roundtrip")):
        for action, state, base in zip(
            *(robovlms_frames[key].reshape(64, -1) for key in (name, "robot_obs", expected)), strict=True
        ):
            assert action.dtype == np.float32
            # mu-law is undone behind the frame, and multiplies its rounding errors by up to a thousand.
            for mu_law in (None, 255.0):
                found = calvin_action(ActionSpace(frame="robovlms_tcp", mu_law=mu_law), action, state[3:6])
                values = base[:6] if mu_law is None else expand(base[:6], mu_law)
                np.testing.assert_allclose(found[:6], values, atol=1e-5, rtol=1e-5)
                exact = calvin_action(
                    ActionSpace(frame="robovlms_tcp"), action.astype(np.float64), state[3:6].astype(np.float64)
                )
                np.testing.assert_allclose(exact[:6], base[:6], atol=1e-4)


def test_a_standardisation_of_wrong_length_and_a_mu_law_of_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="std needs 6 values"):
        StandardizationSpec(mean=(0.0,) * 6, std=(1.0,))
    with pytest.raises(ValueError, match="mu_law must be above 0"):
        ActionSpace(frame="base", mu_law=0.0)


@pytest.mark.parametrize("key", ["translation_m", "rotation_rad"])
def test_a_scale_that_is_not_above_zero_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="above 0"):
        ActionSpace(frame="tcp", **{key: 0.0})


@pytest.mark.parametrize("frame", ["tcp", "base", "robovlms_tcp"])
def test_rows_of_actions_are_those_of_one_by_one(frame) -> None:
    random = np.random.default_rng(3)
    space = ActionSpace(frame=frame, normalization=NormalizationSpec.symmetric(0.9), mu_law=50.0)
    position, euler = random.uniform(-1, 1, (40, 3)), random.uniform(-3.2, 3.2, (40, 3))
    arm = random.uniform(-1, 1, (40, 6))
    poses = Pose.from_euler(position, euler)
    targets = target_pose(space, poses, arm)
    back = action_towards(space, poses, targets)
    for row in range(40):
        pose = Pose.from_euler(position[row], euler[row])
        target = target_pose(space, pose, arm[row])
        np.testing.assert_allclose(targets.position_m[row], target.position_m, atol=1e-12)
        np.testing.assert_allclose(targets.rotation[row].as_matrix(), target.rotation.as_matrix(), atol=1e-12)
        np.testing.assert_allclose(back[row], action_towards(space, pose, target), atol=1e-9)
