# SPDX-License-Identifier: Apache-2.0
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny_models import SENTENCES, random_images, tiny_checkpoint

from vla_core.atomic_exchange import exchange
from vla_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vla_core.config import to_plain
from vla_core.errors import CheckpointError
from vla_core.model.windows import Windows

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def saved() -> Checkpoint:
    return tiny_checkpoint(seed=3)


@pytest.fixture
def directory(saved: Checkpoint, tmp_path: Path) -> Path:
    return save_checkpoint(saved, tmp_path / "checkpoint")


def edit_card(directory: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    path = directory / "model.yaml"
    card = yaml.safe_load(path.read_text())
    change(card)
    path.write_text(yaml.safe_dump(card))


def edit_weights(directory: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    path = directory / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_a_loaded_checkpoint_has_the_same_weights_and_gives_the_same_chunks(
    saved: Checkpoint, directory: Path
) -> None:
    loaded = load_checkpoint(directory)
    images, tokens = random_images(2, 3), saved.tokenizer(SENTENCES[:2])
    torch.testing.assert_close(loaded.tokenizer(SENTENCES[:2]).ids, tokens.ids)
    with torch.inference_mode():
        expected, found = (each.model(Windows(images, tokens)) for each in (saved, loaded))
    torch.testing.assert_close(found.arm, expected.arm, atol=1e-6, rtol=0.0)
    torch.testing.assert_close(found.gripper_logit, expected.gripper_logit, atol=1e-6, rtol=0.0)
    for name, tensor in saved.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name


def test_every_fact_comes_back(saved: Checkpoint, directory: Path) -> None:
    loaded = load_checkpoint(directory)
    assert loaded.card == saved.card
    assert loaded.card.contract == saved.card.contract
    assert to_plain(loaded.training) == {"seed": 3}
    assert not loaded.model.training


def test_a_loaded_checkpoint_saves_and_trains_again(directory: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(directory)
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())
    again = load_checkpoint(save_checkpoint(loaded, tmp_path / "again"))
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_weights_load_in_the_type_that_is_asked_for(directory: Path) -> None:
    model = load_checkpoint(directory, dtype=torch.bfloat16).model
    floats = [tensor for tensor in [*model.parameters(), *model.buffers()] if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in floats} == {torch.bfloat16}


def test_the_readme_says_in_plain_words_that_it_is_untrained(directory: Path) -> None:
    assert "UNTRAINED: random weights, seed 3" in (directory / "README.md").read_text()


def test_the_readme_of_a_trained_checkpoint_holds_its_numbers(saved: Checkpoint, tmp_path: Path) -> None:
    trained = replace(saved, card=replace(saved.card, is_trained=True))
    text = (save_checkpoint(trained, tmp_path / "c", results={"arm_loss": 0.0123}) / "README.md").read_text()
    assert "arm_loss: 0.0123" in text and "UNTRAINED" not in text


def test_no_weights_of_the_backbone_are_kept_twice(directory: Path) -> None:
    assert sorted(path.name for path in (directory / "backbone").iterdir()) == [
        "config.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_an_existing_directory_is_replaced_only_on_request(saved: Checkpoint, directory: Path) -> None:
    with pytest.raises(CheckpointError, match="exists already"):
        save_checkpoint(saved, directory)
    save_checkpoint(replace(saved, training={"seed": 4}), directory, overwrite=True)
    assert load_checkpoint(directory).training == {"seed": 4}
    assert [path.name for path in directory.parent.iterdir()] == ["checkpoint"]


def test_while_a_checkpoint_is_replaced_its_name_is_never_missing(saved: Checkpoint, directory: Path) -> None:
    other = directory.with_name("other")
    other.mkdir()
    if not exchange(directory, other):
        pytest.skip("this file system cannot swap two names")
    exchange(directory, other)
    looks: list[bool] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            looks.append((directory / "model.yaml").is_file())

    watcher = threading.Thread(target=look)
    watcher.start()
    for seed in range(5):
        save_checkpoint(replace(saved, training={"seed": seed}), directory, overwrite=True)
    done.set()
    watcher.join()
    assert len(looks) > 100 and all(looks)
    assert load_checkpoint(directory).training == {"seed": 4}


def test_where_names_cannot_be_swapped_a_checkpoint_is_replaced_all_the_same(
    saved: Checkpoint, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vla_core.checkpoint.exchange", lambda *_: False)
    save_checkpoint(replace(saved, training={"seed": 4}), directory, overwrite=True)
    assert load_checkpoint(directory).training == {"seed": 4}
    assert [path.name for path in directory.parent.iterdir()] == ["checkpoint"]


def test_a_directory_that_is_no_checkpoint_is_never_replaced(saved: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        save_checkpoint(saved, tmp_path, overwrite=True)
    assert (tmp_path / "precious.txt").exists()


def test_an_empty_directory_may_be_filled(saved: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    assert load_checkpoint(save_checkpoint(saved, tmp_path / "c")).card == saved.card
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_failed_save_leaves_nothing(saved: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("vla_core.checkpoint.save_weights", fail)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(saved, tmp_path / "checkpoint")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such directory"):
        load_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["model.yaml", "model.safetensors", "statistics.json", "training.yaml"])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(CheckpointError, match=f"'{name}' is missing"):
        load_checkpoint(directory)


def test_a_folder_without_the_backbones_configuration_is_named(directory: Path) -> None:
    (directory / "backbone" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_checkpoint(directory)


def test_an_unknown_key_gets_a_near_spelling(directory: Path) -> None:
    edit_card(directory, lambda card: card["model"].update(window_sise=8))
    with pytest.raises(CheckpointError, match=r"unknown key 'window_sise'. Did you mean 'window_size'"):
        load_checkpoint(directory)


def test_cameras_that_contradict_each_other_are_refused(directory: Path) -> None:
    edit_card(directory, lambda card: card["robot"]["cameras"].pop("wrist"))
    with pytest.raises(CheckpointError, match=r"model\.cameras is \['static', 'wrist'\], robot\.cameras is"):
        load_checkpoint(directory)


@pytest.mark.parametrize("period_s", [0.0, 10**400])
def test_an_absurd_period_is_a_sentence(directory: Path, period_s: float) -> None:
    edit_card(directory, lambda card: card.update(period_s=period_s))
    with pytest.raises(CheckpointError, match="period_s"):
        load_checkpoint(directory)


@pytest.mark.parametrize("key", ["window_size", "chunk_size", "num_lrn_tokens"])
def test_an_absurd_size_is_a_sentence(directory: Path, key: str) -> None:
    edit_card(directory, lambda card: card["model"].update({key: 10**12}))
    with pytest.raises(CheckpointError, match=f"{key} must be at most 65536, found 1000000000000"):
        load_checkpoint(directory)


def test_a_missing_tensor_is_named(directory: Path) -> None:
    edit_weights(directory, lambda tensors: tensors.pop("head.rnn.weight_hh_l2"))
    with pytest.raises(CheckpointError, match=r"1 of \d+ tensors are missing, first 'head.rnn.weight_hh_l2'"):
        load_checkpoint(directory)


def test_an_unexpected_tensor_is_named(directory: Path) -> None:
    edit_weights(directory, lambda tensors: tensors.update(extra=torch.zeros(2)))
    with pytest.raises(CheckpointError, match=r"1 unexpected tensors, first 'extra' \(2,\)"):
        load_checkpoint(directory)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(directory: Path) -> None:
    edit_card(directory, lambda card: card["model"].update(chunk_size=4))
    with pytest.raises(
        CheckpointError, match=r"'head\.actions\.mlp\.2\.weight' has shape \(18, 32\), .* \(24, 32\)"
    ):
        load_checkpoint(directory)


def test_an_image_size_of_another_backbone_is_refused(directory: Path) -> None:
    edit_card(directory, lambda card: card["model"]["image"].update(size_px=224))
    with pytest.raises(CheckpointError, match=r"image\.size_px is 224, but the backbone reads pictures of 84 px"):
        load_checkpoint(directory)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(directory: Path, value: float) -> None:
    edit_weights(directory, lambda tensors: tensors["head.rnn.weight_hh_l2"].view(-1)[3:5].fill_(value))
    with pytest.raises(CheckpointError, match=r"'head.rnn.weight_hh_l2' holds NaN or Inf"):
        load_checkpoint(directory)


@pytest.mark.parametrize("kind", [torch.int8, torch.bool])
def test_weights_that_are_whole_numbers_are_refused(directory: Path, kind: torch.dtype) -> None:
    edit_weights(directory, lambda tensors: tensors.update(lrn_token=tensors["lrn_token"].to(kind)))
    with pytest.raises(CheckpointError, match=f"'lrn_token' is {kind}, expected floating-point weights"):
        load_checkpoint(directory)


def test_a_place_where_nothing_can_be_written_is_a_sentence(saved: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(CheckpointError, match="no directory can be made there: File exists"):
        save_checkpoint(saved, tmp_path / "file" / "c")
    with pytest.raises(CheckpointError, match="exists already"):
        save_checkpoint(saved, tmp_path / "link")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_save_that_is_killed_at_any_file_leaves_nothing_that_loads(
    saved: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed cleans nothing up, so what it had written until then stays."""
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    monkeypatch.setattr("vla_core.checkpoint._move_into_place", lambda *_: None)
    save_checkpoint(saved, tmp_path / "c")
    (partial,) = tmp_path.iterdir()
    written = sorted(
        (path for path in partial.rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime_ns
    )
    assert written[-1].name == "model.yaml"
    for path in reversed(written):
        path.unlink()
        with pytest.raises(CheckpointError):
            load_checkpoint(partial)


@pytest.mark.parametrize("kept", [0, 4, 5000, -100])
def test_weights_that_are_cut_short_are_a_sentence(directory: Path, kept: int) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        load_checkpoint(directory)


def test_a_pickle_in_the_place_of_weights_is_not_opened(directory: Path, tmp_path: Path) -> None:
    torch.save({"head": torch.zeros(2)}, directory / "model.safetensors")
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        load_checkpoint(directory)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("statistics.json", "[1]"),
        ("statistics.json", "{"),
        ("statistics.json", "[" * 100_000),
        ("training.yaml", "a: ["),
        ("training.yaml", "[1]"),
        ("training.yaml", "[" * 10_000),
    ],
)
def test_other_damaged_files_are_a_sentence(directory: Path, name: str, content: str) -> None:
    (directory / name).write_text(content)
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(directory)


@pytest.mark.parametrize("content", ["{", '{"model_type": "llama"}', "[]"])
def test_a_backbone_configuration_of_another_kind_is_a_sentence(directory: Path, content: str) -> None:
    (directory / "backbone" / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"backbone"):
        load_checkpoint(directory)
