# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from robovlms_samples import folder_without_weights, settings, translated
from tiny_models import SHARED_GOLDEN

from vla_core.actions.normalization import NormalizationSpec, StandardizationSpec
from vla_core.errors import CheckpointError
from vla_core.images import CLIP_MEAN
from vla_core.model.config import HeadConfig, PromptConfig, ResamplerConfig
from vla_training.robovlms.config import translate_robovlms_config
from vla_training.robovlms.json_file import read_robovlms_config
from vla_training.robovlms.prompt import RobovlmsTokenizer


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({}, "structure", "policy_head_continuous"),
        ({"head": {"type": "FCDecoder"}}, "structure", "policy_head_continuous"),
        ({"head": {"type": "FCDecoder"}, "window_size": 1}, "structure", "one_step_continuous"),
        ({"window_size": 1}, "structure", "policy_head_continuous"),
        ({"head": {"type": "FCDecoder", "history_type": "pre"}}, "structure", "interleaved_continuous"),
        ({"head": {"type": "DiscreteDecoder", "action_space": "discrete"}}, "structure", "one_step_discrete"),
        ({"head": {"type": "DiscreteDecoder", "action_space": "discrete"}}, "window_size", 1),
        ({}, "compat", "robovlms"),
        ({}, "cameras", ("wrist", "static")),
        ({"use_hand_rgb": False}, "cameras", ("static",)),
        ({"train_dataset": {"type": "OpenVLADataset"}}, "cameras", ("static",)),
        ({"head": {"latent": 3}}, "num_lrn_tokens", 3),
        ({}, "readout", "lrn"),
        ({"head": {"action_space": "down_sample", "down_sample": "pooling"}}, "readout", "all"),
        (
            {"head": {"action_space": "down_sample", "down_sample": "pooling", "token_source": "vision"}},
            "readout",
            "pictures",
        ),
        ({"trainer": {"precision": "bf16"}}, "precision", "bfloat16"),
        ({"trainer": {"precision": "fp16"}}, "precision", "float16"),
        ({"trainer": {"precision": "16-mixed"}}, "precision", "float32"),
        ({"trainer": {}}, "precision", "float32"),
        ({"use_vision_resampler": True}, "resampler", ResamplerConfig()),
        (
            {"head": {"num_layers": 2, "policy_rnn_dropout_p": 0.1}},
            "head",
            HeadConfig(hidden_size=24, num_layers=2, dropout=0.1),
        ),
        (
            {"head": {"type": "GPTDecoder"}},
            "head",
            HeadConfig(kind="gpt", hidden_size=24, num_layers=8, num_attention_heads=8, dropout=0.1),
        ),
        ({"a key of a later version": {"of": "any kind"}}, "chunk_size", 2),
    ],
)
def test_the_model_is_the_one_that_the_configuration_selects(
    changes: dict[str, Any], key: str, expected: Any
) -> None:
    assert getattr(translated(settings(**changes)).model, key) == expected


def test_prompts_are_those_of_the_original() -> None:
    assert translated(settings()).model.prompt == PromptConfig(text="<grounding>An image of a robot {instruction}")
    assert translated(settings("paligemma")).model.prompt == PromptConfig(
        text="<eos>{instruction}\n", special_tokens=False
    )
    head = {"type": "DiscreteDecoder", "action_space": "discrete"}
    for kind, end in (("kosmos", "</s>"), ("paligemma", "<eos>")):
        assert translated(settings(kind, head=head, fwd_pred_next_n=10)).model.prompt == PromptConfig(
            text=f"Input: What 11 step actions should the robot take to {{instruction}}?\nOutput: \n{end}"
        )


def test_pictures_of_paligemma_are_normalised_as_its_processor_does() -> None:
    assert translated(settings()).model.image.mean == CLIP_MEAN
    image = translated(settings("paligemma", image_size=999)).model.image
    assert (image.size_px, image.mean, image.std) == (28, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_the_meaning_of_actions_is_carried_over() -> None:
    assert translated(settings()).action_space.frame == "base"
    space = translated(
        settings(
            tcp_rel=True,
            norm_min=-0.4,
            norm_max=0.9,
            use_mu_law=True,
            regular_action=True,
            x_mean=[0, 0, 0, 0, 0, 0.5, 9],
            x_std=2,
        )
    ).action_space
    assert space.frame == "robovlms_tcp"
    assert space.normalization == NormalizationSpec(low=(-0.4,) * 6, high=(0.9,) * 6)
    assert space.standardization == StandardizationSpec(mean=(0, 0, 0, 0, 0, 0.5), std=(2,) * 6)
    assert space.mu_law == 255
    plain = translated(settings(norm_action=False)).action_space
    assert (plain.normalization, plain.standardization, plain.mu_law) == (None, None, None)


def test_what_is_not_as_it_was_is_noted() -> None:
    head = {"type": "DiscreteDecoder", "action_space": "discrete"}
    assert translated(settings()).notes == ()
    for changes, part in (
        ({"norm_max": 0.5, "norm_min": -0.5}, "always closes the gripper"),
        ({"norm_min": -0.2, "norm_max": 1.5}, "always opens the gripper"),
        ({"use_clip_norm": True}, "training alone"),
        ({"regular_action": True}, "forgets to"),
        ({"train_dataset": {"type": "OpenVLADataset"}}, "no wrist pictures"),
        ({"head": head}, "window_size 3 becomes 1"),
        ({"head": head, "tcp_rel": True, "window_size": 1}, "trained on actions in the base frame"),
    ):
        assert part in " ".join(translated(settings(**changes)).notes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fwd_head": {"type": "x"}}, "prediction of future pictures is not supported"),
        ({"head": {"history_type": "video"}}, "history_type must be 'post' or 'pre', found 'video'"),
        ({"head": {"history_type": "pre"}}, "needs head.kind fc"),
        ({"head": {"type": "DiffusionDecoder"}}, "act_head.type must be one of"),
        ({"head": {"type": "DiscreteDecoder"}}, "go together"),
        ({"head": {"action_space": "down_sample"}}, "needs act_head.down_sample 'pooling'"),
        ({"head": {"down_sample": "resampler"}}, "must be 'none' or 'pooling'"),
        ({"head": {"action_space": "diffuse"}}, "action_space must be"),
        ({"head": {"fill_zero": True}}, "fill_zero"),
        ({"head": {"action_dim": 8}}, "action_dim must be 7"),
        ({"head": {"hidden_size": "big"}}, "hidden_size must be a whole number, found 'big'"),
        ({"train_setup": {"lora_enable": True}}, "Merge them"),
        ({"robovlm_name": "RoboFlamingo"}, "must name the same model"),
        ({"norm_min": 0.7}, "not below"),
        ({"norm_max": None}, "norm_max must be a finite number"),
        ({"act_head": None}, "act_head must be a section"),
        ({"window_size": 0}, "window_size must be at least 1"),
        ({"regular_action": True, "x_std": [1, 2]}, "x_std must be a number or a list of 6"),
        ({"use_mu_law": True, "mu_val": 0}, "mu_law must be above 0"),
        ({"use_mu_law": True, "mu_val": float("nan")}, "mu_val must be a finite number, found nan"),
        ({"norm_max": float("inf")}, "norm_max must be a finite number, found inf"),
        ({"norm_max": 10**400}, "norm_max must be a finite number, found 1000"),
        ({"regular_action": True, "x_mean": [[1]] * 6}, "x_mean must be a finite number, found [1]"),
        ({"train_setup": "full"}, "train_setup must be a section, found 'full'"),
        ({"head": {"type": {}}}, "act_head.type must be one of"),
    ],
)
def test_what_cannot_be_reproduced_is_refused_with_the_file(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: ") as refusal:
        translated(settings(**changes))
    assert sentence in str(refusal.value)


@pytest.mark.parametrize("model", ["flamingo", "qwen", "moondream", None, ["kosmos"]])
def test_other_backbones_of_the_original_are_refused(model: Any) -> None:
    with pytest.raises(CheckpointError, match="only 'kosmos' and 'paligemma'"):
        translate_robovlms_config(
            settings() | {"model": model}, folder_without_weights("kosmos"), where="config.json"
        )


def test_a_parent_is_merged_section_by_section(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    files = {
        "configs/base.json": {"a": 1, "act_head": {"type": "LSTMDecoder", "latent": 1}, "trainer": {"x": 1}},
        "configs/middle.json": {"parent": "configs/base.json", "a": 2, "b": 3},
        "configs/top.json": {
            "parent": "middle.json",
            "b": 4,
            "act_head": {"latent": 2},
            "trainer": {"__override__": True, "y": 1},
        },
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    found = read_robovlms_config(tmp_path / "configs" / "top.json")
    assert (found["a"], found["b"]) == (2, 4)
    assert found["act_head"] == {"type": "LSTMDecoder", "latent": 2}
    assert "x" not in found["trainer"]


def test_a_parent_that_is_missing_or_the_file_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"parent": "b.json"}')
    with pytest.raises(CheckpointError, match=r"its parent 'b\.json' is not there"):
        read_robovlms_config(path)
    path.write_text('{"parent": "a.json"}')
    with pytest.raises(CheckpointError, match="its own parent"):
        read_robovlms_config(path)
    path.write_text("[1]")
    with pytest.raises(CheckpointError, match="expected a JSON object"):
        read_robovlms_config(path)
    path.write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="not a JSON file"):
        read_robovlms_config(path)


def test_the_mark_that_editors_of_windows_write_is_read_over(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_robovlms_config(path) == {"a": 1}


@pytest.mark.skipif(not SHARED_GOLDEN.is_dir(), reason=f"the whole reference cases are not at {SHARED_GOLDEN}")
def test_action_tokens_lie_where_the_original_puts_them() -> None:
    expected = int(np.load(SHARED_GOLDEN / "b_action_tokenizer.npz")["tokenizer_orig_size"])
    tokenizer = RobovlmsTokenizer(SHARED_GOLDEN / "tiny_kosmos2", {"model": "kosmos"})
    assert tokenizer.end_of_action_tokens == expected
    more = {"model": "kosmos", "tokenizer": {"additional_special_tokens": ["<a>", "<b>"]}}
    assert RobovlmsTokenizer(SHARED_GOLDEN / "tiny_kosmos2", more).end_of_action_tokens == expected - 2
