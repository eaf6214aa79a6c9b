# SPDX-License-Identifier: Apache-2.0
"""Dataset folders give the windows, chunks and pictures of RoboVLMs' loader, and nothing is silently wrong."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from calvin_factory import SENTENCES, write_dataset, write_split
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import SHARED_GOLDEN

from vla_core.actions.action_space import ActionSpace, action_towards, target_pose
from vla_core.actions.normalization import NormalizationSpec
from vla_core.geometry import Pose
from vla_core.images import ImageSpec
from vla_core.model.pictures import preprocess
from vla_training.datasets.augmentation import AugmentationConfig, draw_shifts, shift
from vla_training.datasets.batches import collate, pictures_to_device, target_chunks
from vla_training.datasets.calvin_folder import CalvinFolder
from vla_training.datasets.dataset_card import CALVIN, DatasetCard
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.object_array import read_object
from vla_training.datasets.packed_folder import PackedFolder
from vla_training.datasets.policy_actions import policy_actions
from vla_training.datasets.splits import open_split
from vla_training.datasets.window_dataset import WindowDataset
from vla_training.pack_dataset import main as pack_main
from vla_training.pack_dataset import pack_dataset

CPU = torch.device("cpu")
BASE = ActionSpace(frame="base", normalization=NormalizationSpec.symmetric(0.65))
CAMERAS = ("static", "wrist")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def windows_of(store, space=BASE, window_size: int = 4, chunk_size: int = 3) -> WindowDataset:
    return WindowDataset(store, space, cameras=CAMERAS, window_size=window_size, chunk_size=chunk_size)


@pytest.mark.skipif(not SHARED_GOLDEN.is_dir(), reason="needs ../shared/golden, outputs of RoboVLMs")
def test_a_batch_is_that_of_robovlms_loader() -> None:
    golden = np.load(SHARED_GOLDEN / "f_collate_base.npz", allow_pickle=True)
    windows = windows_of(CalvinFolder(SHARED_GOLDEN / "calvin_synth" / "training"))
    np.testing.assert_array_equal(windows.index.starts, golden["episode_lookup"])
    np.testing.assert_array_equal(windows.index.annotation, golden["lang_lookup"])
    batch = collate([windows[int(i)] for i in golden["sel"]])
    pictures = pictures_to_device(batch, CAMERAS, ImageSpec(size_px=56), None, device=CPU)
    np.testing.assert_array_equal(pictures[:, :, 0].numpy(), golden["batch_rgb"])
    np.testing.assert_array_equal(pictures[:, :, 1].numpy(), golden["batch_hand_rgb"])
    target = target_chunks(batch, 4, 3, CPU)
    chunks = np.concatenate([target.arm.numpy(), target.gripper_open.numpy()[..., None]], axis=-1)
    np.testing.assert_allclose(chunks, golden["batch_action_chunck"], atol=5e-7)
    np.testing.assert_array_equal(target.is_valid.numpy(), golden["batch_chunck_mask"].astype(bool))
    assert batch.instructions == tuple(golden["batch_raw_text"])


@pytest.mark.skipif(not SHARED_GOLDEN.is_dir(), reason="needs ../shared/golden, outputs of RoboVLMs")
def test_shifts_per_tick_are_those_of_robovlms() -> None:
    golden = np.load(SHARED_GOLDEN / "f_sample_aug.npz")
    first = int(np.load(SHARED_GOLDEN / "f_collate_base.npz", allow_pickle=True)["episode_lookup"][golden["idx"]])
    windows = windows_of(CalvinFolder(SHARED_GOLDEN / "calvin_synth" / "training"), window_size=7, chunk_size=1)
    batch = collate([windows[windows.index.starts.tolist().index(first)]])
    pictures = pictures_to_device(batch, CAMERAS, ImageSpec(size_px=56), None, device=CPU)
    config = AugmentationConfig(shift_px={"static": 10, "wrist": 4}, per_tick=True)
    drawn = draw_shifts(torch.Generator().manual_seed(int(golden["seed"])), CAMERAS, 7, config)
    shifted = shift(pictures, drawn[None])[0].numpy()
    np.testing.assert_allclose(shifted[:, 0], golden["rgb_static"], atol=3e-5)  # the original samples a grid
    np.testing.assert_allclose(shifted[:, 1], golden["rgb_gripper"], atol=3e-5)


def test_windows_and_chunks_follow_the_rules(tmp_path: Path) -> None:
    store = CalvinFolder(write_split(tmp_path / "training"))
    windows = windows_of(store)
    expected = [(start, i) for i, (s, e) in enumerate([(7, 27), (28, 42)]) for start in range(s, e + 1 - 4)]
    assert list(zip(windows.index.starts.tolist(), windows.index.annotation.tolist(), strict=True)) == expected
    for number in (0, 16, 17, len(windows) - 1):
        start, annotation = expected[number]
        end = store.annotations[annotation].end
        target = target_chunks(collate([windows[number]]), 4, 3, CPU)
        for tick in range(4):
            for k in range(3):
                frame = start + tick + k
                assert bool(target.is_valid[0, tick, k]) == (frame < end)
                with np.load(store.frame_path(min(frame, end))) as stored:
                    arm = np.clip(stored["rel_actions"][:6], -0.65, 0.65) / 0.65
                    opened = float(stored["rel_actions"][6] > 0)
                np.testing.assert_allclose(target.arm[0, tick, k].numpy(), arm, atol=1e-6)
                assert float(target.gripper_open[0, tick, k]) == opened


def test_pictures_are_those_that_a_policy_sees(tmp_path: Path) -> None:
    store = CalvinFolder(write_split(tmp_path / "training"))
    batch = collate([windows_of(store)[3]])
    spec = ImageSpec(size_px=32)
    found = pictures_to_device(batch, ("wrist", "static"), spec, None, device=CPU)[0]
    for tick in range(4):
        with np.load(store.frame_path(10 + tick)) as frame:
            seen = preprocess([frame["rgb_gripper"], frame["rgb_static"]], spec)
        assert torch.equal(found[tick], seen)


def test_a_packed_dataset_gives_equal_samples(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "plain")
    pack_dataset(dataset, tmp_path / "packed")
    pack_dataset(dataset, tmp_path / "small", size_px=32)
    plain, packed, small = (windows_of(open_split(tmp_path / n, "training")) for n in ("plain", "packed", "small"))
    assert len(plain) == len(packed) == len(small)
    spec = ImageSpec(size_px=32)
    for number in range(0, len(plain), 5):
        batches = [collate([windows[number]]) for windows in (plain, packed, small)]
        pictures = [pictures_to_device(each, CAMERAS, spec, None, device=CPU) for each in batches]
        assert torch.equal(pictures[0], pictures[1]) and torch.equal(pictures[0], pictures[2])
        assert all(torch.equal(batches[0].actions, each.actions) for each in batches)
        assert all(torch.equal(batches[0].is_valid, each.is_valid) for each in batches)
        assert all(batches[0].instructions == each.instructions for each in batches)


def test_pictures_do_not_travel_to_the_processes_that_read(tmp_path: Path) -> None:
    pack_dataset(write_dataset(tmp_path / "plain"), tmp_path / "packed", size_px=64)
    store = PackedFolder(tmp_path / "packed" / "training")
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).pictures("static", [9]), store.pictures("static", [9]))


def test_an_interrupted_packing_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = write_dataset(tmp_path / "plain", lengths=(90, 60))
    read = CalvinFolder.pictures

    def fails_late(self, camera, ids):
        if int(ids[0]) > 110:
            raise KeyboardInterrupt
        return read(self, camera, ids)

    monkeypatch.setattr(CalvinFolder, "pictures", fails_late)
    with pytest.raises(KeyboardInterrupt):
        pack_dataset(dataset, tmp_path / "packed")
    assert not (tmp_path / "packed" / "training").exists()
    counted = []
    monkeypatch.setattr(
        CalvinFolder, "pictures", lambda self, c, ids: counted.append(len(ids)) or read(self, c, ids)
    )
    pack_dataset(dataset, tmp_path / "packed")
    monkeypatch.setattr(CalvinFolder, "pictures", read)
    assert sum(counted) < 2 * 152  # what was packed is not read again
    plain, packed = CalvinFolder(dataset / "training"), PackedFolder(tmp_path / "packed" / "training")
    for camera in CAMERAS:
        np.testing.assert_array_equal(
            plain.pictures(camera, plain.numbers.ids), packed.pictures(camera, plain.numbers.ids)
        )


@pytest.mark.parametrize("frames", [("base", "tcp"), ("tcp", "base")])
def test_actions_of_another_frame_ask_for_the_same_pose(tmp_path: Path, frames: tuple) -> None:
    recorded, learned = ActionSpace(frame=frames[0]), ActionSpace(frame=frames[1])
    numbers = CalvinFolder(write_split(tmp_path / "training")).numbers
    actions = policy_actions(numbers, recorded, learned)
    for row, obs, action in zip(numbers.rel_actions, numbers.robot_obs, actions, strict=True):
        pose = Pose.from_euler(obs[:3], obs[3:6])
        asked, learnt = target_pose(recorded, pose, row), target_pose(learned, pose, action)
        np.testing.assert_allclose(asked.matrix, learnt.matrix, atol=1e-6)


def test_actions_of_robovlms_frame_are_those_of_the_policys_own_encoder(tmp_path: Path) -> None:
    space = ActionSpace(frame="robovlms_tcp", normalization=NormalizationSpec.symmetric(0.65), mu_law=255.0)
    numbers = CalvinFolder(write_split(tmp_path / "training")).numbers
    actions = policy_actions(numbers, ActionSpace(frame="base"), space)
    for row, obs, action in zip(numbers.rel_actions, numbers.robot_obs, actions, strict=True):
        pose = Pose.from_euler(obs[:3], obs[3:6])
        expected = action_towards(space, pose, target_pose(ActionSpace(frame="base"), pose, row))
        np.testing.assert_allclose(action[:6], expected, atol=2e-4)


class Evil:
    def __reduce__(self):
        return (os.system, ("exit 1",))


def test_sentences_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "auto_lang_ann.npy"
    np.save(path, np.array({"info": Evil()}, dtype=object), allow_pickle=True)
    with pytest.raises(DatasetError, match="wants to run"):
        read_object(path)


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_damaged_sentences_are_refused(data: bytes) -> None:
    path = Path(os.environ["XDG_CACHE_HOME"]) / "auto_lang_ann.npy"
    for content in (data, b"\x93NUMPY\x01\x00" + data, pickle.dumps(data)):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match="object array"):
            read_object(path)


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no folder 'training'"):
        open_split(tmp_path, "training")
    (tmp_path / "empty" / "training").mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds no frames"):
        open_split(tmp_path / "empty", "training")
    info = tmp_path / "lerobot" / "training" / "meta" / "info.json"
    info.parent.mkdir(parents=True)
    info.write_text("{}")
    with pytest.raises(DatasetError, match="is LeRobot's layout; training reads CALVIN's: convert with --format"):
        open_split(tmp_path / "lerobot", "training")
    folder = write_split(tmp_path / "d" / "training")
    (folder / "episode_0000009.npz").unlink()
    with pytest.raises(DatasetError, match=r"episode_0000009\.npz: no such file, but an annotation names frame 9"):
        _ = CalvinFolder(folder).numbers
    (folder / "episode_0000009.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DatasetError, match=r"episode_0000009\.npz: damaged"):
        _ = CalvinFolder(folder).numbers


def test_numbers_are_read_again_when_the_dataset_changes(tmp_path: Path) -> None:
    folder = write_split(tmp_path / "training", seed=1)
    before = CalvinFolder(folder).numbers.rel_actions.copy()
    random = np.random.default_rng(9)
    for path in folder.glob("*.npz"):
        frame = dict(np.load(path))
        np.savez(path, **{**frame, "rel_actions": random.uniform(-1, 1, 7)})
    assert not np.array_equal(before, CalvinFolder(folder).numbers.rel_actions)


def test_the_card_of_a_converted_dataset_is_read(tmp_path: Path) -> None:
    card = replace(CALVIN, action_space=ActionSpace(frame="tcp"), period_s=0.1)
    dataset = write_dataset(tmp_path / "own", card=card)
    assert open_split(dataset, "training").card == card
    assert DatasetCard.load(tmp_path) == CALVIN


def test_pack_dataset_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack_main([str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "holds neither 'training' nor 'validation'" in capsys.readouterr().err


def test_an_annotation_that_is_too_short_is_counted(tmp_path: Path) -> None:
    store = CalvinFolder(write_split(tmp_path / "training", lengths=(20, 3)))
    windows = windows_of(store, window_size=8)
    assert windows.index.num_too_short == 1
    assert {store.annotations[i].instruction for i in windows.index.annotation} == {SENTENCES[0]}


def test_numbers_of_any_frame_that_was_changed_are_read_again(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "long", lengths=(150,)) / "training"
    before = CalvinFolder(folder).numbers
    path = CalvinFolder(folder).frame_path(int(before.ids[1]))
    with np.load(path) as frame:
        np.savez(path, **{**frame, "rel_actions": -frame["rel_actions"]})
    after = CalvinFolder(folder).numbers
    np.testing.assert_array_equal(after.rel_actions[1], -before.rel_actions[1])


def test_a_packed_dataset_is_not_taken_for_another_one(tmp_path: Path) -> None:
    one, other = write_dataset(tmp_path / "one"), write_dataset(tmp_path / "other", seed=5)
    pack_dataset(one, tmp_path / "packed")
    pack_dataset(one, tmp_path / "packed")
    with pytest.raises(DatasetError, match="holds another dataset"):
        pack_dataset(other, tmp_path / "packed")
    with pytest.raises(DatasetError, match="32x32"):
        pack_dataset(one, tmp_path / "packed", size_px=32)
