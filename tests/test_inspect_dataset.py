# SPDX-License-Identifier: Apache-2.0
"""A look at a dataset finds what is wrong with it, says where, and stays quiet about what is right."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vla_core.robot_spec import RobotSpec
from vla_sim.demonstration_bags import record_demonstrations
from vla_training.bag_to_dataset import bag_to_dataset
from vla_training.conversion.config import ConversionConfig
from vla_training.datasets.calvin_folder import CalvinFolder
from vla_training.datasets.packing import pack_split
from vla_training.inspect_dataset import main

SPEC_FILE = Path(__file__).resolve().parents[1] / "config" / "robots" / "sim_arm.yaml"
Arrays = dict[str, Any]


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bags")
    record_demonstrations(out, spec_of_small_pictures(), ["lift_red_block"], episodes=2)
    return out


def spec_of_small_pictures() -> RobotSpec:
    spec = RobotSpec.load(SPEC_FILE)
    small = {name: dataclasses.replace(camera, width_px=48, height_px=32) for name, camera in spec.cameras.items()}
    return dataclasses.replace(spec, cameras=small)


def convert(bags: Path, out: Path, layout: str) -> Path:
    scale = {"translation_m": 0.04, "rotation_rad": 0.1}  # the experts move faster than CALVIN's arm
    config = ConversionConfig(format=layout, validation_every=2, **scale)  # type: ignore[arg-type]
    assert bag_to_dataset([bags], out, spec_of_small_pictures(), config).exit_status == 0
    return out


@pytest.fixture(scope="module")
def calvin(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(bags, tmp_path_factory.mktemp("calvin") / "dataset", "calvin")


@pytest.fixture
def dataset(calvin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(calvin, tmp_path / "dataset"))


def inspect(dataset: Path, page: Path) -> tuple[int, dict[str, Any]]:
    facts = page.with_suffix(".json")
    status = main([str(dataset), "--out", str(page), "--json", str(facts), "--quiet"])
    return status, json.loads(facts.read_text())


def rewrite(dataset: Path, change: Callable[[int, Arrays], None], split: str = "training") -> None:
    for number, path in enumerate(sorted((dataset / split).glob("episode_*.npz"))):
        with np.load(path) as frame:
            arrays = dict(frame)
        change(number, arrays)
        np.savez(path, **arrays)


def test_a_good_dataset_is_clean_in_every_layout(bags: Path, calvin: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    for split in ("training", "validation"):
        pack_split(CalvinFolder(calvin / split), packed / split)
    shutil.copy(calvin / "dataset.yaml", packed)
    lerobot = convert(bags, tmp_path / "lerobot", "lerobot")
    found = {}
    for folder in (calvin, packed, lerobot):
        status, found[folder.name] = inspect(folder, tmp_path / f"{folder.name}.html")
        assert status == 0, found[folder.name]["findings"]
        page = (tmp_path / f"{folder.name}.html").read_text()
        assert page.count("data:image/jpeg") == 4  # two episodes, two cameras
        assert "http://" not in page.replace("http://www.w3.org", "")
    for split in ("training", "validation"):
        same = [{k: v for k, v in own["splits"][split].items() if k in ("frames", "histograms", "sentences")}
                for own in found.values()]  # fmt: skip
        assert same[0] == same[1] == same[2]


def flip_gripper(number: int, arrays: Arrays) -> None:
    arrays["rel_actions"][6] *= -1


def flip_height(number: int, arrays: Arrays) -> None:
    arrays["rel_actions"][2] *= -1


def clip(number: int, arrays: Arrays) -> None:
    arrays["rel_actions"][0] = 1.0 if number % 3 == 0 else arrays["rel_actions"][0]


def jump(number: int, arrays: Arrays) -> None:
    arrays["robot_obs"][0] += 0.1 if number >= 12 else 0.0


def freeze(number: int, arrays: Arrays) -> None:
    arrays["rgb_gripper"][:] = np.arange(48, dtype=np.uint8)[:, None]


def blacken(number: int, arrays: Arrays) -> None:
    arrays["rgb_static"][:] = 0


def drop_a_frame(number: int, arrays: Arrays) -> None:
    arrays["stamp_ns"] = arrays["stamp_ns"] + (100_000_000 if number >= 12 else 0)


def run_slow(number: int, arrays: Arrays) -> None:
    arrays["stamp_ns"] = np.int64(number * 103_000_000)


def break_number(number: int, arrays: Arrays) -> None:
    arrays["robot_obs"][3] = np.nan if number == 12 else arrays["robot_obs"][3]


@pytest.mark.parametrize(
    ("damage", "kind", "frame"),
    [
        (flip_gripper, "gripper", None),
        (flip_height, "direction", None),
        (clip, "clipped", 0),
        (jump, "jump", 11),
        (freeze, "frozen", None),
        (blacken, "blank", None),
        (drop_a_frame, "stamps", 11),
        (run_slow, "drift", None),
        (break_number, "not finite", 12),
    ],
)
def test_what_is_wrong_is_found_where_it_is(
    dataset: Path, tmp_path: Path, damage: Callable[[int, Arrays], None], kind: str, frame: int | None
) -> None:
    rewrite(dataset, damage)
    status, facts = inspect(dataset, tmp_path / "page.html")
    assert status == 2
    (found,) = [own for own in facts["findings"] if own["kind"] == kind]
    assert (found["split"], found["episode"]) == ("training", 0)
    assert frame is None or found["frame"] == frame
    assert not [own for own in facts["findings"] if own["split"] == "validation"]
    assert found["text"] in (tmp_path / "page.html").read_text().replace("&#39;", "'")


def test_a_doubled_frame_is_found(dataset: Path, tmp_path: Path) -> None:
    ninth, tenth = (dataset / "training" / f"episode_{number:07d}.npz" for number in (9, 10))
    shutil.copy(ninth, tenth)
    status, facts = inspect(dataset, tmp_path / "page.html")
    assert status == 2
    (found,) = [own for own in facts["findings"] if own["kind"] == "repeated"]
    assert found["frame"] == 10


def test_actions_of_another_frame_are_found(dataset: Path, tmp_path: Path) -> None:
    (dataset / "dataset.yaml").unlink()  # CALVIN's own facts then count: base frame
    status, facts = inspect(dataset, tmp_path / "page.html")
    assert status == 2
    assert {(own["kind"], own["split"]) for own in facts["findings"]} >= {
        ("direction", "training"),
        ("direction", "validation"),
    }


def test_free_play_with_overlapping_sentences_is_clean(dataset: Path, tmp_path: Path) -> None:
    """CALVIN's own folders: long episodes, few frames with a sentence, some with several, no stamps."""
    rewrite(dataset, lambda number, arrays: arrays.pop("stamp_ns"))
    path = dataset / "training" / "lang_annotations" / "auto_lang_ann.npy"
    data = np.load(path, allow_pickle=True).item()
    (start, end), *_ = data["info"]["indx"]
    data["info"]["indx"] = [(start + 2, end - 8), (start + 5, end - 3)]
    data["language"] = {"ann": ["lift it", "grasp it"], "task": ["a", "b"], "emb": np.zeros((2, 1, 384))}
    np.save(path, data)
    status, facts = inspect(dataset, tmp_path / "page.html")
    assert status == 0
    (found,) = facts["findings"]
    assert (found["kind"], found["severity"]) == ("unused", "note")
    assert set(facts["splits"]["training"]["sentences"]) == {"lift it", "grasp it"}


def test_a_copy_of_training_in_validation_is_found(dataset: Path, tmp_path: Path) -> None:
    shutil.rmtree(dataset / "validation")
    shutil.copytree(dataset / "training", dataset / "validation")
    status, facts = inspect(dataset, tmp_path / "page.html")
    assert status == 2
    assert [own["kind"] for own in facts["findings"]] == ["leak"]


def test_a_sentence_outside_of_every_episode_is_found(dataset: Path, tmp_path: Path) -> None:
    path = dataset / "training" / "lang_annotations" / "auto_lang_ann.npy"
    data = np.load(path, allow_pickle=True).item()
    (start, end), *_ = data["info"]["indx"]
    data["info"]["indx"] = [(start + 5, end + 9)]
    np.save(path, data)
    status, facts = inspect(dataset, tmp_path / "page.html")
    assert status == 2
    assert {own["kind"] for own in facts["findings"]} == {"annotation", "unused"}


def test_what_cannot_be_read_is_one_sentence(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nothing"), "--quiet"]) == 1
    assert "no frames of the split" in capsys.readouterr().err
    next((dataset / "training").glob("episode_*.npz")).write_bytes(b"PK")
    assert main([str(dataset), "--quiet", "--out", str(tmp_path / "page.html")]) == 1
    assert "damaged" in capsys.readouterr().err
    for option in ("--samples", "--pairs"):
        assert main([str(dataset), "--quiet", option, "0"]) == 1
        assert f"{option} is 0; at least one is needed" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_a_frame_of_other_numbers_is_one_sentence(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(dataset, lambda number, arrays: arrays.update(robot_obs=arrays["robot_obs"][:14]))
    assert main([str(dataset), "--quiet", "--out", str(tmp_path / "page.html")]) == 1
    assert "robot_obs has shape (14,)" in capsys.readouterr().err


def test_frames_without_any_sentence_are_no_episode(dataset: Path, tmp_path: Path) -> None:
    for split in ("training", "validation"):
        (dataset / split / "ep_start_end_ids.npy").unlink()
        path = dataset / split / "lang_annotations" / "auto_lang_ann.npy"
        data = {
            "info": {"indx": [], "episodes": []},
            "language": {"ann": [], "task": [], "emb": np.zeros((0, 384))},
        }
        np.save(path, np.array(data, dtype=object))
    status, facts = inspect(dataset, tmp_path / "page.html")
    assert status == 2
    found = [(own["severity"], own["split"], own["text"]) for own in facts["findings"]]
    assert found == [("bad", split, "the split holds no episode") for split in ("training", "validation")]
    assert "the split holds no episode" in (tmp_path / "page.html").read_text()
    assert facts["splits"]["training"]["tcp_low_m"] is None
