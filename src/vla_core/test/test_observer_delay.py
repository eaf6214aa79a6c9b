# SPDX-License-Identifier: Apache-2.0
"""A stream's delay is taken off its stamps; samples are selected and felt as they are observed."""

from dataclasses import replace

import numpy as np
import pytest
from messages import image, joint_state, pose_stamped
from sim_arm import sim_arm

from vla_core.errors import ObservationRefusedError
from vla_core.geometry import Pose
from vla_core.observer import Observer
from vla_core.robot_spec import RobotSpec

MS = 1_000_000
NOW = 1_000 * MS


def with_delay(delay_ms: float) -> RobotSpec:
    spec = sim_arm()
    cameras = {**spec.cameras, "static": replace(spec.cameras["static"], delay_ms=delay_ms)}
    return replace(spec, cameras=cameras)


def observer(spec: RobotSpec, static_stamp_ns: int) -> Observer:
    one = Observer(spec)
    for camera in spec.cameras:
        pixels = np.full((spec.cameras[camera].height_px, spec.cameras[camera].width_px, 3), 7, dtype=np.uint8)
        one.push(camera, image(pixels, "rgb8", stamp_ns=static_stamp_ns if camera == "static" else NOW))
    one.push("tcp_pose", pose_stamped(Pose.identity(), spec.base_frame, NOW))
    one.push("joints", joint_state([*spec.joints.names, spec.gripper.joint], [0.1] * 7 + [0.02], NOW))
    return one


def test_a_delay_makes_a_picture_older() -> None:
    assert observer(with_delay(0.0), NOW - 50 * MS).ages_ms(NOW)["static"] == 50.0
    late = observer(with_delay(40.0), NOW - 50 * MS)
    assert late.ages_ms(NOW)["static"] == 90.0
    with pytest.raises(ObservationRefusedError, match="'static' is 90 ms old"):
        late.observe(NOW)


def test_a_delay_brings_stamps_back_that_lie_ahead() -> None:
    with pytest.raises(ObservationRefusedError, match="in the future"):
        observer(with_delay(0.0), NOW + 30 * MS).observe(NOW)
    seen = observer(with_delay(30.0), NOW + 30 * MS).observe(NOW)
    assert seen.source_stamps_ns["static"] == NOW


def test_a_delay_that_leaves_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="and a delay_ms of 60; every sample would be refused"):
        with_delay(60.0)


def test_a_stamp_may_come_from_elsewhere() -> None:
    one = Observer(sim_arm())
    message = pose_stamped(Pose.identity(), sim_arm().base_frame, 5)
    one.push("tcp_pose", message, NOW - 10 * MS)
    assert one.ages_ms(NOW)["tcp_pose"] == 10.0


def test_what_is_selected_and_felt_is_what_is_observed() -> None:
    one = observer(with_delay(0.0), NOW)
    samples, seen = one.select(NOW), one.observe(NOW)
    assert {stream: sample.stamp_ns for stream, sample in samples.items()} == dict(seen.source_stamps_ns)
    proprioception = one.proprioception(samples)
    assert proprioception.gripper_open == seen.gripper_open == 0.5
    np.testing.assert_array_equal(proprioception.joint_positions_rad, seen.joint_positions_rad)
    np.testing.assert_array_equal(proprioception.pose_tcp_in_base.matrix, seen.pose_tcp_in_base.matrix)


def test_samples_are_numbered_as_they_arrive() -> None:
    one = observer(with_delay(0.0), NOW)
    spec = sim_arm()
    one.push("tcp_pose", pose_stamped(Pose.identity(), spec.base_frame, NOW - 5 * MS))  # late, but counted
    one.push("tcp_pose", pose_stamped(Pose.identity(), spec.base_frame, NOW + 5 * MS))
    assert one.select(NOW + 1 * MS)["tcp_pose"].number == 0
    assert one.select(NOW + 5 * MS)["tcp_pose"].number == 2
