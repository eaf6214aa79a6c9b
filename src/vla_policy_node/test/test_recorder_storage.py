# SPDX-License-Identifier: Apache-2.0
"""Bags that are cut off, killed, or run into a full disk: what was committed is read back by rosbags."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from recorder_bench import small_disk
from rosbags.highlevel import AnyReader

from vla_core.episode_record import EpisodeRecord
from vla_policy_node.recording.bag_writer import BagTopic, BagWriteError, BagWriter, Storage
from vla_policy_node.recording.episode_folder import OpenFolder
from vla_policy_node.recording.episode_recording import EpisodeRecording, EpisodeResult, RecordingOptions
from vla_policy_node.recording.episode_shelf import STORAGES, EpisodeShelf
from vla_policy_node.recording.mcap_storage import McapStorage
from vla_policy_node.recording.message_definitions import message_definition
from vla_policy_node.recording.recorded_topic import RecordedTopic
from vla_policy_node.recording.sqlite3_storage import Sqlite3Storage

pytestmark = pytest.mark.ros

TOPIC = RecordedTopic(name="/said", type="std_msgs/msg/Float64MultiArray", stream="said")
T0 = 1_700_000_000_000_000_000
EVERY_STORAGE = [McapStorage("none"), McapStorage("lz4"), McapStorage("zstd"), Sqlite3Storage()]
NAMES = ["mcap", "lz4", "zstd", "sqlite3"]
# Records numbered messages into a folder until it is killed or fails, and says what it has handed over.
RECORDING = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_recorder_storage import *
storage = {{"mcap": McapStorage("none"), "sqlite3": Sqlite3Storage()}}[sys.argv[2]]
episode = begin(Path(sys.argv[1]), storage)
if len(sys.argv) > 3:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
k = 0
while episode.result is None:
    episode.take("/said", T0 + k, T0 + k, message(k, 2000 if len(sys.argv) > 3 else 500))
    print(k, time.monotonic(), flush=True)
    k += 1
    time.sleep(0.002)
print(episode.result.problem)
"""


def message(number: int, num_values: int = 500) -> bytes:
    from rclpy.serialization import serialize_message
    from std_msgs.msg import Float64MultiArray

    return bytes(serialize_message(Float64MultiArray(data=[float(number)] * num_values)))


def begin(folder: Path, storage: Storage) -> EpisodeRecording:
    return EpisodeRecording(
        folder=folder,
        record=EpisodeRecord(robot="arm", instruction="say it", started_ns=T0),
        topics=(TOPIC,),
        facts={"robot_spec": "name: arm\n"},
        options=RecordingOptions(storage=storage, queue_bytes=2**28),
    )


def numbers(path: Path) -> list[int]:
    with AnyReader([path]) as reader:
        found = []
        for connection, received_ns, data in reader.messages():
            value = round(reader.deserialize(data, connection.msgtype).data[0])
            assert received_ns == T0 + value
            found.append(value)
    return found


def write_some(path: Path, storage: Storage, count: int, finish: bool = True) -> None:
    topic = BagTopic(TOPIC.name, message_definition(TOPIC.type))
    writer: BagWriter = storage.begin(path, [topic], {"robot_spec": "name: arm\n"})
    for k in range(count):
        writer.write(TOPIC.name, T0 + k, T0 + k, message(k, 20))
        if k % 10 == 9:
            writer.commit()
    if finish:
        writer.finish({})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "shelf" / "episode"
    made.mkdir(parents=True)
    return made


def as_killed(folder: Path) -> None:
    """Give a folder what a killed recorder leaves beside the bag."""
    EpisodeRecord(robot="arm", instruction="say it", started_ns=T0).save(folder)


def test_what_does_not_fit_into_the_queue_is_counted_and_the_rest_is_kept(folder: Path) -> None:
    options = RecordingOptions(storage=McapStorage(), queue_bytes=2**20)
    record = EpisodeRecord(robot="arm", instruction="say it", started_ns=T0)
    episode = EpisodeRecording(folder=folder, record=record, topics=(TOPIC,), facts={}, options=options)
    too_large = message(0, 2**18)
    for k in range(100):
        episode.take("/said", T0 + k, T0 + k, too_large if k % 10 == 9 else message(k))
    assert episode.num_dropped == 10
    episode.end(T0 + 100)
    result = episode.wait(30.0)
    assert result is not None
    assert result.audit is not None
    assert (result.audit.streams["said"].arrived, result.audit.streams["said"].dropped) == (100, 10)
    assert not result.audit.is_usable
    assert numbers(folder) == [k for k in range(100) if k % 10 != 9]


@pytest.mark.parametrize("storage", EVERY_STORAGE, ids=NAMES)
def test_an_episode_is_read_back_by_folder_and_by_file(folder: Path, storage: Storage) -> None:
    episode = begin(folder, storage)
    for k in range(300):
        episode.take("/said", T0 + k, T0 + k, message(k))
    episode.end(T0 + 300, "success")
    result = episode.wait(30.0)
    assert result is not None
    assert result.problem is None
    file = next(path for path in folder.iterdir() if path.suffix == storage.suffix)
    assert numbers(folder) == numbers(file) == list(range(300))
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [file.name, "audit.json", "episode.yaml", "metadata.yaml"]
    ), "nothing is left behind"


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_an_mcap_file_cut_anywhere_keeps_every_whole_chunk_before_the_cut(folder: Path, compression: str) -> None:
    path = folder / "episode_0.mcap"
    write_some(path, McapStorage(compression), 100)
    whole, kept = path.read_bytes(), []
    for cut in [*range(0, len(whole), len(whole) // 60), len(whole) - 1]:
        path.write_bytes(whole[:cut])
        as_killed(folder)
        (folder / "metadata.yaml").unlink(missing_ok=True)
        (sentence,) = EpisodeShelf(folder.parent).recover()
        if not (folder / "metadata.yaml").exists():
            assert cut < 200, sentence  # not even the first record is whole
            continue
        found = numbers(folder)
        assert found == list(range(len(found)))
        assert len(found) % 10 == 0
        assert numbers(path) == found
        kept.append(len(found))
    assert kept == sorted(kept)
    assert kept[0] == 0
    assert kept[-1] == 100


def test_a_flipped_bit_ends_what_is_trusted(folder: Path) -> None:
    path = folder / "episode_0.mcap"
    write_some(path, McapStorage("none"), 100)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    as_killed(folder)
    EpisodeShelf(folder.parent).recover()
    assert 0 < len(numbers(folder)) < 60


def test_recovery_leaves_alone_what_is_being_recorded_and_what_is_no_episode(folder: Path) -> None:
    (folder.parent / "holiday").mkdir()
    episode = begin(folder, McapStorage())
    (sentence,) = EpisodeShelf(folder.parent).recover()
    assert "is being recorded by another recorder" in sentence
    episode.take("/said", T0, T0, message(0))
    episode.end(T0 + 1)
    assert episode.wait(30.0) is not None
    assert numbers(folder) == [0]
    assert EpisodeShelf(folder.parent).recover() == []
    OpenFolder(folder).close()


def run_until(folder: Path, storage: str, *arguments: str, lines: int = 10**9) -> tuple[list[str], float]:
    """Run a recording process, kill it after some lines; return its lines, and when it was killed."""
    command = [sys.executable, "-c", RECORDING, str(folder), storage, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line.strip())
            if len(said) == lines:
                break
        process.kill()
        killed_s = time.monotonic()
    return said, killed_s


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_what_was_taken_half_a_second_before_a_kill_is_readable(folder: Path, storage: str) -> None:
    said, killed_s = run_until(folder, storage, lines=700)
    entries = [line.split() for line in said]
    safe = [int(number) for number, taken_s in entries if float(taken_s) < killed_s - 0.5]
    assert len(safe) > 50
    record = EpisodeRecord.load(folder)
    assert record is not None
    assert record.ended_ns is None
    (sentence,) = EpisodeShelf(folder.parent).recover()
    assert "its recorder was killed" in sentence
    found = numbers(folder)
    assert found == list(range(len(found))), "nothing is lost in the middle and nothing is doubled"
    assert set(safe) <= set(found)
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["custom_data"] == {"robot_spec": "name: arm\n"}
    assert metadata["message_count"] == len(found)
    assert not (folder / ".reserve").exists()


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_file_that_may_not_grow_ends_the_episode_with_a_sentence(folder: Path, storage: str) -> None:
    said, _ = run_until(folder, storage, str(9 * 2**20))
    taken, problem = [line for line in said if line[0].isdigit()], said[-1]
    assert "Make room" in problem
    EpisodeShelf(folder.parent).recover()  # in this process the file may grow
    found = numbers(folder)
    assert found == list(range(len(found)))
    assert len(taken) >= len(found) > 100


@pytest.mark.parametrize("storage", STORAGES, ids=["mcap", "sqlite3"])
def test_a_full_disk_ends_the_episode_and_it_is_complete(tmp_path: Path, storage: Storage) -> None:
    with small_disk(tmp_path / "disk", 24) as disk:
        fill_by_recording(disk, storage)


def fill_by_recording(disk: Path, storage: Storage) -> None:
    shelf = EpisodeShelf(disk)
    folder = shelf.new_folder(T0, "say it")
    episode = begin(folder, storage if storage.name == "sqlite3" else McapStorage("none"))
    deadline, k = time.monotonic() + 60.0, 0
    while episode.result is None:
        assert time.monotonic() < deadline
        episode.take("/said", T0 + k, T0 + k, message(k, 2000))
        k += 1
        time.sleep(0.001)
    result: EpisodeResult = episode.result
    assert result.problem is not None
    assert os.strerror(errno.ENOSPC).lower() in result.problem.lower() or "full" in result.problem
    assert result.audit is not None, "what was committed is complete at once: room was put aside for that"
    assert result.audit.streams["said"].dropped > 0, "what did not fit is counted"
    found = numbers(folder)
    assert found == list(range(len(found)))
    assert len(found) == result.audit.streams["said"].written > 100


def test_a_file_without_a_record_is_reported_and_left_as_it_is(folder: Path) -> None:
    path = folder / "episode_0.mcap"
    path.write_bytes(b"\x89MCAP")
    with pytest.raises(BagWriteError, match="nothing was recorded"):
        McapStorage().repair(path)
    as_killed(folder)
    (sentence,) = EpisodeShelf(folder.parent).recover()
    assert sentence.endswith("left as it is")
    assert path.read_bytes() == b"\x89MCAP"
