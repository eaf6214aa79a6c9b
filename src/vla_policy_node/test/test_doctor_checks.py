# SPDX-License-Identifier: Apache-2.0
"""What the doctor says of stamps, pictures, limits and grippers that a simulated robot does not have."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from closed_loop import SIM_ARM
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image, JointState

from vla_core.observer import stream_types
from vla_core.robot_spec import RobotSpec
from vla_core.types import RgbImage
from vla_policy_node.doctor.arm_checks import check_joints, check_tcp_pose
from vla_policy_node.doctor.evidence import Evidence, StreamRecord, TopicView
from vla_policy_node.doctor.findings import Finding, State
from vla_policy_node.doctor.gripper_checks import check_gripper
from vla_policy_node.doctor.picture_checks import check_pictures
from vla_policy_node.doctor.setup_checks import check_limits
from vla_policy_node.doctor.stamp_checks import check_stamps
from vla_policy_node.doctor.table import as_table

pytestmark = pytest.mark.ros
SPEC = RobotSpec.load(SIM_ARM)
NOBODY = TopicView("/somewhere", (), ())
NOW_NS = 1_800_000_000_000_000_000
MS = 1_000_000


def record(stream: str, *messages: Any, stamp_offset_ms: float = -20.0, period_ms: float = 33.0) -> StreamRecord:
    """Return a stream of ten messages whose stamps lie ``stamp_offset_ms`` beside their arrival."""
    received_ns = NOW_NS + np.arange(10, dtype=np.int64) * round(period_ms * MS)
    stamps_ns = received_ns + round(stamp_offset_ms * MS)
    kind = stream_types(SPEC)[stream]
    return StreamRecord(stream, kind, NOBODY, qos_profile_sensor_data, received_ns, stamps_ns, 0.0, messages)


def seen(spec: RobotSpec = SPEC, **streams: StreamRecord) -> Evidence:
    silent = {stream: record(stream) for stream in stream_types(SPEC)}
    return Evidence(
        spec=spec,
        folder=SIM_ARM.parent,
        seconds=1.0,
        use_sim_time=False,
        clock_ns=NOW_NS,
        clock_publishers=(),
        streams=silent | streams,
        command=NOBODY,
        policy_nodes=(),
        gripper=NOBODY,
        gripper_action_type=None,
        spoken={},
        observations=(),
        refusal=None,
        kinematics=None,
    )


def one(findings: list[Finding], check: str) -> Finding:
    (found,) = [finding for finding in findings if finding.check == check]
    return found


def picture(pixels: RgbImage, encoding: str = "rgb8") -> Image:
    height, width = pixels.shape[:2]
    return Image(height=height, width=width, step=3 * width, encoding=encoding, data=pixels.tobytes())


def joint_state(gripper: float = 0.04, **positions: float) -> JointState:
    middle = {
        name: (low + high) / 2.0
        for name, low, high in zip(SPEC.joints.names, SPEC.joints.lower_rad, SPEC.joints.upper_rad, strict=True)
    }
    values = middle | positions | {SPEC.gripper.joint: gripper}
    return JointState(name=list(values), position=list(values.values()))


@pytest.mark.parametrize(
    ("offset_ms", "check", "state", "words"),
    [
        (-20.0, "age", State.OK, "53 ms"),
        (-20.0, "delay", State.OK, "20.0 ms after"),
        (-60.0, "age", State.FAIL, "93 ms"),
        (-0.1, "delay", State.WARN, "0.1 ms after"),
        (50.0, "stamps", State.FAIL, "50.0 ms in the future"),
        (-3_600_000.0, "stamps", State.FAIL, "another clock"),
    ],
)
def test_stamps(offset_ms: float, check: str, state: State, words: str) -> None:
    stream = record("static", stamp_offset_ms=offset_ms)
    found = one(check_stamps(seen(static=stream), stream), check)
    assert found.state is state
    assert words in found.found


def test_a_stamp_in_the_future_comes_with_the_delay_to_set() -> None:
    stream = record("static", stamp_offset_ms=50.0)
    assert "delay_ms to 50" in one(check_stamps(seen(static=stream), stream), "stamps").fix


def test_stamps_that_are_never_set_are_told() -> None:
    stream = replace(record("static"), stamps_ns=np.zeros(10, dtype=np.int64))
    assert "zero" in one(check_stamps(seen(static=stream), stream), "stamps").found


NOISE = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
RAMP = np.broadcast_to(np.linspace(60, 180, 200).astype(np.uint8)[None, :, None], (200, 200, 3))


@pytest.mark.parametrize(
    ("pixels", "state", "words"),
    [
        (NOISE, State.OK, "brightness"),
        (NOISE // 16, State.WARN, "almost black"),
        (240 + NOISE // 16, State.WARN, "almost white"),
        (np.full_like(NOISE, 120), State.WARN, "one colour"),
        (RAMP, State.WARN, "blurred"),
    ],
)
def test_what_pictures_show(pixels: RgbImage, state: State, words: str) -> None:
    stream = record("static", picture(pixels))
    found = one(check_pictures(seen(static=stream), stream, None), "content")
    assert found.state is state
    assert words in found.found


def test_an_encoding_that_is_not_understood_is_named() -> None:
    stream = record("static", picture(NOISE, encoding="bayer_rggb8"))
    found = one(check_pictures(seen(static=stream), stream, None), "pictures")
    assert found.state is State.FAIL
    assert "bayer_rggb8" in found.found


def test_a_joint_outside_its_limits_is_named_with_both() -> None:
    evidence = seen(joints=record("joints", joint_state(joint4=1.0)))
    found = one(check_joints(evidence), "limits")
    assert found.state is State.FAIL
    assert "joint4 1.000 (-3.0718 to -0.0698)" in found.found


def test_a_gripper_beyond_its_positions_is_to_be_measured() -> None:
    evidence = seen(joints=record("joints", joint_state(gripper=0.09)))
    found = one(check_gripper(evidence), "joint")
    assert found.state is State.WARN
    assert "225% open" in found.found


def test_a_pose_in_another_frame_holds_both_names() -> None:
    from geometry_msgs.msg import PoseStamped

    message = PoseStamped()
    message.header.frame_id = "world"
    found = one(check_tcp_pose(seen(tcp_pose=record("tcp_pose", message))), "frame")
    assert found.state is State.FAIL
    assert "'world'" in found.found
    assert "'base_link'" in found.found


def test_limits_of_a_first_run_pass_and_fast_ones_warn() -> None:
    slow = replace(SPEC.limits, max_speed_m_s=0.05, max_speed_rad_s=0.2)
    assert {finding.state for finding in check_limits(replace(SPEC, limits=slow))} == {State.OK}
    fast = replace(SPEC.limits, max_speed_m_s=1.5, soft_start_s=0.0)
    warned = {finding.check for finding in check_limits(replace(SPEC, limits=fast)) if finding.state is State.WARN}
    assert warned == {"speed", "soft start"}


WORDS = st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1, max_size=20)
FINDINGS = st.builds(
    Finding,
    subject=WORDS,
    check=WORDS,
    state=st.sampled_from(State),
    found=st.lists(WORDS, min_size=1, max_size=30).map(" ".join),
    fix=st.lists(WORDS, max_size=30).map(" ".join),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(FINDINGS, max_size=8))
def test_a_table_is_never_wider_than_100_columns_and_loses_no_word(findings: list[Finding]) -> None:
    table = as_table(findings, coloured=False)
    assert max(map(len, table.splitlines())) <= 100
    words = set(table.split())
    assert all(set(finding.found.split()) | set(finding.fix.split()) <= words for finding in findings)
