# SPDX-License-Identifier: Apache-2.0
"""The command: what lies in OUT, exit statuses, damage, appending; a run that was killed is as good as any."""

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from bag_factory import SPEC, SPEC_FILE, START, Demo, Message, at, mark, path_of, pose, say, write_bag, write_mcap

from vla_core.errors import ConfigError
from vla_training.bag_to_dataset import bag_to_dataset, main
from vla_training.bags.bag_folder import find_bags
from vla_training.bags.raw_message import BagError
from vla_training.conversion.bag_labels import BagLabels
from vla_training.conversion.bag_scan import scan_bag
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.dataset_folder import DatasetFolder
from vla_training.conversion.episode_plan import plan_episodes
from vla_training.conversion.work_folder import WorkFolder
from vla_training.datasets.dataset_card import DatasetCard

CONFIG = ConversionConfig(validation_share=0.3)
DEMO = Demo(seconds=6.0)


def three_episodes(shift: float = 0.0) -> list[Message]:
    """One bag of three episodes, the second with two sentences."""
    moving = replace(DEMO, path=path_of([0.004 + shift, -0.002, 0.001, 0.01, -0.005, 0.02]))
    said = [
        *(mark(0.2, "start", "open the drawer"), mark(1.5, "stop")),
        *(mark(1.8, "start", "close the drawer"), say(2.75, "push the button"), mark(3.6, "stop")),
        *(mark(4.0, "start", "lift the block"), mark(5.5, "stop")),
    ]
    return sorted([*moving.messages(), *said], key=lambda entry: entry[0])


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags")
    for number in range(4):
        write_mcap(folder / f"demo_{number}" / "bag_0.mcap", three_episodes(1e-4 * number))
    return folder


def contents(out: Path) -> dict[str, str]:
    """Return the digest of every file of a dataset."""
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def truth(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one uninterrupted serial run makes."""
    out = tmp_path_factory.mktemp("truth") / "out"
    assert bag_to_dataset([bags], out, SPEC, CONFIG).exit_status == 0
    return out


def calvin_windows(folder: Path, window: int) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Load windows as CALVIN's disk dataset and RoboVLMs' do: ``range(start, end + 1 - window)``."""
    annotations = np.load(folder / "lang_annotations" / "auto_lang_ann.npy", allow_pickle=True).item()
    keys = ("rgb_static", "rgb_gripper", "robot_obs", "rel_actions", "scene_obs", "actions")
    for (start, end), sentence in zip(annotations["info"]["indx"], annotations["language"]["ann"], strict=True):
        for first in range(start, end + 1 - window):
            files = [np.load(folder / f"episode_{k:07d}.npz") for k in range(first, first + window)]
            np.load(folder / f"episode_{end:07d}.npz")  # RoboVLMs pads with frame ``end``
            yield sentence, {key: np.stack([file[key] for file in files]) for key in keys}


def test_the_loaders_of_calvin_and_robovlms_find_what_they_read(truth: Path) -> None:
    sentences = set()
    for split in ("training", "validation"):
        for sentence, window in calvin_windows(truth / split, 4):
            sentences.add(sentence)
            assert window["rgb_static"].shape == (4, 16, 24, 3)
            assert window["rgb_static"].dtype == np.uint8
            assert window["rgb_gripper"].shape == (4, 16, 16, 3)
            assert window["robot_obs"].shape == (4, 15)
            assert window["robot_obs"].dtype == window["rel_actions"].dtype == np.float64
            assert window["scene_obs"].shape == (4, 24)
            # No window of a loader reaches a frame without an action, nor over the end of an episode.
            assert np.all(np.any(window["rel_actions"][:, :6] != 0, axis=1))
            steps = np.diff(window["robot_obs"][:, :3], axis=0)
            assert np.all(np.linalg.norm(steps, axis=1) < 0.006)
    assert sentences == {"open the drawer", "close the drawer", "push the button", "lift the block"}


def test_the_layout_is_that_of_calvin(truth: Path) -> None:
    for split in ("training", "validation"):
        folder = truth / split
        ends = np.load(folder / "ep_start_end_ids.npy")
        lengths = np.load(folder / "ep_lens.npy")
        np.testing.assert_array_equal(ends[:, 1] - ends[:, 0] + 1, lengths)
        assert ends[0, 0] == 0
        np.testing.assert_array_equal(ends[1:, 0], ends[:-1, 1] + 1)
        names = sorted(path.name for path in folder.glob("episode_*.npz"))
        assert names == [f"episode_{k:07d}.npz" for k in range(lengths.sum())]
        annotations = np.load(folder / "lang_annotations" / "auto_lang_ann.npy", allow_pickle=True).item()
        assert annotations["language"]["emb"].shape == (len(annotations["info"]["indx"]), 1, 384)
        statistics = yaml.safe_load((folder / "statistics.yaml").read_text())
        frames = [np.load(folder / name) for name in names]
        robot = np.stack([frame["robot_obs"] for frame in frames])
        np.testing.assert_allclose(statistics["robot_obs"][0]["mean"], robot.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(statistics["robot_obs"][0]["std"], robot.std(axis=0), atol=1e-12)
        actions = np.stack([frame["actions"] for frame in frames])
        np.testing.assert_array_equal(statistics["act_max_bound"], actions.max(axis=0))
    card = DatasetCard.load(truth)
    assert (card.action_space.frame, card.period_s, card.robot.name) == ("tcp", 0.1, "tiny_robot")


def test_the_hand_that_closes_is_minus_one(tmp_path: Path) -> None:
    closed = replace(DEMO, opening=lambda t_s: 0.0 if t_s > 3.0 else 1.0)
    write_mcap(tmp_path / "bag.mcap", list(closed.messages()))
    config = ConversionConfig(instruction="close", validation_share=0.0)
    bag_to_dataset([tmp_path / "bag.mcap"], tmp_path / "out", SPEC, config)
    last = np.load(sorted((tmp_path / "out" / "training").glob("*.npz"))[-1])
    first = np.load(tmp_path / "out" / "training" / "episode_0000000.npz")
    assert first["rel_actions"][6] == first["actions"][6] == first["robot_obs"][14] == 1.0
    assert last["rel_actions"][6] == last["actions"][6] == last["robot_obs"][14] == -1.0
    assert (first["robot_obs"][6], last["robot_obs"][6]) == (pytest.approx(0.08), 0.0)


def test_one_camera_alone_is_a_dataset_that_says_so(tmp_path: Path) -> None:
    spec = replace(SPEC, cameras={"static": SPEC.cameras["static"]})
    write_mcap(tmp_path / "bag.mcap", list(DEMO.messages()))
    config = ConversionConfig(instruction="open", validation_share=0.0)
    done = bag_to_dataset([tmp_path / "bag.mcap"], tmp_path / "out", spec, config)
    frame = np.load(tmp_path / "out" / "training" / "episode_0000000.npz")
    assert "rgb_static" in frame
    assert "rgb_gripper" not in frame
    assert any("no camera 'wrist'" in note for note in done.report["notes"])


def test_workers_side_by_side_make_the_same_dataset(bags: Path, truth: Path, tmp_path: Path) -> None:
    bag_to_dataset([bags], tmp_path / "out", SPEC, CONFIG, workers=2)
    assert contents(tmp_path / "out") == contents(truth)


def test_a_second_run_changes_nothing(bags: Path, truth: Path) -> None:
    before = contents(truth)
    assert bag_to_dataset([bags], truth, SPEC, CONFIG).exit_status == 0
    assert contents(truth) == before


def kill_when(bags: Path, out: Path, is_time: Callable[[], bool], *options: str) -> bool:
    """Start the command in a process group of its own, and kill all of it; return whether it was still at work."""
    command = [sys.executable, "-m", "vla_training.bag_to_dataset", str(bags), "--robot", str(SPEC_FILE)]
    process = subprocess.Popen(
        [*command, "--out", str(out), "--validation-share", "0.3", "--quiet", *options],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None and not is_time():
            time.sleep(0.001)
    finally:
        was_running = process.poll() is None
        if was_running:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return was_running


def num_frames(out: Path) -> int:
    return sum(name.endswith(".npz") for _, _, names in os.walk(out) for name in names)


@pytest.mark.parametrize("kills", [(1,), (12, 25, 60, 110), (3, 40, 90, 140)])
def test_a_run_that_is_killed_goes_on_as_if_nothing_had_been(
    bags: Path, truth: Path, tmp_path: Path, kills: tuple[int, ...]
) -> None:
    out = tmp_path / "out"
    for number in kills:
        kill_when(bags, out, lambda number=number: num_frames(out) >= number)
        assert not (out / "episodes.json").exists() or contents(out) == contents(truth)
        for split in ("training", "validation"):  # what looks whole is whole
            assert not (out / split / "ep_start_end_ids.npy").exists() or num_frames(out) == num_frames(truth)
    bag_to_dataset([bags], out, SPEC, CONFIG)
    assert contents(out) == contents(truth)


def test_workers_end_with_the_process_that_started_them(bags: Path, truth: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "vla_training.bag_to_dataset", str(bags), "--robot", str(SPEC_FILE)]
    process = subprocess.Popen(
        [*command, "--out", str(out), "--validation-share", "0.3", "--quiet", "--workers", "2"]
    )
    while process.poll() is None and num_frames(out) < 5:
        time.sleep(0.001)
    process.kill()  # the parent alone
    process.wait()
    bag_to_dataset([bags], out, SPEC, CONFIG)  # while they may still be writing
    assert contents(out) == contents(truth)


def test_ctrl_c_ends_it_soon_with_a_sentence(bags: Path, truth: Path, tmp_path: Path) -> None:
    for workers, frames in (("1", 20), ("2", 10)):
        out = tmp_path / f"out{workers}"
        command = [sys.executable, "-m", "vla_training.bag_to_dataset", str(bags), "--robot", str(SPEC_FILE)]
        options = ["--out", str(out), "--validation-share", "0.3", "--quiet", "--workers", workers]
        process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
        while process.poll() is None and num_frames(out) < frames:
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130, said
        # Python's own tracker of semaphores may have a word to say behind it.
        assert said.startswith("bag_to_dataset: stopped. The same command goes on where this one ended\n")
        assert "Traceback" not in said
        bag_to_dataset([bags], out, SPEC, CONFIG)
        assert contents(out) == contents(truth)


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("at_call", range(1, 12, 2))
def test_a_kill_while_frames_are_moved_loses_none(
    bags: Path, truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_call: int
) -> None:
    """The moves and index files take too short to be hit from outside: the process ends at the n-th step."""
    from vla_training.conversion import calvin_format

    calls = 0
    place, write = calvin_format.CalvinFormat.place, calvin_format.write_npy

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at_call + 6:
                raise _Killed
            return step(*arguments)

        return run

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(calvin_format.CalvinFormat, "place", counted(place))
        patch.setattr(calvin_format, "write_npy", counted(write))
        with pytest.raises(_Killed):
            bag_to_dataset([bags], out, SPEC, CONFIG)
    assert not (out / "episodes.json").exists()
    bag_to_dataset([bags], out, SPEC, CONFIG)
    assert contents(out) == contents(truth)


def test_bags_are_appended_and_keep_their_split(bags: Path, truth: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bag_to_dataset([bags / "demo_0", bags / "demo_1"], out, SPEC, CONFIG)
    first = contents(out)
    bag_to_dataset([bags], out, SPEC, CONFIG)
    frames = {name: digest for name, digest in contents(out).items() if name.endswith(".npz")}
    assert frames.items() >= {item for item in first.items() if item[0].endswith(".npz")}
    assert contents(out) == contents(truth)


def test_validation_by_every_nth_episode(bags: Path, tmp_path: Path) -> None:
    config = ConversionConfig(validation_every=4)
    done = bag_to_dataset([bags], tmp_path / "out", SPEC, config)
    splits = [episode["split"] for bag in done.report["bags"] for episode in bag["episodes"]]
    assert splits == ["training", "training", "training", "validation"] * 3


def test_a_cut_bag_gives_every_whole_episode_before_the_damage(tmp_path: Path) -> None:
    data = write_mcap(tmp_path / "whole.mcap", three_episodes(), chunk_bytes=4_000).read_bytes()
    data = data[: data.rindex(struct.pack("<BQ", 0x0F, 4))]  # without DataEnd and the summary
    found = []
    for number, share in enumerate((0.1, 0.35, 0.5, 0.7, 0.97)):
        path = tmp_path / "cut" / "bag.mcap"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data[: int(share * len(data))])
        done = bag_to_dataset([path], tmp_path / f"out{number}", SPEC, CONFIG)
        (bag,) = done.report["bags"]
        assert bag["damage"] is not None
        whole = [episode["frames"] for episode in bag["episodes"] if not episode["skipped"]]
        assert done.exit_status == (2 if whole else 1)
        assert all("not whole" in episode["skipped"] for episode in bag["episodes"][len(whole) :])
        found.append(whole)
    assert found == [[], [14], [14], [14, 19], [14, 19, 16]]


def test_a_bag_cut_at_any_byte_gives_only_what_the_whole_one_gives(tmp_path: Path) -> None:
    whole = write_mcap(tmp_path / "whole.mcap", three_episodes(), chunk_bytes=4_000)
    truth = planned(whole)
    data = whole.read_bytes()
    path, most = tmp_path / "cut.mcap", 0
    for size in range(0, len(data), len(data) // 23):
        path.write_bytes(data[:size])
        found = planned(path)
        assert found == truth[: len(found)]
        most = max(most, len(found))
    assert most == len(truth) == 3


def planned(path: Path) -> list[list[Any]]:
    """Return the numbers of every frame of every episode that is not skipped."""
    (bag,) = find_bags([path])
    try:
        scan = scan_bag(bag, SPEC, CONFIG, lambda num_bytes: None)
    except BagError:
        return []
    plans = plan_episodes(scan, BagLabels(), SPEC, CONFIG, {})
    return [
        [(piece.actions.tolist(), piece.sentences, piece.gripper_before.tolist()) for piece in plan.pieces]
        for plan in plans
        if plan.pieces
    ]


def test_one_damaged_bag_among_good_ones(bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bad.mcap").write_bytes(b"no bag at all")
    arguments = [str(bags), str(tmp_path / "bad"), "--robot", str(SPEC_FILE), "--quiet"]
    report = tmp_path / "report.json"
    assert main([*arguments, "--out", str(tmp_path / "out"), "--report", str(report)]) == 2
    assert "bad/bad.mcap: damaged" in capsys.readouterr().err
    assert json.loads(report.read_text()) == json.loads((tmp_path / "out" / "report.json").read_text())
    assert main([*arguments, "--out", str(tmp_path / "out"), "--strict"]) == 1


def test_clocks_that_differ_and_commands_in_another_frame_are_told(tmp_path: Path) -> None:
    topic = "/" + SPEC.command.topic
    wrong = pose(at(0.5), START)
    wrong.header.frame_id = "world"
    slow = replace(DEMO, latency_ms=5000.0)
    write_mcap(tmp_path / "bag.mcap", sorted([*slow.messages(), (at(5.5), topic, wrong)], key=lambda own: own[0]))
    done = bag_to_dataset([tmp_path / "bag.mcap"], tmp_path / "out", SPEC, replace(CONFIG, instruction="open"))
    said = "\n".join(done.problems)
    assert done.exit_status == 1
    assert "1 messages on /arm_controller/target_pose were left out" in said
    assert "frame_id is 'world', the robot spec says 'base_link'" in said
    assert "stream 'static': header stamps are -5.0 s from the time of reception" in said
    assert "--stamps receive" in said
    config = replace(CONFIG, instruction="open", stamps="receive")
    assert bag_to_dataset([tmp_path / "bag.mcap"], tmp_path / "out2", SPEC, config).report["totals"]["frames"] > 50


def test_without_any_episode_the_status_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mcap(tmp_path / "bag.mcap", list(DEMO.messages()))
    arguments = [str(tmp_path / "bag.mcap"), "--robot", str(SPEC_FILE), "--out", str(tmp_path / "out"), "--quiet"]
    assert main(arguments) == 1
    assert "it has no sentence" in capsys.readouterr().err
    assert not (tmp_path / "out" / "training").exists()
    assert main([*arguments, "--instruction", "open", "--overwrite"]) == 0


def test_other_settings_are_refused_and_name_the_difference(truth: Path, bags: Path) -> None:
    with pytest.raises(ConfigError, match=r"begun with another config\.rate_hz \(10.0, now 5.0\)"):
        bag_to_dataset([bags], truth, SPEC, replace(CONFIG, rate_hz=5.0))
    with pytest.raises(ConfigError, match=r"another robot\.name"):
        bag_to_dataset([bags], truth, replace(SPEC, name="other"), CONFIG)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, bags: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="not empty and holds no converted dataset"):
            bag_to_dataset([bags], tmp_path, SPEC, CONFIG, overwrite=overwrite)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("steps", range(1, 8))
def test_a_kill_while_a_dataset_is_removed_leaves_a_folder_that_can_be_used(
    tmp_path: Path, bags: Path, steps: int
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    names = ["a.json", "conversion.yaml", "dataset.yaml", "episodes.json", "report.json", "z.json"]
    for name in names:
        (out / name).write_text("x")
    left, unlink = [steps], Path.unlink

    def counted(path: Path, *arguments: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise _Killed
        unlink(path, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", counted)
        patch.setattr("vla_training.conversion.dataset_folder.write_yaml", _raise_killed)
        with pytest.raises(_Killed):
            DatasetFolder(out, SPEC, CONFIG, overwrite=True)
    assert len(list(out.iterdir())) == len(names) + 1 - steps
    (out / ".conversion.yaml.4711").write_text("half writ")  # as if it had been killed while it wrote settings
    DatasetFolder(out, SPEC, CONFIG, overwrite=True).close()
    assert [path.name for path in out.iterdir() if path.is_file()] == ["conversion.yaml"]


def test_two_conversions_do_not_write_into_one_folder(tmp_path: Path, bags: Path) -> None:
    import fcntl

    out = tmp_path / "out"
    out.mkdir()
    descriptor = os.open(out, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(ConfigError, match="another conversion is writing there"):
        bag_to_dataset([bags], out, SPEC, CONFIG)
    os.close(descriptor)


def test_a_corrected_sentence_after_conversion_is_told(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", list(DEMO.messages()))
    path = tmp_path / "sentences.yaml"
    path.write_text("bag: open")
    assert bag_to_dataset([bag], tmp_path / "out", SPEC, CONFIG, instructions=path).exit_status == 0
    path.write_text("bag: close")
    done = bag_to_dataset([bag], tmp_path / "out", SPEC, CONFIG, instructions=path)
    assert done.exit_status == 2
    assert "has changed since it was converted" in done.problems[0]


@pytest.mark.parametrize("ends_at", ["dataset_folder.DatasetFolder.append", "work_folder.WorkFolder.keep_bag"])
def test_a_corrected_sentence_before_frames_were_placed_counts(tmp_path: Path, ends_at: str) -> None:
    bag = write_bag(tmp_path / "bag", list(DEMO.messages()))
    path = tmp_path / "sentences.yaml"
    path.write_text("bag: open")
    out = tmp_path / "out"
    config = ConversionConfig(validation_share=0.0)
    with pytest.MonkeyPatch.context() as patch:  # the process ends when the bag is done, or just before
        patch.setattr(f"vla_training.conversion.{ends_at}", _raise_killed)
        with pytest.raises(_Killed):
            bag_to_dataset([bag], out, SPEC, config, instructions=path)
    assert len(list((out / ".work" / "episodes").iterdir())) == 1
    path.write_text("bag: close")
    bag_to_dataset([bag], out, SPEC, config, instructions=path)
    annotations = np.load(out / "training" / "lang_annotations" / "auto_lang_ann.npy", allow_pickle=True).item()
    assert annotations["language"]["ann"] == ["close"]


def _raise_killed(*arguments: Any) -> None:
    raise _Killed


def test_the_same_bag_twice_is_converted_once(tmp_path: Path, bags: Path) -> None:
    import shutil

    copy = shutil.copytree(bags / "demo_0", tmp_path / "copy" / "demo_0")
    done = bag_to_dataset([bags / "demo_0", copy], tmp_path / "out", SPEC, CONFIG)
    assert done.report["totals"]["bags"] == 1
    assert f"copy of {bags / 'demo_0'}; skipped" in done.problems[0]


def test_a_copy_under_another_name_is_skipped_and_told(tmp_path: Path, bags: Path) -> None:
    import shutil

    out, copy = tmp_path / "out", shutil.copytree(bags / "demo_0", tmp_path / "renamed-copy")
    together = bag_to_dataset([bags / "demo_0", copy], tmp_path / "together", SPEC, CONFIG)
    bag_to_dataset([bags / "demo_0"], out, SPEC, CONFIG)
    before = contents(out)
    appended = bag_to_dataset([copy], out, SPEC, CONFIG)
    assert contents(out) == before == contents(tmp_path / "together")
    assert together.problems == (f"{copy}: copy of {bags / 'demo_0'}; skipped",)
    assert appended.problems == (f"{copy}: copy of demo_0, which is in the dataset; skipped",)


def test_the_name_of_a_bag_does_not_decide_its_split(tmp_path: Path, bags: Path) -> None:
    import shutil

    copy = shutil.copytree(bags / "demo_1", tmp_path / "other")
    splits = []
    for source, out in ((bags / "demo_1", tmp_path / "a"), (copy, tmp_path / "b")):
        report = bag_to_dataset([source], out, SPEC, replace(CONFIG, validation_share=0.5)).report
        splits.append([episode["split"] for bag in report["bags"] for episode in bag["episodes"]])
    assert splits[0] == splits[1]


def test_options_from_a_file_and_flags_before_it(tmp_path: Path, bags: Path) -> None:
    (tmp_path / "options.yaml").write_text("rate_hz: 5\naction_frame: base\ndelay_ms: {wrist: 5}\n")
    out = tmp_path / "out"
    arguments = [str(bags / "demo_0"), "--robot", str(SPEC_FILE), "--out", str(out), "--quiet"]
    assert main([*arguments, "--config", str(tmp_path / "options.yaml"), "--rate-hz", "15"]) == 0
    settings = yaml.safe_load((out / "conversion.yaml").read_text())
    assert (settings["config"]["rate_hz"], settings["config"]["action_frame"]) == (15.0, "base")
    assert settings["robot"]["cameras"]["wrist"]["delay_ms"] == 5.0
    assert DatasetCard.load(out).period_s == pytest.approx(1 / 15)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--instruction", "  "], "the sentence is empty"),
        (["--rate-hz", "0"], "rate_hz must be above 0"),
        (["--ray", "auto"], "needs the package 'ray'"),
        (["--delay-ms", "sttaic=3"], "'sttaic' is no stream"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(
    tmp_path: Path, bags: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    arguments = [str(bags), "--robot", str(SPEC_FILE), "--out", str(tmp_path / "out"), "--quiet"]
    assert main([*arguments, *options]) == 1
    assert said in capsys.readouterr().err


def test_drafts_of_the_dead_are_forgotten(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / ".work")
    (work.draft("a") / "frame").write_text("x")
    work.forget_drafts()
    assert not list((tmp_path / ".work" / "drafts").iterdir())
