# SPDX-License-Identifier: Apache-2.0
"""A bag played over real middleware and the same bag read offline give the same observations, to the bit."""

import importlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vla_core.codecs.stamp import stamp_ns_of
from vla_core.errors import ObservationRefusedError, RefusalKind
from vla_core.observer import Observer, stream_topics
from vla_core.robot_spec import RobotSpec
from vla_core.types import Observation
from vla_training.bags.observations import observe_bag
from vla_training.bags.reader import BagError, BagMessage, read_bag

DATA = Path(__file__).parent / "data"
BAG = DATA / "tiny_bag"
SPEC = RobotSpec.load(DATA / "tiny_robot.yaml")
PERIOD_S = 0.1

Seen = Observation | ObservationRefusedError


@pytest.fixture(scope="module")
def offline() -> list[tuple[int, Seen]]:
    return list(observe_bag(read_bag(BAG, SPEC), SPEC, PERIOD_S))


@pytest.fixture(scope="module")
def live(offline: list[tuple[int, Seen]]) -> Iterator[list[Seen]]:
    """Publish the bag's messages, and observe at the ticks of the offline pass."""
    rclpy = pytest.importorskip("rclpy", reason="needs a built ROS workspace")
    rclpy.init()
    try:
        yield play(rclpy, [tick_ns for tick_ns, _ in offline])
    finally:
        rclpy.shutdown()


def play(rclpy, ticks_ns: list[int]) -> list[Seen]:
    from rclpy.qos import qos_profile_sensor_data

    from vla_policy_node.inputs import subscribe_streams

    node = rclpy.create_node("bag_player")
    observer, arrived = Observer(SPEC), []
    subscribe_streams(node, SPEC, lambda stream, message: arrived.append(observer.push(stream, message)))
    recorded = list(read_raw_bag())
    publishers = {
        topic: node.create_publisher(message_type(kind), topic, qos_profile_sensor_data)
        for topic, kind in {(topic, kind) for _, topic, kind, _ in recorded}
    }
    while not all(publisher.get_subscription_count() for publisher in publishers.values()):
        rclpy.spin_once(node, timeout_sec=0.1)
    seen: list[Seen] = []
    sent = 0
    for tick_ns in ticks_ns:
        while sent < len(recorded) and recorded[sent][0] <= tick_ns:
            _, topic, _, data = recorded[sent]
            publishers[topic].publish(data)
            sent += 1
            deadline = time.monotonic() + 5.0
            while len(arrived) < sent:  # one at a time, so that the order of the bag is the order of arrival
                assert time.monotonic() < deadline, f"message {sent} on {topic} did not arrive"
                rclpy.spin_once(node, timeout_sec=0.1)
        try:
            seen.append(observer.observe(tick_ns))
        except ObservationRefusedError as refusal:
            seen.append(refusal)
    node.destroy_node()
    return seen


def message_type(name: str) -> type:
    package, folder, kind = name.split("/")
    return getattr(importlib.import_module(f"{package}.{folder}"), kind)


def read_raw_bag() -> Iterator[tuple[int, str, str, bytes]]:
    from rosbags.highlevel import AnyReader

    with AnyReader([BAG]) as reader:
        for connection, received_ns, data in reader.messages():
            yield received_ns, connection.topic, connection.msgtype, bytes(data)


@pytest.mark.ros
def test_live_and_offline_observations_are_equal_to_the_bit(
    offline: list[tuple[int, Seen]], live: list[Seen]
) -> None:
    assert len(offline) == len(live) >= 20
    for (tick_ns, from_bag), from_topics in zip(offline, live, strict=True):
        if isinstance(from_bag, ObservationRefusedError):
            assert isinstance(from_topics, ObservationRefusedError), (tick_ns, str(from_bag))
            assert str(from_bag) == str(from_topics)
            continue
        assert isinstance(from_topics, Observation), (tick_ns, str(from_topics))
        assert from_bag.stamp_ns == from_topics.stamp_ns
        assert from_bag.source_stamps_ns == from_topics.source_stamps_ns
        assert from_bag.gripper_open == from_topics.gripper_open
        np.testing.assert_array_equal(from_bag.joint_positions_rad, from_topics.joint_positions_rad)
        np.testing.assert_array_equal(from_bag.pose_tcp_in_base.matrix, from_topics.pose_tcp_in_base.matrix)
        for camera in SPEC.cameras:
            np.testing.assert_array_equal(from_bag.images[camera], from_topics.images[camera])


def test_the_bag_holds_every_trouble_that_it_should(offline: list[tuple[int, Seen]]) -> None:
    kinds = {(seen.stream, seen.kind) for _, seen in offline if isinstance(seen, ObservationRefusedError)}
    assert ("static", RefusalKind.STALE) in kinds
    assert ("static", RefusalKind.FROZEN) in kinds
    assert ("tcp_pose", RefusalKind.STALE) in kinds
    assert sum(isinstance(seen, Observation) for _, seen in offline) >= 10


def test_offline_ticks_know_only_what_had_been_received(offline: list[tuple[int, Seen]]) -> None:
    messages: list[BagMessage] = list(read_bag(BAG, SPEC))
    for tick_ns, seen in offline:
        if isinstance(seen, Observation):
            for stream, stamp_ns in seen.source_stamps_ns.items():
                received = [
                    m.received_ns for m in messages if m.stream == stream and stamp_ns_of(m.message) == stamp_ns
                ]
                assert min(received) <= tick_ns


def test_a_bag_without_a_topic_of_the_robot_is_refused() -> None:
    sim_arm = RobotSpec.load(DATA.parents[1] / "config" / "robots" / "sim_arm.yaml")
    with pytest.raises(BagError, match=r"'/wrist_camera/image_raw' .*not in the bag"):
        list(read_bag(BAG, sim_arm))


def test_what_is_no_bag_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metadata.yaml").write_text("nothing")
    with pytest.raises(BagError, match="not a readable rosbag2"):
        list(read_bag(tmp_path, SPEC))


def test_every_stream_has_its_topic() -> None:
    assert set(stream_topics(SPEC)) == set(Observer(SPEC).streams)
