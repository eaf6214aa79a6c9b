# SPDX-License-Identifier: Apache-2.0
"""What cannot be converted is told with its reason: in a sentence that says what was found and what to do."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bag_factory import SPEC, SPEC_FILE, Demo, mark, write_bag

from vla_training.bag_to_dataset import main


def convert(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Return the exit status of the command, and what it says about problems."""
    status = main([*map(str, arguments), "--robot", str(SPEC_FILE), "--instruction", "go", "--quiet"])
    return status, capsys.readouterr().err


def wrong_frame(topic: str, message: Any) -> Any:
    if topic == "/" + SPEC.tcp_pose.topic:
        message.header.frame_id = "odom"
    return message


def wrong_encoding(topic: str, message: Any) -> Any:
    if topic == "/" + SPEC.cameras["static"].topic:
        message.encoding = "16UC1"
    return message


def wrong_size(topic: str, message: Any) -> Any:
    if topic == "/" + SPEC.cameras["static"].topic:
        message.height //= 2
        message.data = message.data[: len(message.data) // 2]
    return message


@pytest.mark.parametrize(
    ("spoil", "said"), [(wrong_frame, "'odom'"), (wrong_encoding, "'16UC1'"), (wrong_size, "the robot spec says")]
)
def test_an_episode_that_is_invalid_throughout_says_what_is_wrong(
    spoil: Callable[[str, Any], Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = ((at, topic, spoil(topic, message)) for at, topic, message in Demo(seconds=1.0).messages())
    bag = write_bag(tmp_path / "bag", messages)
    status, problems = convert(capsys, bag, "--out", tmp_path / "out")
    assert status == 1
    assert "is invalid at" in problems and said in problems


def test_a_marker_of_an_unknown_outcome_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / "bag", [*Demo().messages(), mark(0.5, "start"), mark(1.5, "stop", outcome=7)])
    status, said = convert(capsys, bag, "--out", tmp_path / "out")
    assert status != 0
    assert "/vla/episode: outcome 7 is unknown; allowed are 0 to 2" in said


@pytest.mark.parametrize("rate_hz", [31, 1e10])
def test_a_rate_above_that_of_a_camera_is_refused(
    rate_hz: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write_bag(tmp_path / "bag", Demo(seconds=1.0).messages())
    status, problems = convert(capsys, bag, "--out", tmp_path / "out", "--rate-hz", rate_hz)
    assert status == 1 and "camera 'static'" in problems and "30 Hz" in problems
    assert not (tmp_path / "out").exists()


def test_a_recording_that_lacks_a_part_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / "bags" / "cut", Demo(seconds=1.0).messages())
    metadata = bag / "metadata.yaml"
    listed = "  relative_file_paths:\n"
    text = metadata.read_text()
    metadata.write_text(text.replace(listed, f"{listed}  - lost_1.mcap\n"))
    status, problems = convert(capsys, tmp_path / "bags", "--out", tmp_path / "out")
    assert status == 2 and "lost_1.mcap" in problems


def test_a_folder_of_metadata_alone_is_skipped_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_bag(tmp_path / "bags" / "whole", Demo(seconds=1.0).messages())
    (tmp_path / "bags" / "hollow").mkdir()
    shutil.copy(whole / "metadata.yaml", tmp_path / "bags" / "hollow")
    status, problems = convert(capsys, tmp_path / "bags", "--out", tmp_path / "out")
    assert status == 2 and "hollow: skipped" in problems and "Copy the whole folder" in problems
    assert (tmp_path / "out" / "training" / "episode_0000000.npz").exists()


def test_a_file_in_the_place_of_the_dataset_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / "bag", Demo(seconds=1.0).messages())
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        status, problems = convert(capsys, bag, "--out", out)
        assert status == 1 and "Give another folder" in problems


def test_no_worker_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / "bag", Demo(seconds=1.0).messages())
    status, problems = convert(capsys, bag, "--out", tmp_path / "out", "--workers", 0)
    assert status == 1 and "at least one" in problems
