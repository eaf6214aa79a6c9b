# SPDX-License-Identifier: Apache-2.0
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from messages import image, joint_state, pose_stamped
from pose_strategies import assert_pose_close
from sim_arm import sim_arm

from vla_core.errors import ObservationRefusedError, RefusalKind
from vla_core.geometry import Pose
from vla_core.observer import Observer

SIM_ARM = sim_arm()
SMALL = {name: replace(camera, width_px=4, height_px=4) for name, camera in SIM_ARM.cameras.items()}
SPEC = replace(SIM_ARM, cameras=SMALL)
NAMES = [*SPEC.joints.names, SPEC.gripper.joint]
POSE = Pose.from_euler([0.4, 0.1, 0.3], [3.0, 0.1, 0.2])
MS = 1_000_000
T0 = 1_000 * MS


def picture(stamp_ns: int, grey: int, **fields: Any) -> Any:
    return image(np.full((4, 4, 3), grey, np.uint8), "rgb8", stamp_ns=stamp_ns, **fields)


def messages(stamp_ns: int, grey: int = 0) -> dict[str, Any]:
    return {
        "static": picture(stamp_ns, grey),
        "wrist": picture(stamp_ns, grey + 1),
        "tcp_pose": pose_stamped(POSE, SPEC.base_frame, stamp_ns),
        "joints": joint_state(NAMES[::-1], [0.02, *[float(i) for i in range(7)]], stamp_ns),
    }


def observer_with(changes: dict[str, Any] | None = None) -> Observer:
    observer = Observer(SPEC)
    for stream, message in (messages(T0) | (changes or {})).items():
        if message is not None:
            observer.push(stream, message)
    return observer


def refusal_of(observer: Observer, now_ns: int) -> ObservationRefusedError:
    with pytest.raises(ObservationRefusedError) as caught:
        observer.observe(now_ns)
    return caught.value


def test_an_observation_holds_what_the_streams_said() -> None:
    seen = observer_with().observe(T0 + 10 * MS)
    assert set(seen.images) == {"static", "wrist"}
    assert seen.images["wrist"][0, 0, 0] == 1
    assert_pose_close(seen.pose_tcp_in_base, POSE)
    np.testing.assert_array_equal(seen.joint_positions_rad, [6, 5, 4, 3, 2, 1, 0])
    assert seen.gripper_open == pytest.approx(0.5)
    assert set(seen.source_stamps_ns.values()) == {T0}


@pytest.mark.parametrize("stream", ["static", "wrist", "tcp_pose", "joints"])
def test_a_stream_that_never_came_is_named(stream: str) -> None:
    refusal = refusal_of(observer_with({stream: None}), T0)
    assert (refusal.stream, refusal.kind) == (stream, RefusalKind.MISSING)
    assert stream in str(refusal)


@pytest.mark.parametrize(
    ("stream", "limit_ms"),
    [("static", 80), ("wrist", 80), ("tcp_pose", 80), ("joints", 80)],
)
def test_an_old_stream_is_named_with_its_age_and_limit(stream: str, limit_ms: int) -> None:
    late_ns = T0 + (limit_ms + 1) * MS
    fresh = {name: message for name, message in messages(late_ns, grey=9).items() if name != stream}
    observer = observer_with()
    for name, message in fresh.items():
        observer.push(name, message)
    refusal = refusal_of(observer, late_ns)
    assert (refusal.stream, refusal.kind) == (stream, RefusalKind.STALE)
    assert f"{limit_ms + 1} ms" in str(refusal)
    assert f"{limit_ms} ms" in str(refusal)


def test_the_same_picture_under_fresh_stamps_is_frozen_after_its_limit() -> None:
    observer = observer_with()
    for k in range(1, 3):
        now_ns = T0 + 34 * k * MS
        for stream, message in messages(now_ns, grey=k).items():
            observer.push(stream, message if stream != "static" else picture(now_ns, 0))
        if k < 2:
            observer.require_fresh(now_ns)
    refusal = refusal_of(observer, now_ns)
    assert (refusal.stream, refusal.kind) == ("static", RefusalKind.FROZEN)
    observer.push("static", picture(now_ns + MS, 1))
    observer.require_fresh(now_ns + MS)


@pytest.mark.parametrize(
    ("stream", "message", "words"),
    [
        ("static", picture(T0, 0, step=3), "step is 3"),
        ("wrist", picture(T0, 0, encoding="yuv"), "'yuv'"),
        ("wrist", image(np.zeros((6, 8, 3), np.uint8), "rgb8", stamp_ns=T0), "8x6 pixels found, .* says 4x4"),
        ("joints", joint_state(["a"], [0.0], T0), "'joint1' is absent"),
        ("tcp_pose", pose_stamped(POSE, "map", T0), "'map'"),
    ],
)
def test_a_message_that_cannot_be_decoded_names_its_stream(stream: str, message: Any, words: str) -> None:
    refusal = refusal_of(observer_with({stream: message}), T0)
    assert (refusal.stream, refusal.kind) == (stream, RefusalKind.INVALID)
    assert re.search(words, str(refusal))


def test_a_stream_stamped_in_the_future_is_refused() -> None:
    refusal = refusal_of(observer_with(), T0 - 50 * MS)
    assert refusal.kind is RefusalKind.INVALID
    assert "50 ms in the future" in str(refusal)


def test_a_message_out_of_order_does_not_replace_a_newer_one() -> None:
    observer = observer_with()
    assert not observer.push("static", picture(T0 - MS, 200))
    assert observer.observe(T0).images["static"][0, 0, 0] == 0


def test_one_stamp_in_the_far_future_hides_no_good_message() -> None:
    observer = observer_with()
    observer.push("static", picture(T0 + 10**15, 200))
    observer.push("static", picture(T0 + MS, 7))
    assert observer.observe(T0 + MS).images["static"][0, 0, 0] == 7
