# SPDX-License-Identifier: Apache-2.0
"""What cannot be imported is refused with a sentence, runs nothing and leaves nothing behind."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from robovlms_samples import folder_without_weights, original_tensors, random_model, settings, write_pair
from torch import Tensor

from vla_training.import_checkpoint import main

torch.set_num_threads(1)
Tensors = dict[str, Any]
LRN = "model.action_token"
FIRST = "model.act_head.rnn.weight_ih_l0"


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.path}",))


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return original_tensors(random_model(settings()), "kosmos")


def refused(
    folder: Path, config: dict[str, Any], tensors: Any, capsys: pytest.CaptureFixture[str], kind: str = "kosmos"
) -> str:
    """Return the sentence; what the run left behind is compared with what was there."""
    weights, config_path = write_pair(folder / "run", config, tensors)
    return refused_file(folder, weights, config_path, capsys, kind)


def refused_file(
    folder: Path, weights: Path, config: Path, capsys: pytest.CaptureFixture[str], kind: str = "kosmos"
) -> str:
    before = sorted(folder.rglob("*"))
    backbone = str(folder_without_weights(kind))
    capsys.readouterr()
    out = folder / "deep" / "out"
    assert main([str(weights), "--config", str(config), "--backbone", backbone, "--out", str(out)]) == 1
    assert sorted(folder.rglob("*")) == before
    sentence = capsys.readouterr().err
    assert sentence.startswith("import_checkpoint: ") and "Traceback" not in sentence
    return sentence


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_pickle_is_not_run(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str], new_format: bool
) -> None:
    _, config = write_pair(tmp_path / "run", settings(), tensors)
    path, trace = tmp_path / "run" / "evil.ckpt", tmp_path / "it_ran"
    content = {"state_dict": tensors, "callbacks": Bomb(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    sentence = refused_file(tmp_path, path, config, capsys)
    assert str(path) in sentence and "system" in sentence and "nothing of the file was run" in sentence
    assert not trace.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_plain_pickle_is_not_run(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str], protocol: int
) -> None:
    _, config = write_pair(tmp_path / "run", settings(), tensors)
    path, trace = tmp_path / "run" / "evil.pt", tmp_path / "it_ran"
    path.write_bytes(pickle.dumps(Bomb(trace), protocol=protocol))
    assert str(path) in refused_file(tmp_path, path, config, capsys)
    assert not trace.exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.9999])
def test_a_file_that_was_cut_short_is_refused(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str], share: float
) -> None:
    weights, config = write_pair(tmp_path / "run", settings(), tensors)
    whole = weights.read_bytes()
    weights.write_bytes(whole[: int(share * len(whole))])
    assert "cut short" in refused_file(tmp_path, weights, config, capsys)


def test_a_weight_that_does_not_have_its_checksum_is_refused(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, config = write_pair(tmp_path / "run", settings(), tensors)
    content = bytearray(weights.read_bytes())
    numbers = tensors[FIRST].numpy().tobytes()
    content[content.index(numbers) + 8] ^= 1
    weights.write_bytes(content)
    assert "does not have its checksum" in refused_file(tmp_path, weights, config, capsys)


def test_a_compressed_archive_is_not_taken_for_numbers(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, config = write_pair(tmp_path / "run", settings(), tensors)
    again = tmp_path / "run" / "again.ckpt"
    with zipfile.ZipFile(weights) as whole, zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in whole.infolist():
            packed.writestr(entry.filename, whole.read(entry))
    assert "is compressed, which torch.save never does" in refused_file(tmp_path, again, config, capsys)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    broken = tensors[FIRST].clone()
    broken[3, 1] = value
    sentence = refused(tmp_path, settings(), tensors | {FIRST: broken}, capsys)
    assert f"'{FIRST}' holds NaN or Inf" in sentence


def test_fp16_is_refused_where_it_cannot_hold_the_numbers(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(trainer={"precision": "fp16"})
    sentence = refused(tmp_path, config, tensors | {LRN: tensors[LRN] + 1e5}, capsys)
    assert f"'{LRN}' holds numbers beyond 65504" in sentence


def test_numbers_beyond_float32_are_refused(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str]
) -> None:
    huge = torch.full((128,), 1e300, dtype=torch.float64)
    assert "beyond 3.40282e+38, the range of float32" in refused(
        tmp_path, settings(), tensors | {LRN: huge}, capsys
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: {k: v for k, v in t.items() if k != LRN}, "1 of 146 tensors are missing: 'lrn_token'"),
        (lambda t: t | {LRN: torch.zeros(7)}, f"'{LRN}' (7,) instead of (128,)"),
        (lambda t: t | {LRN: torch.zeros(128, dtype=torch.int8)}, "torch.int8, expected floating-point"),
        (lambda t: t | {LRN: torch.zeros(128).to_sparse()}, "sparse, quantised or without data"),
        (lambda t: t | {"module." + LRN: t[LRN] + 1}, "the same weight with different numbers"),
        (lambda t: t | {"model.act_head.rnn.weight_ih_l4": torch.zeros(1)}, "has no place in the model"),
        (lambda t: t | {"model.vision_resampler.latents": torch.zeros(1)}, "has no place in the model"),
        (lambda t: {"a": 1}, "holds no tensors"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    tmp_path: Path,
    tensors: Tensors,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Tensors], Tensors],
    expected: str,
) -> None:
    assert expected in refused(tmp_path, settings(), change(tensors), capsys)


def test_missing_tensors_are_listed_and_reported_on_request(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {key: tensor for key, tensor in tensors.items() if key != LRN}
    weights, config = write_pair(tmp_path / "run", settings(), kept)
    arguments = [str(weights), "--config", str(config), "--backbone", str(folder_without_weights("kosmos"))]
    report = tmp_path / "report.json"
    assert main([*arguments, "--out", str(tmp_path / "out"), "--report", str(report)]) == 1
    assert "missing      1\n  lrn_token" in capsys.readouterr().out
    assert '"lrn_token"' in report.read_text()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"head": {"type": "FCDecoder"}}, "has no place in the model"),
        ({"head": {"type": "GPTDecoder"}}, "has no place in the model"),
        ({"head": {"hidden_size": 32}}, "instead of"),
        ({"head": {"latent": 2}}, "instead of"),
        ({"head": {"num_layers": 5}}, "4 of 150 tensors are missing"),
        ({"fwd_pred_next_n": 5}, "instead of"),
        ({"use_vision_resampler": True}, "tensors are missing: 'resampler."),
    ],
)
def test_a_configuration_of_another_model_is_refused(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], expected: str
) -> None:
    assert expected in refused(tmp_path, settings(**changes), tensors, capsys)


def test_another_backbone_is_refused(tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str]) -> None:
    assert "model_type is 'kosmos-2'" in refused(tmp_path, settings("paligemma"), tensors, capsys)
    assert "has no place" in refused(tmp_path, settings("paligemma"), tensors, capsys, kind="paligemma")


def test_a_directory_of_deepspeed_is_refused_with_the_way_to_make_it_a_file(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str]
) -> None:
    _, config = write_pair(tmp_path / "run", settings(), tensors)
    directory = tmp_path / "run" / "epoch=3.ckpt"
    (directory / "checkpoint").mkdir(parents=True)
    assert "zero_to_fp32.py" in refused_file(tmp_path, directory, config, capsys)
    (directory / "checkpoint" / "mp_rank_00_model_states.pt").touch()
    assert "Consolidate it first: python zero_to_fp32.py" in refused_file(tmp_path, directory, config, capsys)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1, 2], "holds a list"),
        ({"epoch": 3}, "no weights in it: found epoch"),
        (torch.nn.Linear(2, 2), "'torch.nn.modules.linear.Linear'"),
    ],
)
def test_files_without_a_state_dict_are_refused(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str], content: Any, expected: str
) -> None:
    _, config = write_pair(tmp_path / "run", settings(), tensors)
    path = tmp_path / "run" / "other.pt"
    torch.save(content, path)
    assert expected in refused_file(tmp_path, path, config, capsys)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--report={}/nowhere/report.json", "the report cannot be written there"),
        ("--report={}", "the report cannot be written there"),
        ("--rate-hz=nan", "rate_hz must be above 0 and finite"),
        ("--rate-hz=inf", "rate_hz must be above 0 and finite"),
        ("--out={}/run/last.ckpt/out", "no directory can be made there"),
        ("--out={}/link", "exists already"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str], option: str, expected: str
) -> None:
    weights, config = (str(path) for path in write_pair(tmp_path / "run", settings(), tensors))
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    backbone, out = str(folder_without_weights("kosmos")), str(tmp_path / "out")
    arguments = [weights, "--config", config, "--backbone", backbone, "--out", out, option.format(tmp_path)]
    assert main(arguments) == 1
    assert expected in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_missing_and_damaged_files_are_refused(
    tmp_path: Path, tensors: Tensors, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, config = write_pair(tmp_path / "run", settings(), tensors)
    assert "no such file" in refused_file(tmp_path, tmp_path / "nowhere.pt", config, capsys)
    assert "no such file" in refused_file(tmp_path, weights, tmp_path / "nowhere.json", capsys)
    assert "not a JSON file" in refused_file(tmp_path, weights, weights, capsys)
    damaged = tmp_path / "run" / "x.safetensors"
    damaged.write_bytes(b"12345678{}")
    assert "damaged or cut short" in refused_file(tmp_path, damaged, config, capsys)
