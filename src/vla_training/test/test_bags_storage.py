# SPDX-License-Identifier: Apache-2.0
"""Whatever a bag is stored in, the same messages come out; whatever is broken, all before the damage does."""

import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_factory import STORE, T0, Demo, at, mark, say, write_bag, write_mcap, zstd_file
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType

from vla_training.bags.bag_folder import find_bags
from vla_training.bags.message_types import MessageTypes
from vla_training.bags.raw_message import BagError, DamagedBagError, RawMessage
from vla_training.bags.stored_messages import in_order, stored_messages

DEMO = Demo(seconds=1.0)
TRUTH = sorted([*DEMO.messages(), say(0.0, "open the drawer"), mark(0.5, "stop")], key=lambda entry: entry[0])
TOPICS = {topic for _, topic, _ in TRUTH}


def read(path: Path) -> tuple[list[tuple[int, str, bytes]], str | None]:
    """Return what comes out of a bag, and its damage."""
    (bag,) = find_bags([path])
    found: list[tuple[int, str, bytes]] = []
    types = MessageTypes()
    try:
        for raw in stored_messages(bag, TOPICS, types):
            types.decode(raw)
            found.append((raw.received_ns, raw.topic, bytes(raw.data)))
    except DamagedBagError as error:
        return found, str(error)
    return found, None


def serialised(truth: list[Any]) -> list[tuple[int, str, bytes]]:
    return [(ns, topic, bytes(STORE.serialize_cdr(m, m.__msgtype__))) for ns, topic, m in truth]


def as_set(messages: list[tuple[int, str, bytes]]) -> set[tuple[int, str, bytes]]:
    return set(messages)


@pytest.mark.parametrize(
    "storage", ["mcap", "mcap-zstd", "mcap-message", "mcap-file", "sqlite3", "sqlite3-message", "sqlite3-file"]
)
def test_every_storage_gives_the_same_messages(tmp_path: Path, storage: str) -> None:
    found, damage = read(write_bag(tmp_path / "bag", TRUTH, storage))
    assert damage is None
    assert as_set(found) == as_set(serialised(TRUTH))
    assert [ns for ns, _, _ in found] == sorted(ns for ns, _, _ in found)


@pytest.mark.parametrize("compression", list(CompressionType))
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_every_compression_of_mcap_is_read(
    tmp_path: Path, compression: CompressionType, chunked: bool, packed: bool
) -> None:
    path = write_mcap(tmp_path / "a.mcap", TRUTH, compression=compression, chunked=chunked)
    found, damage = read(zstd_file(path) if packed else path)
    assert damage is None
    assert found == serialised(TRUTH)


def test_the_parts_of_a_split_bag_follow_each_other(tmp_path: Path) -> None:
    step = len(TRUTH) // 11 + 1
    for number in range(11):  # part 10 comes after part 9, not after part 1
        write_mcap(tmp_path / "bag" / f"bag_{number}.mcap", TRUTH[number * step : (number + 1) * step])
    found, damage = read(tmp_path / "bag")
    assert damage is None
    assert found == serialised(TRUTH)


def test_a_bag_without_metadata_is_read(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", TRUTH, "sqlite3")
    (bag / "metadata.yaml").unlink()
    found, damage = read(bag)
    assert damage is None
    assert len(found) == len(TRUTH)


@pytest.mark.parametrize("chunked", [True, False])
def test_a_file_cut_anywhere_gives_what_is_before(tmp_path: Path, chunked: bool) -> None:
    whole = write_mcap(tmp_path / "whole.mcap", TRUTH, chunked=chunked, compression=CompressionType.LZ4)
    data, truth = whole.read_bytes(), serialised(TRUTH)
    lengths = []
    for size in sorted({*range(0, len(data), len(data) // 60), 5, 8, len(data) - 1}):
        path = tmp_path / "cut.mcap"
        path.write_bytes(data[:size])
        found, damage = read(path)
        assert found == truth[: len(found)], size
        assert damage is not None or len(found) == len(truth)
        lengths.append(len(found))
    assert lengths == sorted(lengths)
    assert lengths[len(lengths) // 2] > 0.3 * len(truth)


def test_a_database_cut_anywhere_gives_rows_that_were_written(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", TRUTH, "sqlite3")
    (file,) = bag.glob("*.db3")
    data, truth = file.read_bytes(), as_set(serialised(TRUTH))
    most = 0
    for size in range(0, len(data), len(data) // 25):
        file.write_bytes(data[:size])
        found, damage = read(bag)
        assert as_set(found) <= truth
        assert damage is not None or as_set(found) == truth
        most = max(most, len(found))
    assert most > 0.5 * len(truth)


def test_what_a_killed_recorder_left_in_the_log_of_its_database_is_read(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", TRUTH[:-1], "sqlite3")
    (file,) = bag.glob("*.db3")
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(
        "INSERT INTO messages SELECT 100000, topic_id, timestamp + 1, data FROM messages WHERE id = 1"
    )
    connection.commit()
    killed = shutil.copytree(bag, tmp_path / "killed")  # the open connection keeps the row in the log
    connection.close()
    assert (killed / f"{file.name}-wal").stat().st_size > 0
    found, damage = read(killed)
    assert damage is None
    assert len(found) == len(TRUTH)


@given(st.integers(0, 2**31), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_flipped_bits_give_no_wrong_message(tmp_path_factory: pytest.TempPathFactory, seed: int, num: int) -> None:
    folder = tmp_path_factory.mktemp("flip")
    path = write_mcap(folder / "a.mcap", TRUTH[:200])
    data = bytearray(path.read_bytes())
    source = random.Random(seed)
    for _ in range(num):
        data[source.randrange(8, len(data))] ^= 1 << source.randrange(8)
    path.write_bytes(data)
    found, _ = read(path)
    assert as_set(found) <= as_set(serialised(TRUTH[:200]))
    shutil.rmtree(folder)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 100)), max_size=60))
def test_messages_mixed_up_by_less_than_the_window_come_out_in_order(steps: list[tuple[int, int]]) -> None:
    now_ms, messages = 0, []
    for back_ms, forth_ms in steps:
        now_ms += forth_ms
        messages.append(RawMessage(T0 + (now_ms - back_ms) * 1_000_000, "/a", "x", b""))
    found = [message.received_ns for message in in_order(messages)]
    assert found == sorted(message.received_ns for message in messages)


def test_folders_of_bags_and_the_same_bag_twice(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_bag(tmp_path / "day" / name, TRUTH)
    write_mcap(tmp_path / "day" / "c" / "first.mcap", TRUTH)
    write_mcap(tmp_path / "day" / "c" / "second.mcap", TRUTH[:100])
    bags = find_bags([tmp_path / "day", tmp_path / "day" / "a"])
    assert [bag.name for bag in bags] == ["a", "b", "c_first", "c_second"]
    assert len({bag.key for bag in bags}) == 4


def test_a_copied_bag_keeps_its_key(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "one" / "demo", TRUTH)
    copy = shutil.copytree(bag, tmp_path / "two" / "demo")
    assert find_bags([bag])[0].key == find_bags([copy])[0].key


def test_what_is_no_bag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="not a readable rosbag2"):
        find_bags([tmp_path])
    with pytest.raises(BagError, match="no such file"):
        find_bags([tmp_path / "nothing"])
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(BagError, match=r"allowed are \.mcap"):
        find_bags([tmp_path / "a.txt"])


def test_own_messages_are_those_of_vla_msgs() -> None:
    from rosbags.typesys import get_types_from_msg

    from vla_training.bags.message_types import OWN_TYPES

    folder = Path(__file__).resolve().parents[2] / "vla_msgs" / "msg"
    for kind, text in OWN_TYPES.items():
        shipped = (folder / f"{kind.rpartition('/')[2]}.msg").read_text()
        assert get_types_from_msg(shipped, kind) == get_types_from_msg(text, kind)


def test_the_factory_tells_time() -> None:
    assert at(0.5) - at(0.0) == 500_000_000
    assert np.all(np.diff([ns for ns, _, _ in TRUTH]) >= 0)
