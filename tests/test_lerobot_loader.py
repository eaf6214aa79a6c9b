# SPDX-License-Identifier: Apache-2.0
"""LeRobot's layout: what lies on disk, and what lerobot's own loader makes of it where there is one.

lerobot's pins contradict ours, so it lives in an environment of its own. Its Python is named by the variable
``VLA_LEROBOT_PYTHON`` (docs/datasets.md tells how to make one).
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from vla_core.actions.action_space import ActionSpace
from vla_core.geometry import Pose
from vla_core.robot_spec import RobotSpec
from vla_core.types import Observation
from vla_sim.demonstration_bags import record_demonstrations
from vla_training.bag_to_dataset import bag_to_dataset
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.episode_writer import (
    DatasetFacts,
    DemonstrationFrame,
    FramesBegin,
    StoredEpisode,
    Stretch,
)
from vla_training.conversion.lerobot_format import LeRobotFormat
from vla_training.datasets.splits import open_split
from vla_training.inspection.open_episodes import open_episodes
from vla_training.replay import replay_dataset

ROOT = Path(__file__).resolve().parents[1]
PYTHON = os.environ.get("VLA_LEROBOT_PYTHON")


@pytest.fixture(scope="module")
def spec() -> RobotSpec:
    return RobotSpec.load(ROOT / "config" / "robots" / "sim_arm.yaml")


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory, spec: RobotSpec) -> Path:
    out = tmp_path_factory.mktemp("bags")
    record_demonstrations(out, spec, ["turn_on_light"], episodes=2)
    return out


def convert(bags: list[Path], out: Path, spec: RobotSpec, name: str, **options: object) -> Path:
    config = ConversionConfig(format=name, validation_share=0.0, **options)  # type: ignore[arg-type]
    assert bag_to_dataset(bags, out, spec, config).exit_status == 0
    return out


@pytest.fixture(scope="module")
def lerobot(bags: Path, tmp_path_factory: pytest.TempPathFactory, spec: RobotSpec) -> Path:
    return convert([bags], tmp_path_factory.mktemp("lerobot") / "dataset", spec, "lerobot")


@pytest.fixture(scope="module")
def calvin(bags: Path, tmp_path_factory: pytest.TempPathFactory, spec: RobotSpec) -> Path:
    return convert([bags], tmp_path_factory.mktemp("calvin") / "dataset", spec, "calvin")


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_numbers_and_videos_have_a_row_and_a_picture_per_frame(lerobot: Path) -> None:
    root = lerobot / "training"
    info = json.loads((root / "meta" / "info.json").read_text())
    episodes = pq.read_table(root / "meta" / "episodes").to_pylist()
    assert info["total_episodes"] == len(episodes) == 2
    assert info["codebase_version"] == "v3.0"
    start = 0
    for row in episodes:
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        table = pq.read_table(root / info["data_path"].format(**place))
        numbers = np.arange(row["length"])
        np.testing.assert_allclose(table["timestamp"].to_numpy(), numbers / info["fps"], atol=1e-6)
        assert table["index"].to_pylist() == (start + numbers).tolist()
        assert row["dataset_from_index"] == start
        start += row["length"]
        assert row["dataset_to_index"] == start
        for key in ("observation.images.static", "observation.images.wrist"):
            with av.open(str(root / info["video_path"].format(video_key=key, **place))) as video:
                times_s = [float(frame.pts * frame.time_base) for frame in video.decode(video=0)]
            np.testing.assert_allclose(times_s, numbers / info["fps"], atol=1e-6)
    assert info["total_frames"] == start


def test_statistics_are_those_of_all_frames(lerobot: Path) -> None:
    root = lerobot / "training"
    statistics = json.loads((root / "meta" / "stats.json").read_text())
    tables = [pq.read_table(path) for path in sorted(root.glob("data/*/*.parquet"))]
    actions = np.concatenate([np.stack(table["action"].to_numpy()) for table in tables]).astype(np.float64)
    own = statistics["action"]
    np.testing.assert_allclose(own["mean"], actions.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(own["std"], actions.std(axis=0), atol=1e-9)
    np.testing.assert_allclose(own["q99"], np.quantile(actions, 0.99, axis=0), atol=1e-9)
    pictures = open_episodes(lerobot, "training").pictures("wrist", range(statistics["action"]["count"][0]))
    pixels = np.stack(pictures) / 255.0
    found = statistics["observation.images.wrist"]
    np.testing.assert_allclose(np.ravel(found["mean"]), pixels.mean(axis=(0, 1, 2)), atol=0.01)
    np.testing.assert_allclose(np.ravel(found["std"]), pixels.std(axis=(0, 1, 2)), atol=0.01)
    index = np.concatenate([table["index"].to_numpy() for table in tables])
    assert statistics["index"]["std"][0] == pytest.approx(index.std())


def test_it_holds_what_the_calvin_layout_holds(lerobot: Path, calvin: Path, spec: RobotSpec) -> None:
    ours, theirs = open_episodes(calvin, "training"), open_episodes(lerobot, "training")
    assert [len(e) for e in ours.episodes] == [len(e) for e in theirs.episodes]
    assert [a.instruction for a in ours.annotations] == [a.instruction for a in theirs.annotations]
    assert [(a.start, a.end) for a in ours.annotations] == [(a.start, a.end) for a in theirs.annotations]
    for episode in ours.episodes:
        a, b = ours.numbers(episode), theirs.numbers(episode)
        np.testing.assert_allclose(a.robot_obs, b.robot_obs, atol=1e-6)
        np.testing.assert_allclose(a.rel_actions, b.rel_actions, atol=1e-6)
        np.testing.assert_array_equal(a.stamps_ns, b.stamps_ns)
    assert all(replay.is_within(2.0, 1.0) for replay in replay_dataset(lerobot, spec))


def test_a_second_bag_is_appended_and_changes_nothing_that_was_there(
    bags: Path, tmp_path: Path, spec: RobotSpec, lerobot: Path
) -> None:
    first, second = sorted(bags.glob("turn_on_light_*"))
    out = convert([first], tmp_path / "grown", spec, "lerobot")
    before = {path: path.read_bytes() for path in out.glob("training/data/*/*.parquet")}
    convert([second], out, spec, "lerobot")
    assert all(path.read_bytes() == data for path, data in before.items())
    for path in sorted((lerobot / "training").rglob("*")):
        if path.is_file():
            assert (out / "training" / path.relative_to(lerobot / "training")).read_bytes() == path.read_bytes()


def has_begun(drafts: Path) -> bool:
    """Return whether a video is being written; folders come and go while one looks."""
    try:
        return any(drafts.glob("*/*.mp4"))
    except FileNotFoundError:
        return False


def test_a_killed_conversion_goes_on_to_the_same_bytes(bags: Path, tmp_path: Path, lerobot: Path) -> None:
    out = tmp_path / "killed"
    robot = ROOT / "config" / "robots" / "sim_arm.yaml"
    command = [sys.executable, "-m", "vla_training.bag_to_dataset", str(bags), "--robot", str(robot)]
    command += ["--out", str(out), "--format", "lerobot", "--validation-share", "0", "--quiet"]
    run = subprocess.Popen(command)
    deadline = time.monotonic() + 120
    drafts = out / ".work" / "drafts"
    while not has_begun(drafts) and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    run.kill()
    run.wait()
    assert subprocess.run(command, check=False).returncode == 0
    assert digests(out) == digests(lerobot)


def test_placing_again_changes_nothing(bags: Path, tmp_path: Path, spec: RobotSpec) -> None:
    """A run that is killed while it places an episode places it again."""
    facts = DatasetFacts(spec=spec, action_space=ActionSpace(frame="tcp"), period_s=0.1)
    dataset, folder, out = LeRobotFormat(facts), tmp_path / "episode", tmp_path / "out"
    folder.mkdir()
    writer = dataset.writer()
    writer.begin(folder, FramesBegin(key="a", num_frames=3))
    pose = Pose.from_euler([0.4, 0.0, 0.3], [3.1, 0.0, 0.0])
    for k in range(3):
        pictures = {
            name: np.full((camera.height_px, camera.width_px, 3), 40 * k, np.uint8)
            for name, camera in spec.cameras.items()
        }
        seen = Observation(
            stamp_ns=k,
            images=pictures,
            pose_tcp_in_base=pose,
            joint_positions_rad=np.zeros(7),
            gripper_open=1.0,
            source_stamps_ns={},
        )
        writer.add(
            DemonstrationFrame(
                observation=seen,
                pose_target_in_base=pose,
                action=np.zeros(7),
                gripper_before=1.0,
                instruction="wait",
                is_last=k == 2,
            )
        )
    stretch = Stretch(first=0, last=2, instruction="wait")
    stored = StoredEpisode(
        key="a",
        split="training",
        index=0,
        first_frame=0,
        num_frames=3,
        stretches=(stretch,),
        facts=dict(writer.finish()),
    )
    (folder / "static.mp4").rename(tmp_path / "later.mp4")
    dataset.place(folder, out, stored)  # killed before the video of the camera is moved
    (tmp_path / "later.mp4").rename(folder / "static.mp4")
    dataset.place(folder, out, stored)
    dataset.place(folder, out, stored)
    dataset.write_index(out, [stored])
    source = open_episodes(out, "training")
    assert [int(picture.mean()) for picture in source.pictures("static", [0, 1, 2])] == pytest.approx(
        [0, 40, 80], abs=3
    )
    assert [annotation.instruction for annotation in source.annotations] == ["wait"]


def test_a_rate_that_is_no_whole_number_is_refused(bags: Path, tmp_path: Path, spec: RobotSpec) -> None:
    with pytest.raises(ValueError, match=r"rate_hz is 7\.5"):
        convert([bags], tmp_path / "odd", spec, "lerobot", rate_hz=7.5)


@pytest.mark.skipif(PYTHON is None, reason="VLA_LEROBOT_PYTHON names no Python with lerobot")
@pytest.mark.slow
def test_lerobots_own_loader_reads_it(lerobot: Path, calvin: Path, tmp_path: Path) -> None:
    assert PYTHON is not None
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "cache"),
    }
    command = [PYTHON, str(ROOT / "tests" / "lerobot_reader.py"), str(lerobot / "training")]
    done = subprocess.run(
        [*command, str(tmp_path / "frames.npz"), "pyav"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads(done.stdout.splitlines()[-1])
    store, source = open_split(calvin, "training"), open_episodes(calvin, "training")
    numbers = [source.numbers(episode) for episode in source.episodes]
    with np.load(tmp_path / "frames.npz") as frames:
        assert len(frames["action"]) == facts["frames"] == sum(len(episode) for episode in source.episodes)
        actions = np.concatenate([own.rel_actions for own in numbers])
        np.testing.assert_allclose(frames["action"][:, :6], actions[:, :6], atol=1e-6)
        np.testing.assert_array_equal(frames["action"][:, 6], (actions[:, 6] + 1) / 2)
        np.testing.assert_array_equal(frames["stamp_ns"], np.concatenate([own.stamps_ns for own in numbers]))
        np.testing.assert_allclose(frames["timestamp"], frames["frame_index"] / facts["fps"], atol=1e-6)
        for camera, levels in (("static", 3.0), ("wrist", 5.0)):
            seen = frames[f"observation.images.{camera}"].astype(np.float64)
            true = store.pictures(camera, store.numbers.ids).astype(np.float64)
            assert np.abs(seen - true).mean(axis=(1, 2, 3)).max() < levels
            neighbours = np.abs(seen[1:] - true[:-1]).mean() / np.abs(seen[1:] - true[1:]).mean()
            assert neighbours > 1.05  # each picture is that of its own frame
    assert facts["batch"]["observation.images.static"][:2] == [4, 2]
    np.testing.assert_allclose(facts["next_action"][:6], numbers[0].rel_actions[1, :6], atol=1e-6)
    assert facts["padded"] == [False, True, True]
    assert set(facts["tasks"]) == {annotation.instruction for annotation in store.annotations}
