# SPDX-License-Identifier: Apache-2.0
"""What the recorder has recorded is what was published, byte for byte, and the training side reads it."""

import importlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vla_core.observer import stream_topics
from vla_core.robot_spec import RobotSpec
from vla_training.bags.reader import read_bag

pytest.importorskip("rclpy", reason="needs a built ROS workspace")
pytestmark = pytest.mark.ros

DATA = Path(__file__).parent / "data"
BAG = DATA / "tiny_bag"
SPEC_FILE = DATA / "tiny_robot.yaml"
SPEC = RobotSpec.load(SPEC_FILE)
TOPICS = {f"/{topic}" for topic in stream_topics(SPEC).values()}


def raw_messages(path: Path) -> Iterator[tuple[str, str, bytes]]:
    from rosbags.highlevel import AnyReader

    with AnyReader([path]) as reader:
        for connection, _, data in reader.messages():
            yield connection.topic, connection.msgtype, bytes(data)


def message_type(name: str) -> type:
    package, folder, kind = name.split("/")
    return getattr(importlib.import_module(f"{package}.{folder}"), kind)


def record_what_is_published(output_dir: Path, storage: str) -> Path:
    """Publish every message of the tiny bag over real middleware to a recorder; return the recorded bag."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter
    from rclpy.qos import QoSProfile

    from vla_msgs.srv import StartEpisode, StopEpisode
    from vla_policy_node.recording.episode_recorder import EpisodeRecorder

    values = {"robot_spec": str(SPEC_FILE), "output_dir": str(output_dir), "storage": storage, "min_free_mib": 16}
    recorder = EpisodeRecorder(
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()]
    )
    player = rclpy.create_node("player")
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)
    executor.add_node(player)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()

    def call(kind: type, service: str, request: object) -> object:
        client = player.create_client(kind, f"/episode_recorder/{service}")
        assert client.wait_for_service(timeout_sec=20.0)
        answered, future = threading.Event(), client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        assert answered.wait(30.0)
        answer = future.result()
        assert answer.success, answer.message
        return answer

    recorded = list(raw_messages(BAG))
    publishers = {
        topic: player.create_publisher(message_type(kind), topic, QoSProfile(depth=100))
        for topic, kind in {(topic, kind) for topic, kind, _ in recorded}
    }
    deadline = time.monotonic() + 20.0
    while not all(publisher.get_subscription_count() for publisher in publishers.values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.5)  # the recorder looks for reliable publishers twice a second and then hears them reliably
    answer = call(StartEpisode, "start", StartEpisode.Request(instruction="stir the soup"))
    for topic, _, data in recorded:
        publishers[topic].publish(data)
        time.sleep(0.001)
    time.sleep(0.5)
    call(StopEpisode, "stop", StopEpisode.Request(outcome=1))
    executor.shutdown()
    spinner.join(5.0)
    recorder.destroy_node()
    player.destroy_node()
    return output_dir / answer.episode  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def ros() -> Iterator[None]:
    import rclpy

    rclpy.init()
    yield
    rclpy.shutdown()


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_recorded_bag_holds_the_published_bytes_and_is_read_as_the_original(
    ros: None, tmp_path: Path, storage: str
) -> None:
    folder = record_what_is_published(tmp_path, storage)
    for topic in TOPICS:
        said = [data for name, _, data in raw_messages(BAG) if name == topic]
        heard = [data for name, _, data in raw_messages(folder) if name == topic]
        assert heard == said, f"{topic}: {len(heard)} of {len(said)} messages"
    original = [message.stream for message in read_bag(BAG, SPEC)]
    read = [message.stream for message in read_bag(folder, SPEC)]
    assert sorted(read) == sorted(original)
