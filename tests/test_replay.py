# SPDX-License-Identifier: Apache-2.0
"""Replay follows what was recorded and tells when an action means something else than its dataset says."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from vla_core.robot_spec import RobotSpec
from vla_sim.demonstration_bags import record_demonstrations
from vla_training.bag_to_dataset import bag_to_dataset
from vla_training.conversion.config import ConversionConfig
from vla_training.replay import main, replay_dataset

SPEC_FILE = Path(__file__).resolve().parents[1] / "config" / "robots" / "sim_arm.yaml"
LIMITS = (2.0, 1.0)


@pytest.fixture(scope="module")
def spec() -> RobotSpec:
    spec = RobotSpec.load(SPEC_FILE)
    small = {name: dataclasses.replace(camera, width_px=32, height_px=32) for name, camera in spec.cameras.items()}
    return dataclasses.replace(spec, cameras=small)


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory, spec: RobotSpec) -> Path:
    out = tmp_path_factory.mktemp("bags")
    record_demonstrations(out, spec, ["lift_red_block"], episodes=1)
    return out


def convert(bags: Path, out: Path, spec: RobotSpec, **options: object) -> Path:
    scale = {"translation_m": 0.04, "rotation_rad": 0.1}  # the experts move faster than CALVIN's arm
    config = ConversionConfig(validation_share=0.0, **{**scale, **options})  # type: ignore[arg-type]
    assert bag_to_dataset([bags], out, spec, config).exit_status == 0
    return out


def rewrite(dataset: Path, change: object) -> None:
    for path in (dataset / "training").glob("episode_*.npz"):
        with np.load(path) as frame:
            arrays = dict(frame)
        change(arrays)  # type: ignore[operator]
        np.savez(path, **arrays)


@pytest.mark.parametrize("frame", ["tcp", "base"])
@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
@pytest.mark.parametrize("source", ["command", "measured"])
def test_an_experts_episode_is_followed(  # noqa: PLR0917 - three of them are the table above
    bags: Path, tmp_path: Path, spec: RobotSpec, frame: str, rate_hz: float, source: str
) -> None:
    options = {"action_frame": frame, "rate_hz": rate_hz, "action_source": source}
    dataset = convert(bags, tmp_path / "dataset", spec, **options)
    (replay,) = replay_dataset(dataset, spec)
    assert replay.judged is not None
    assert replay.is_within(*LIMITS)
    assert replay.judged.max_m < 0.003
    assert abs(replay.judged.lag_s) < 0.05


@pytest.fixture(scope="module")
def dataset(bags: Path, tmp_path_factory: pytest.TempPathFactory, spec: RobotSpec) -> Path:
    return convert(bags, tmp_path_factory.mktemp("dataset") / "dataset", spec)


@pytest.mark.parametrize("axis", range(6))
def test_a_flipped_sign_is_found(dataset: Path, tmp_path: Path, spec: RobotSpec, axis: int) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(dataset, wrong)

    def flip(arrays: dict[str, np.ndarray]) -> None:
        arrays["rel_actions"][axis] *= -1

    moved = np.abs([np.load(path)["rel_actions"][axis] for path in wrong.glob("training/*.npz")]).sum()
    rewrite(wrong, flip)
    (replay,) = replay_dataset(wrong, spec)
    assert moved < 0.2 or not replay.is_within(*LIMITS)


def test_a_wrong_frame_or_scale_is_found_and_is_the_exit_status(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--robot", str(SPEC_FILE), "--quiet"]
    assert main([str(dataset), *arguments]) == 0
    for name, wrong in (("frame", "base"), ("translation_m", 0.048), ("rotation_rad", 0.2)):
        folder = tmp_path / name
        shutil.copytree(dataset, folder)
        card = yaml.safe_load((folder / "dataset.yaml").read_text())
        card["action_space"][name] = wrong
        (folder / "dataset.yaml").write_text(yaml.safe_dump(card))
        assert main([str(folder), *arguments]) == 1
        assert "left the recorded path" in capsys.readouterr().err


def test_clipped_actions_are_listed_apart_and_the_rest_is_judged(
    dataset: Path, tmp_path: Path, spec: RobotSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    clipped = tmp_path / "clipped"
    shutil.copytree(dataset, clipped)
    path = sorted(clipped.glob("training/*.npz"))[4]
    with np.load(path) as frame:
        arrays = dict(frame)
    arrays["rel_actions"][2] = 1.0
    np.savez(path, **arrays)
    (replay,) = replay_dataset(clipped, spec)
    assert replay.num_clipped == 1
    assert replay.judged is not None
    assert replay.judged.first == 5
    assert replay.is_within(*LIMITS)
    assert not replay.whole.max_m < 0.005
    assert main([str(clipped), "--robot", str(SPEC_FILE), "--quiet"]) == 0
    assert "clipped; judged by the longest row" in capsys.readouterr().out


def test_an_episode_that_begins_in_motion_is_followed(dataset: Path, tmp_path: Path, spec: RobotSpec) -> None:
    """A lost picture cuts an episode anywhere; the arm is then behind what it was told."""
    cut = tmp_path / "cut"
    shutil.copytree(dataset, cut)
    ((_, last),) = np.load(cut / "training" / "ep_start_end_ids.npy")
    for first in (7, 15):
        np.save(cut / "training" / "ep_start_end_ids.npy", np.array([[first, last]]))
        (replay,) = replay_dataset(cut, spec)
        assert replay.is_within(*LIMITS), first


def test_what_cannot_be_replayed_is_one_sentence(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--robot", str(SPEC_FILE)]) == 1
    assert "no frames of the split 'training'" in capsys.readouterr().err
    assert main([str(dataset), "--robot", str(SPEC_FILE), "--episode", "7"]) == 1
    assert "there is no episode 7" in capsys.readouterr().err
