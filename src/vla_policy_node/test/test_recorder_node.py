# SPDX-License-Identifier: Apache-2.0
"""The recorder on real middleware: what is asked, what is answered, and what is in the folders afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from closed_loop import spinning, wait_until
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from recorder_bench import STREAMS, TINY_ROBOT, Operator, TinyRobot, read_back, recorder, small_disk
from std_msgs.msg import Float64MultiArray

from vla_core.episode_record import EpisodeRecord
from vla_msgs.msg import EpisodeEvent, Instruction

pytestmark = pytest.mark.ros


@pytest.fixture
def robot(ros: None) -> Iterator[TinyRobot]:
    node = TinyRobot()
    with spinning(node):
        yield node


@pytest.fixture
def operator(ros: None) -> Iterator[Operator]:
    node = Operator()
    with spinning(node):
        yield node


def episodes(output_dir: Path) -> list[Path]:
    return sorted(path for path in output_dir.iterdir() if (path / "metadata.yaml").exists())


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_an_episode_holds_the_topics_of_the_robot_and_says_what_it_shows(
    robot: TinyRobot, operator: Operator, tmp_path: Path, storage: str
) -> None:
    with recorder(tmp_path, storage=storage):
        answer = operator.start("open the drawer")
        assert answer.success, answer.message
        operator.wait_for_messages(150)
        robot.gripper.publish(Float64MultiArray(data=[0.04]))
        wait_until(lambda: operator.status["messages"] > 300, "more messages")
        stopped = operator.stop(EpisodeEvent.OUTCOME_SUCCESS, "well done")
        assert stopped.success, stopped.message
    folder = tmp_path / answer.episode
    bag = read_back(folder)
    assert set(bag) >= STREAMS
    for topic in STREAMS:
        numbers = [message.header.stamp.sec * 10**9 + message.header.stamp.nanosec for _, message in bag[topic]]
        assert len(numbers) > 50
        assert numbers == sorted(numbers)
    steps = [round(message.pose.position.x) for _, message in bag["/tcp_pose"]]
    assert steps == list(range(steps[0], steps[0] + len(steps))), "no message is lost and none is doubled"
    assert bag["/gripper_controller/commands"][0][1].data.tolist() == [0.04]
    assert [message.text for _, message in bag["/vla/instruction"]] == ["open the drawer"]
    assert [message.event for _, message in bag["/vla/episode"]] == [EpisodeEvent.START, EpisodeEvent.STOP]
    first_ns = min(entries[0][0] for entries in bag.values())
    assert bag["/vla/instruction"][0][0] == bag["/vla/episode"][0][0] == first_ns
    record = EpisodeRecord.load(folder)
    assert record is not None
    assert (record.robot, record.instruction, record.outcome) == ("tiny_robot", "open the drawer", "success")
    assert record.note == "well done"
    assert record.started_ns == first_ns
    assert "vla_core" in record.versions
    facts = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]["custom_data"]
    assert facts["robot_spec"] == TINY_ROBOT.read_text()
    assert (facts["instruction"], facts["outcome"]) == ("open the drawer", "success")
    audit = json.loads((folder / "audit.json").read_text())
    assert audit["streams"]["static"]["dropped"] == 0
    assert audit["streams"]["static"]["written"] == len(bag["/static_camera/image_raw"])
    assert audit["streams"]["static"]["rate_hz"] == pytest.approx(50.0, rel=0.2)
    assert 0.0 <= audit["streams"]["wrist"]["offset"]["median_ms"] < 100.0


def test_what_does_not_fit_the_state_is_refused_with_a_sentence(
    robot: TinyRobot, operator: Operator, tmp_path: Path
) -> None:
    with recorder(tmp_path):
        for refused, word in [
            (operator.stop(), "no episode is being recorded"),
            (operator.discard(), "no episode yet"),
            (operator.relabel("x"), "no episode yet"),
            (operator.start(), "there is no sentence"),
            (operator.start("x" * 600), "600 characters"),
            (operator.relabel("x", episode="../../etc"), "is not in"),
        ]:
            assert not refused.success
            assert word in refused.message
        assert operator.start("open the drawer").success
        again = operator.start("close the drawer")
        assert not again.success
        assert "is being recorded; stop it first" in again.message
        wrong = operator.stop(7)
        assert not wrong.success
        assert "outcome 7 is none; allowed: 0 (unknown)" in wrong.message
        assert operator.stop().success
        assert not operator.stop().success
    assert len(episodes(tmp_path)) == 1


def test_two_episodes_in_a_row_share_no_message(robot: TinyRobot, operator: Operator, tmp_path: Path) -> None:
    with recorder(tmp_path):
        for sentence in ("open the drawer", "close the drawer"):
            assert operator.start(sentence).success
            operator.wait_for_messages(50)
            assert operator.stop().success
    first, second = (read_back(folder) for folder in episodes(tmp_path))
    last_ns = max(entries[-1][0] for entries in first.values())
    assert min(entries[0][0] for entries in second.values()) > last_ns
    assert second["/vla/instruction"][0][1].text == "close the drawer"


def test_relabel_and_discard_correct_the_last_episode_and_delete_nothing(
    robot: TinyRobot, operator: Operator, tmp_path: Path
) -> None:
    with recorder(tmp_path):
        name = operator.start("open the drawer").episode
        operator.wait_for_messages(20)
        assert operator.relabel("pull the drawer").success
        assert operator.stop(EpisodeEvent.OUTCOME_FAILURE).success
        record = EpisodeRecord.load(tmp_path / name)
        assert record is not None
        assert (record.instruction, record.outcome) == ("pull the drawer", "failure")
        assert operator.relabel(outcome=EpisodeEvent.OUTCOME_SUCCESS, episode=name).success
        assert operator.discard().success
        assert not operator.discard().success
        assert operator.relabel("open the top drawer", episode=name).success
        kinds = [EpisodeEvent.START, EpisodeEvent.RELABEL, EpisodeEvent.STOP, EpisodeEvent.RELABEL]
        kinds += [EpisodeEvent.DISCARD, EpisodeEvent.RELABEL]
        wait_until(lambda: len(operator.events) == len(kinds), "every event", 10.0, lambda: str(operator.events))
        assert [event.event for event in operator.events] == kinds
    folder = tmp_path / "discarded" / name
    record = EpisodeRecord.load(folder)
    assert record is not None
    assert (record.instruction, record.outcome, record.discarded) == ("open the top drawer", "success", True)
    inside = [message.event for _, message in read_back(folder)["/vla/episode"]]
    assert inside == [EpisodeEvent.START, EpisodeEvent.RELABEL, EpisodeEvent.STOP]


def test_an_episode_discarded_while_it_is_recorded_says_so_inside(
    robot: TinyRobot, operator: Operator, tmp_path: Path
) -> None:
    with recorder(tmp_path):
        name = operator.start("open the drawer").episode
        operator.wait_for_messages(20)
        assert operator.discard().success
        assert operator.status["state"] == "waiting"
    bag = read_back(tmp_path / "discarded" / name)
    assert EpisodeEvent.DISCARD in [message.event for _, message in bag["/vla/episode"]]
    assert not episodes(tmp_path)


def test_a_new_sentence_is_recorded_and_an_empty_one_ends_the_episode(
    robot: TinyRobot, operator: Operator, tmp_path: Path
) -> None:
    with recorder(tmp_path):
        operator.say("open the drawer")
        wait_until(lambda: operator.start().success, "the sentence")
        operator.say("now close it")
        operator.wait_for_messages(50)
        operator.say("")
        wait_until(lambda: bool(episodes(tmp_path)), "the end of the episode")
    (folder,) = episodes(tmp_path)
    texts = [message.text for _, message in read_back(folder)["/vla/instruction"]]
    assert texts == ["open the drawer", "now close it", ""]
    findings = json.loads((folder / "audit.json").read_text())["findings"]
    assert "instruction" not in {finding["stream"] for finding in findings}, "a sentence may go without a stamp"
    record = EpisodeRecord.load(folder)
    assert record is not None
    assert record.instruction == "open the drawer"


def test_sentences_cut_a_stream_into_episodes_where_the_operator_says_so(
    robot: TinyRobot, operator: Operator, tmp_path: Path
) -> None:
    with recorder(tmp_path, on_new_instruction="new_episode"):
        for sentence in ("open the drawer", "open the drawer", "close the drawer", ""):
            operator.say(sentence)
            if sentence:
                operator.wait_for_messages(40)
                wait_until(lambda s=sentence: operator.status.get("instruction") == s, "the episode")
        wait_until(lambda: len(episodes(tmp_path)) == 2, "two episodes")
        operator.say("open the drawer")  # said again after a stop, it begins again
        wait_until(lambda: operator.status["state"] == "recording", "a third episode")
    records = [EpisodeRecord.load(folder) for folder in episodes(tmp_path)]
    sentences = [record.instruction for record in records if record]
    assert sentences == ["open the drawer", "close the drawer", "open the drawer"]
    bags = [read_back(folder) for folder in episodes(tmp_path)]
    assert [bag["/vla/instruction"][0][1].text for bag in bags] == sentences
    steps = [round(message.pose.position.x) for bag in bags[:2] for _, message in bag["/tcp_pose"]]
    assert steps == list(range(steps[0], steps[0] + len(steps))), "nothing is lost between two episodes"


def test_a_sentence_latched_before_the_recorder_began_is_known(
    robot: TinyRobot, operator: Operator, tmp_path: Path
) -> None:
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    publisher = robot.create_publisher(Instruction, "/vla/instruction", latched)
    publisher.publish(Instruction(text="open the drawer"))
    with recorder(tmp_path):
        wait_until(lambda: operator.start().success, "the latched sentence")
    (folder,) = episodes(tmp_path)
    assert read_back(folder)["/vla/instruction"][0][1].text == "open the drawer"
    robot.destroy_publisher(publisher)


def test_a_missing_stream_is_a_failure_in_the_answer(robot: TinyRobot, operator: Operator, tmp_path: Path) -> None:
    robot.published = {"static", "tcp_pose", "joints"}
    with recorder(tmp_path):
        assert operator.start("open the drawer").success
        operator.wait_for_messages(100)
        answer = operator.stop()
    assert answer.success, "what is there is kept"
    assert "stream 'wrist' (/wrist_camera/image_raw/compressed): nothing was received" in answer.message
    (folder,) = episodes(tmp_path)
    findings = json.loads((folder / "audit.json").read_text())["findings"]
    assert findings[0]["level"] == "failure"
    assert findings[0]["stream"] == "wrist"


def test_no_episode_is_begun_without_room(robot: TinyRobot, operator: Operator, tmp_path: Path) -> None:
    with recorder(tmp_path, min_free_mib=1048576):
        answer = operator.start("open the drawer")
        assert not answer.success
        assert "MiB are free" in answer.message
    assert not list(tmp_path.iterdir())


def test_what_others_say_of_the_episode_is_in_the_bag_once(
    robot: TinyRobot, operator: Operator, tmp_path: Path
) -> None:
    publisher = operator.create_publisher(EpisodeEvent, "/vla/episode", 10)
    with recorder(tmp_path):
        wait_until(lambda: publisher.get_subscription_count() >= 2, "the recorder's subscription")
        assert operator.start("open the drawer").success
        publisher.publish(EpisodeEvent(event=EpisodeEvent.RELABEL, instruction="said by a person"))
        operator.wait_for_messages(100)
        assert operator.stop().success
    (folder,) = episodes(tmp_path)
    texts = [message.instruction for _, message in read_back(folder)["/vla/episode"]]
    assert texts == ["open the drawer", "said by a person", "open the drawer"]


def test_on_a_full_disk_the_episode_is_kept_the_status_says_so_and_the_node_lives_on(
    robot: TinyRobot, operator: Operator, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 48) as disk, recorder(disk):
        name = operator.start("open the drawer").episode
        operator.wait_for_messages(200)
        filler = disk / "filler"
        with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        wait_until(lambda: operator.status["state"] == "waiting", "the end of the episode", 20.0)
        assert "No space left on device" in operator.status["problem"]
        assert len(read_back(disk / name)["/tcp_pose"]) > 20
        assert "MiB are free" in operator.start("close the drawer").message
        filler.unlink()
        assert operator.start("close the drawer").success
        operator.wait_for_messages(50)
        assert operator.stop().success
        assert operator.status["problem"] == ""
        assert len(episodes(disk)) == 2


def test_in_a_namespace_the_bag_holds_resolved_names(ros: None, tmp_path: Path) -> None:
    robot, operator = TinyRobot("left"), Operator("left")
    with spinning(robot), spinning(operator), recorder(tmp_path, namespace="left"):
        assert operator.start("open the drawer").success
        operator.wait_for_messages(50)
        assert operator.stop().success
    (folder,) = episodes(tmp_path)
    assert set(read_back(folder)) == {f"/left{topic}" for topic in (*STREAMS, "/vla/instruction", "/vla/episode")}
