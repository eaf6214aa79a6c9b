# SPDX-License-Identifier: Apache-2.0
"""A bag of which everything is known gives exactly the frames, actions and counts that it must."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_factory import (
    CURVE,
    MS,
    PERIOD_S,
    SPEC,
    START,
    T0,
    Demo,
    Message,
    at,
    gripper_command,
    number_in,
    path_of,
    pose,
    raw_image,
    say,
    still_between,
    twist,
    with_camera,
    write_mcap,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_core.errors import ObservationRefusedError
from vla_core.geometry import Pose, distance_m
from vla_core.robot_spec import KinematicsSpec, RobotSpec
from vla_core.types import Observation
from vla_training.bag_to_dataset import bag_to_dataset
from vla_training.bags.bag_folder import find_bags
from vla_training.bags.observations import observe_bag
from vla_training.bags.raw_message import BagError
from vla_training.bags.reader import read_bag
from vla_training.conversion.bag_labels import BagLabels
from vla_training.conversion.bag_scan import scan_bag
from vla_training.conversion.capture_faults import num_dropped, num_late
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.episode_plan import EpisodePlan, plan_episodes

CONFIG = ConversionConfig(instruction="open the drawer", trim_idle=False, validation_share=0.0)
SCALE = np.repeat([0.02, 0.05], 3)
COMMAND = "/" + SPEC.command.topic
TWIST = "/" + SPEC.command.topics["twist"]
GRIPPER = "/" + SPEC.gripper.topic


def plan(folder: Path, messages: Iterable[Message], spec: RobotSpec = SPEC, **options: Any) -> EpisodePlan:
    """Return the only episode of a bag."""
    config = replace(CONFIG, **options)
    path = write_mcap(folder / "bag.mcap", sorted(messages, key=lambda entry: entry[0]))
    spec = config.with_delays(spec)
    scan = scan_bag(find_bags([path])[0], spec, config, lambda num_bytes: None)
    (only,) = plan_episodes(scan, BagLabels(), spec, config, {})
    return only


def frames(folder: Path, split: str = "training") -> list[dict[str, np.ndarray]]:
    return [dict(np.load(path)) for path in sorted((folder / split).glob("episode_*.npz"))]


@pytest.mark.parametrize(
    "motion", [[0.004, -0.002, 0.001, 0.01, -0.005, 0.02], [-0.01, 0.0, 0.019, 0.0, 0.049, -0.03]]
)
def test_a_known_motion_of_the_tool_is_the_action_of_every_frame(tmp_path: Path, motion: list[float]) -> None:
    (piece,) = plan(tmp_path, Demo(path=path_of(motion)).messages()).pieces
    assert len(piece) == 21
    np.testing.assert_allclose(piece.actions[:-1, :6], np.tile(motion / SCALE, (20, 1)), atol=1e-9)
    np.testing.assert_array_equal(piece.actions[-1, :6], np.zeros(6))
    assert np.all(piece.actions[:, 6] == 1.0)


def test_base_frame_is_the_difference_of_positions_and_euler_angles(tmp_path: Path) -> None:
    (piece,) = plan(tmp_path, Demo().messages(), action_frame="base").pieces
    euler = np.unwrap([CURVE(k * PERIOD_S).euler_xyz_rad for k in range(21)], axis=0)
    position = np.array([CURVE(k * PERIOD_S).position_m for k in range(21)])
    expected = np.hstack([np.diff(position, axis=0), np.diff(euler, axis=0)]) / SCALE
    np.testing.assert_allclose(piece.actions[:-1, :6], expected, atol=1e-9)


def test_a_turn_over_the_seam_of_the_angles_stays_small(tmp_path: Path) -> None:
    turning = path_of([0, 0, 0, 0, 0, 0.04], Pose.from_euler([0.4, 0, 0.3], [np.pi - 0.01, 0.0, np.pi - 0.1]))
    (piece,) = plan(tmp_path, Demo(path=turning).messages(), action_frame="base").pieces
    assert np.max(np.abs(piece.actions[:, 3:6])) < 0.04 / 0.05 + 1e-6


def test_too_fast_a_motion_is_clipped_and_counted(tmp_path: Path) -> None:
    only = plan(tmp_path, Demo(path=path_of([0.03, 0, -0.03, 0, 0.06, 0])).messages())
    np.testing.assert_allclose(only.pieces[0].actions[0, :6], [1, 0, -1, 0, 1, 0], atol=1e-9)
    assert only.report["clipped"] == {"dx": 1.0, "dy": 0.0, "dz": 1.0, "droll": 0.0, "dpitch": 1.0, "dyaw": 0.0}


def test_commands_are_taken_where_every_frame_has_one(tmp_path: Path) -> None:
    ahead = path_of([0.005, 0, 0, 0, 0, 0.01])
    targets = [(at(k / 50), COMMAND, pose(at(k / 50), ahead(k / 50))) for k in range(101)]
    lags = Demo(path=lambda t_s: ahead(0.9 * t_s))
    only = plan(tmp_path, [*lags.messages(), *targets])
    assert only.report["action_source"] == "command"
    np.testing.assert_allclose(
        only.pieces[0].actions[:-1, :6], np.tile([0.25, 0, 0, 0, 0, 0.2], (20, 1)), atol=1e-9
    )
    late = [entry for entry in targets if entry[0] >= at(0.5)]
    without = plan(tmp_path, [*lags.messages(), *late])
    assert without.report["action_source"] == "measured"
    expected = np.tile([0.225, 0, 0, 0, 0, 0.18], (20, 1))
    np.testing.assert_allclose(without.pieces[0].actions[:-1, :6], expected, atol=1e-3)
    refused = plan(tmp_path, [*lags.messages(), *late], action_source="command")
    assert "not every frame has a command on 'arm_controller/target_pose'" in refused.report["skipped"]


def test_standing_still_before_the_first_command_is_no_reason_against_commands(tmp_path: Path) -> None:
    ahead = still_between(path_of([0.005, 0, 0, 0, 0, 0.01]), 1.0, 2.0)
    lags = Demo(path=lambda t_s: ahead(t_s - 0.03) if t_s > 1.0 else START)
    targets = [(at(k / 50), COMMAND, pose(at(k / 50), ahead(k / 50))) for k in range(48, 101)]
    only = plan(tmp_path, [*lags.messages(), *targets], trim_idle=True, action_source="command")
    assert only.report["action_source"] == "command"
    assert only.report["trimmed"]["head"] == 9  # the frame before 0.96 s leads from the arm to the first command
    np.testing.assert_allclose(only.pieces[0].actions[0:11, 0], [0.0] + [0.25] * 10, atol=1e-6)
    untrimmed = plan(tmp_path, [*lags.messages(), *targets])
    assert untrimmed.report["action_source"] == "measured"


def test_the_first_action_leads_from_the_arm_to_the_first_command(tmp_path: Path) -> None:
    ahead = still_between(path_of([0.005, 0, 0, 0, 0, 0]), 0.86, 2.0)
    still = Demo(path=lambda t_s: ahead(t_s - 0.03))
    targets = [(at(k / 50), COMMAND, pose(at(k / 50), ahead(k / 50))) for k in range(44, 101)]
    (piece,) = plan(tmp_path, [*still.messages(), *targets], trim_idle=True, action_source="command").pieces
    asked_m = np.sum(piece.actions[:-1, 0]) * SCALE[0]
    assert asked_m == pytest.approx(0.005 * 1.14 / 0.1, abs=1e-6)  # all that was commanded from 0.86 s to 2 s


@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
def test_an_even_motion_gives_equal_actions_whatever_the_rates_are(tmp_path: Path, rate_hz: float) -> None:
    ahead = path_of([0.005, 0, 0, 0, 0, 0])
    targets = [(at(k / 50 + 0.007), COMMAND, pose(at(k / 50), ahead(k / 50))) for k in range(101)]
    (piece,) = plan(
        tmp_path, [*Demo(path=ahead).messages(), *targets], rate_hz=rate_hz, action_source="command"
    ).pieces
    np.testing.assert_allclose(piece.actions[1:-2, 0], 0.25 * 10.0 / rate_hz, atol=1e-6)


def test_a_command_that_is_not_repeated_is_held(tmp_path: Path) -> None:
    ahead = path_of([0.02, 0, 0, 0, 0, 0])
    slow = [(at(k * 0.5), COMMAND, pose(at(k * 0.5), ahead(k * 0.1))) for k in range(5)]
    (piece,) = plan(tmp_path, [*Demo(path=lambda t_s: START).messages(), *slow], action_source="command").pieces
    np.testing.assert_allclose(piece.actions[:9, 0], [0, 0, 0, 0, 1, 0, 0, 0, 0], atol=1e-9)


def test_a_command_far_from_the_arm_counts_from_the_arm(tmp_path: Path) -> None:
    far = Pose(START.position_m + np.array([0.2, 0.0, 0.0]), START.rotation)  # reanchor_m is 0.05
    targets = [(at(k / 50), COMMAND, pose(at(k / 50), far)) for k in range(101)]
    (piece,) = plan(tmp_path, [*Demo(path=lambda t_s: START).messages(), *targets]).pieces
    assert piece.actions[0, 0] == 1.0  # 0.2 m, clipped; the same target from the last one would be 0


def test_a_twist_is_integrated_and_ends_when_it_is_not_repeated(tmp_path: Path) -> None:
    spec = replace(SPEC, command=replace(SPEC.command, interface="twist"))
    twists = [(at(k / 50), TWIST, twist(at(k / 50), [0.1, 0, -0.05], [0, 0, 0.2])) for k in range(51)]
    still = Demo(path=lambda t_s: Pose.from_euler([0.4, 0, 0.3], [0, 0, 0]))
    (piece,) = plan(tmp_path, [*still.messages(), *twists], spec=spec, action_frame="base").pieces
    motion = piece.actions[:-1, :6] * SCALE
    np.testing.assert_allclose(motion[:12], np.tile([0.01, 0, -0.005, 0, 0, 0.02], (12, 1)), atol=1e-9)
    np.testing.assert_allclose(motion[12], [0.005, 0, -0.0025, 0, 0, 0.01], atol=1e-9)  # ends at 1.25 s
    np.testing.assert_allclose(motion[13:], 0.0, atol=1e-12)


def test_joint_commands_are_refused_with_a_sentence(tmp_path: Path) -> None:
    kinematics = KinematicsSpec(
        urdf="arm.urdf",
        base_link="base_link",
        tip_link="hand",
        tcp_in_tip_position_m=(0.0, 0.0, 0.1),
        tcp_in_tip_euler_xyz_rad=(0.0, 0.0, 0.0),
    )
    command = replace(SPEC.command, interface="forward_position")
    spec = replace(SPEC, command=command, kinematics=kinematics)
    only = plan(tmp_path, Demo().messages(), spec=spec, action_source="command")
    assert "'forward_position' do not say where the TCP shall be" in only.report["skipped"]
    assert plan(tmp_path, Demo().messages(), spec=spec).report["action_source"] == "measured"


def test_the_gripper_follows_its_command_and_else_its_opening(tmp_path: Path) -> None:
    closing = Demo(opening=lambda t_s: max(0.0, 1.0 - max(0.0, t_s - 0.5)))  # half closed at 1.0 s, 0.45 at 1.05 s
    (measured,) = plan(tmp_path, closing.messages()).pieces
    assert measured.gripper_before.tolist() == [1.0] * 11 + [0.0] * 10
    assert measured.actions[:, 6].tolist() == [1.0] * 10 + [0.0] * 11
    told = [(at(0.41), GRIPPER, gripper_command(0.0)), (at(1.61), GRIPPER, gripper_command(1.0))]
    (command,) = plan(tmp_path, [*closing.messages(), *told]).pieces
    assert command.gripper_before.tolist() == [1.0] * 5 + [0.0] * 12 + [1.0] * 4
    assert command.actions[:, 6].tolist() == [1.0] * 4 + [0.0] * 12 + [1.0] * 5


def test_standing_still_at_both_ends_is_trimmed_to_the_margin(tmp_path: Path) -> None:
    demo = Demo(path=still_between(CURVE, 0.7, 1.4), seconds=3.0)
    only = plan(tmp_path, demo.messages(), trim_idle=True, idle_margin=2)
    (piece,) = only.pieces
    # The actions of ticks 7 to 13 move; tick 14 is where the last one leads.
    assert only.report["trimmed"] == {"head": 5, "tail": 14}
    assert len(piece) == 31 - 5 - 14
    assert np.nonzero(np.any(np.abs(piece.actions[:, :6]) > 1e-6, axis=1))[0].tolist() == [2, 3, 4, 5, 6, 7, 8]
    idle = plan(tmp_path, Demo(path=lambda t_s: START).messages(), trim_idle=True)
    assert idle.report["skipped"] == "nothing moves in it"
    assert not idle.pieces


def test_dropped_pictures_cut_the_episode_and_are_counted(tmp_path: Path) -> None:
    lost = {20, 21, 22, 23, 24}  # 80 ms after picture 19 (633 ms) tick 8 has none, nor tick 7
    only = plan(tmp_path, Demo(drop=lambda stream, k: stream == "static" and k in lost).messages())
    assert only.report["streams"]["static"] == {"messages": 56, "dropped": 5, "late": 0}
    assert only.report["refused"] == {"static": {"stale": 1}}
    assert [len(piece) for piece in only.pieces] == [8, 12]
    for piece in only.pieces:
        assert not piece.actions[-1, :6].any()
        assert piece.actions[:-1, :6].any(axis=1).all()


@given(st.sets(st.integers(1, 59), max_size=30), st.sets(st.integers(1, 199), max_size=60))
@settings(max_examples=25, deadline=None)
def test_any_drops_are_counted_and_never_filled_in(
    tmp_path_factory: pytest.TempPathFactory, pictures: set[int], poses: set[int]
) -> None:
    lost = {"wrist": pictures, "tcp_pose": poses}
    demo = Demo(drop=lambda stream, k: k in lost.get(stream, ()))
    only = plan(tmp_path_factory.mktemp("drops"), demo.messages())
    assert only.report["streams"]["wrist"]["dropped"] == len(pictures)
    assert only.report["streams"]["tcp_pose"]["dropped"] == len(poses)
    # By the definition of max_age_ms 80: a tick is there if both streams have a sample that is young enough.
    seen = []
    for tick in range(21):
        picture_ns = [round(k * 1e9 / 30) for k in range(61) if k not in pictures]
        pose_ns = [k * 10 * MS for k in range(201) if k not in poses]
        fresh = [any(0 <= tick * 100 * MS - ns <= 80 * MS for ns in stamps) for stamps in (picture_ns, pose_ns)]
        seen.append(all(fresh))
    refused = sum(sum(kinds.values()) for kinds in only.report["refused"].values())
    assert refused == 21 - sum(seen)
    short = only.report.get("too_short", 0)
    assert sum(len(piece) for piece in only.pieces) + short == sum(seen)


@given(st.sets(st.integers(0, 300), min_size=1), st.randoms(use_true_random=False))
def test_drops_and_late_messages_in_any_order(numbers: set[int], source: Any) -> None:
    arrived = sorted(numbers)
    stamps = np.array([T0 + round(k * 1e9 / 30) for k in arrived], dtype=np.int64)
    missing = arrived[-1] - arrived[0] + 1 - len(arrived)
    assert num_dropped(stamps, 30.0) == missing
    source.shuffle(arrived)
    mixed = np.array([T0 + round(k * 1e9 / 30) for k in arrived], dtype=np.int64)
    assert num_dropped(mixed, 30.0) == missing
    assert num_late(mixed) == sum(k < max(arrived[:i]) for i, k in enumerate(arrived) if i)


def test_a_delay_is_taken_off_the_stamps(tmp_path: Path) -> None:
    demo = Demo(latency_ms=-40.0)  # every stamp is 40 ms later than the moment when its message is there
    bag = write_mcap(tmp_path / "bag.mcap", list(demo.messages()))
    shown = {}
    for delay_ms in (0.0, 40.0):
        out = tmp_path / f"out{delay_ms:g}"
        delays = dict.fromkeys(("static", "wrist", "tcp_pose", "joints"), delay_ms)
        bag_to_dataset([bag], out, SPEC, replace(CONFIG, delay_ms=delays))
        shown[delay_ms] = {int(f["stamp_ns"]): number_in(f["rgb_static"]) for f in frames(out)}
    assert shown[0.0][at(0.06)] == 1  # the newest with a stamp until 60 ms
    assert shown[40.0][at(0.06)] == 3  # the newest that is there


def test_a_wrong_delay_is_told(tmp_path: Path) -> None:
    early = plan(tmp_path, Demo().messages(), delay_ms={"static": -40.0})
    assert early.report["refused"]["static"] == {"invalid": 1}  # at the first tick the picture lies in the future
    with pytest.raises(ValueError, match="'statc' is no stream of robot"):
        replace(CONFIG, delay_ms={"statc": 1.0}).with_delays(SPEC)
    with pytest.raises(ValueError, match="every sample would be refused"):
        replace(CONFIG, delay_ms={"static": 60.0}).with_delays(SPEC)


def test_receive_stamps_serve_where_the_clocks_differ(tmp_path: Path) -> None:
    demo = Demo(latency_ms=5000.0)
    by_header = plan(tmp_path, demo.messages())
    assert "no tick has an observation" in by_header.report["skipped"]
    by_reception = plan(tmp_path, demo.messages(), stamps="receive")
    assert len(by_reception.pieces[0]) == 21


def test_a_long_silence_costs_no_ticks(tmp_path: Path) -> None:
    year_later = Demo(begin_s=365 * 86400.0)
    only = plan(tmp_path, [*Demo().messages(), *year_later.messages()])
    assert [len(piece) for piece in only.pieces] == [21, 21]
    assert only.report["refused"]["every stream"]["silent"] > 3e8


def test_frames_are_the_observations_of_the_observer_to_the_bit(tmp_path: Path) -> None:
    demo = Demo(
        drop=lambda stream, k: (stream, k % 23) in {("static", 5), ("static", 6), ("static", 7)}, latency_ms=7
    )
    bag = write_mcap(tmp_path / "bag.mcap", list(demo.messages()))
    bag_to_dataset([bag], tmp_path / "out", SPEC, CONFIG)
    observed = dict(observe_bag(read_bag(bag, SPEC), SPEC, PERIOD_S))
    written = frames(tmp_path / "out")
    kept = [seen for seen in observed.values() if isinstance(seen, Observation)]
    assert any(isinstance(seen, ObservationRefusedError) for seen in observed.values())
    assert len(written) == len(kept) > 10
    for frame, seen in zip(written, kept, strict=True):
        assert int(frame["stamp_ns"]) == seen.stamp_ns
        np.testing.assert_array_equal(frame["rgb_static"], seen.images["static"])
        np.testing.assert_array_equal(frame["rgb_gripper"], seen.images["wrist"])
        np.testing.assert_array_equal(frame["robot_obs"][:3], seen.pose_tcp_in_base.position_m)
        np.testing.assert_array_equal(frame["robot_obs"][3:6], seen.pose_tcp_in_base.euler_xyz_rad)
        np.testing.assert_array_equal(frame["robot_obs"][7:14], seen.joint_positions_rad)


@given(st.integers(0, 700), st.integers(1, 300), st.integers(0, 900), st.booleans())
@settings(max_examples=15, deadline=None)
def test_a_frame_shows_the_picture_of_its_time_in_whatever_order_the_file_is(
    tmp_path_factory: pytest.TempPathFactory, first: int, num: int, to: int, one_topic: bool
) -> None:
    folder = tmp_path_factory.mktemp("order")
    messages = [*Demo().messages(), *((at(k / 50), COMMAND, pose(at(k / 50), CURVE(k / 50))) for k in range(101))]
    messages.sort(key=lambda entry: entry[0])
    wrist = "/" + SPEC.cameras["wrist"].topic
    moved = [entry for entry in messages[first : first + num] if not one_topic or entry[1] == wrist]
    rest = [entry for entry in messages if not any(entry is own for own in moved)]
    bag = write_mcap(folder / "bag.mcap", [*rest[:to], *moved, *rest[to:]])
    bag_to_dataset([bag], folder / "out", SPEC, CONFIG)
    written = frames(folder / "out")
    assert written
    for frame in written:
        tick_s = (int(frame["stamp_ns"]) - T0) / 1e9
        for key in ("rgb_static", "rgb_gripper"):
            assert -1e-6 <= tick_s - number_in(frame[key]) / 30 <= 0.08 + 1e-6
        shown = Pose.from_euler(frame["robot_obs"][:3], frame["robot_obs"][3:6])
        nearest = min(distance_m(shown, CURVE(tick_s - back / 100)) for back in range(9))
        assert nearest < 1e-9


def test_pictures_that_cannot_be_decoded_are_refused_at_their_ticks(tmp_path: Path) -> None:
    messages = []
    for ns, topic, message in Demo().messages():
        if topic == "/" + SPEC.cameras["static"].topic and at(0.79) < ns < at(0.81):
            messages.append((ns, topic, raw_image(ns, np.zeros((16, 25, 3), dtype=np.uint8))))
        else:
            messages.append((ns, topic, message))
    bag = write_mcap(tmp_path / "bag.mcap", messages)
    done = bag_to_dataset([bag], tmp_path / "out", SPEC, CONFIG)
    (episode,) = done.report["bags"][0]["episodes"]
    assert episode["refused"] == {"static": {"invalid": 1}}
    assert [piece["frames"] for piece in episode["pieces"]] == [8, 12]
    assert len(frames(tmp_path / "out")) == 20


def test_another_type_or_an_absent_topic_is_told(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="the type in the bag is sensor_msgs/msg/Image"):
        plan(tmp_path, Demo().messages(), spec=with_camera(type="sensor_msgs/msg/CompressedImage"))
    without = [entry for entry in Demo().messages() if entry[1] != "/" + SPEC.joints.topic]
    with pytest.raises(BagError, match=r"topic '/joint_states' of robot 'tiny_robot' is not in the bag"):
        plan(tmp_path, without)


def test_topics_in_a_namespace(tmp_path: Path) -> None:
    moved = [(ns, "/left" + topic, message) for ns, topic, message in [*Demo().messages(), say(0.0, "lift it")]]
    only = plan(tmp_path, moved, namespace="/left", instruction=None)
    assert set(only.pieces[0].sentences) == {"lift it"}
