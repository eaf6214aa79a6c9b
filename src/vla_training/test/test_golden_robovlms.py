# SPDX-License-Identifier: Apache-2.0
"""RoboVLMs' own outputs, reproduced. Whole cases are read where they are present; a crop of one is committed."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import LOCAL_GOLDEN, SHARED_GOLDEN
from torch import Tensor

from vla_core.actions.gripper import calvin_from_open, open_from_logit
from vla_core.actions.normalization import NormalizationSpec, unnormalize
from vla_core.images import ImageSpec
from vla_core.model.action_tokens import actions_of, token_ids_of
from vla_core.model.build import build_model_without_weights
from vla_core.model.chunks import PredictedChunks
from vla_core.model.config import ActionTokenConfig, HeadConfig, LossConfig, ModelConfig, PromptConfig
from vla_core.model.heads import build_head
from vla_core.model.heads.lstm import LstmHead
from vla_core.model.loss import PolicyLoss, TargetChunks, policy_loss
from vla_core.model.pictures import preprocess
from vla_core.model.policy_head import PolicyHeadModel
from vla_core.model.prompt import PromptTokenizer, Tokens
from vla_core.model.token_sequence import insert_pictures
from vla_core.model.vla import VlaModel
from vla_core.model.weights import assign_weights, require_same_tensors, shapes_of, stored_tensors
from vla_core.model.windows import Windows
from vla_training.robovlms.keys import place_robovlms_key

needs_shared = pytest.mark.skipif(
    not SHARED_GOLDEN.is_dir(), reason=f"the whole reference cases are not at {SHARED_GOLDEN}"
)
CONFIG = ModelConfig(
    window_size=4,
    chunk_size=3,
    image=ImageSpec(size_px=56),
    prompt=PromptConfig(text="<grounding>An image of a robot {instruction}"),
    head=HeadConfig(hidden_size=32),
    compat="robovlms",
)


def case(name: str) -> dict[str, Tensor]:
    arrays = np.load(SHARED_GOLDEN / f"{name}.npz")
    return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays}


def model_of(name: str) -> VlaModel:
    model = build_model_without_weights(CONFIG, SHARED_GOLDEN / "tiny_kosmos2")
    tensors = renamed(load_file(SHARED_GOLDEN / f"{name}.weights.safetensors"), model)
    require_same_tensors(shapes_of(tensors), shapes_of(stored_tensors(model)), where=name)
    return assign_weights(model, tensors).eval()


def our_name(key: str, model: VlaModel) -> str | None:
    return place_robovlms_key(key, "kosmos2", stored_tensors(model)).name


def renamed(tensors: dict[str, Tensor], model: VlaModel) -> dict[str, Tensor]:
    named = ((our_name(key, model), tensor) for key, tensor in tensors.items())
    return {name: tensor for name, tensor in named if name is not None}


def close(found: Any, expected: Any, atol: float = 1e-4) -> None:
    found, expected = (torch.as_tensor(value).detach().double() for value in (found, expected))
    torch.testing.assert_close(found, expected, atol=atol, rtol=0.0)


def test_committed_crop_gives_the_same_sequence_and_lrn_embedding() -> None:
    arrays = np.load(LOCAL_GOLDEN / "kosmos2_lrn.npz")
    tensors = {key.removeprefix("weights/"): torch.from_numpy(arrays[key]) for key in arrays if "weights/" in key}
    model = build_model_without_weights(CONFIG, LOCAL_GOLDEN / "kosmos2_lrn")
    assert isinstance(model, PolicyHeadModel)
    head = LstmHead(CONFIG.head, embed_dim=64, chunk_size=3)
    head_tensors = {f"head.{key}": value for key, value in head.state_dict().items()}
    assign_weights(model, renamed(tensors, model) | head_tensors).eval()
    text = model.embed_tokens(
        Tokens(torch.from_numpy(arrays["text"]), torch.from_numpy(arrays["text_mask"])), padding_counts=True
    )
    images = torch.from_numpy(arrays["images"])[:, 0]
    pictures = model.backbone.encode_images(images.flatten(0, 1)).unflatten(0, (2, 2))
    sequence = insert_pictures(text, pictures, after=1)
    close(sequence.embeds, arrays["embeds"], atol=1e-5)
    close(sequence.mask, arrays["attention_mask"], atol=0)
    close(model.read_tick(model.encode_pictures(images), text), arrays["lrn"], atol=1e-5)


@needs_shared
def test_lstm_head_gives_the_same_chunks_losses_and_stream() -> None:
    arrays = case("c_LSTMDecoder_none_lat1")
    head = LstmHead(HeadConfig(hidden_size=24), embed_dim=16, chunk_size=3, window_size=4)
    head.load_state_dict(load_file(SHARED_GOLDEN / "c_LSTMDecoder_none_lat1.weights.safetensors"))
    chunks = head(arrays["tok"][:, :, 0])
    close(chunks.arm, arrays["arm"])
    close(chunks.gripper_logit, arrays["gripper"][..., 0])
    for mask, suffix in ((arrays["mask"], "_masked"), (torch.ones_like(arrays["mask"]), "")):
        loss = policy_loss(chunks, TargetChunks(arrays["label_arm"], arrays["label_gripper"], mask), LossConfig())
        close(loss.arm, arrays[f"loss_arm{suffix}"])
        close(loss.gripper, arrays[f"loss_gripper{suffix}"])
        close(loss.gripper_accuracy, arrays[f"acc_gripper{suffix}"], atol=1e-6)
    history = head.new_history()
    for t, lrn_1D in enumerate(arrays["steps"][0]):
        step, history = head.step(lrn_1D, history)
        close(step.arm[:, 0], arrays["step_arm"][t])
        close(step.gripper_logit[:, 0], arrays["step_gripper"][t, ..., 0])


@needs_shared
@pytest.mark.parametrize("kind", ["FC", "GPT"])
def test_other_heads_give_the_same_chunks_and_stream(kind: Any) -> None:
    name = f"c_{kind}Decoder_none_lat1"
    arrays, size = case(name), {"FC": 24, "GPT": 32}[kind]
    config = HeadConfig(kind=kind.lower(), hidden_size=size, num_layers=8, num_attention_heads=8)
    head = build_head(config, embed_dim=16, chunk_size=3, num_lrn_tokens=1, window_size=4).eval()
    tensors = load_file(SHARED_GOLDEN / f"{name}.weights.safetensors")
    own = {key: tensor for key, tensor in tensors.items() if not key.endswith((".attn.bias", ".masked_bias"))}
    head.load_state_dict(own)
    chunks = head(arrays["tok"].flatten(2))
    close(chunks.arm, arrays["arm"])
    close(chunks.gripper_logit, arrays["gripper"][..., 0])
    history = head.new_history()
    for t, lrn_QD in enumerate(arrays["steps"][0]):
        step, history = head.step(lrn_QD.reshape(1, -1), history)
        close(step.arm[:, 0], arrays["step_arm"][t])
        close(step.gripper_logit[:, 0], arrays["step_gripper"][t, ..., 0])


@needs_shared
def test_action_tokens_are_the_same() -> None:
    arrays = np.load(SHARED_GOLDEN / "b_action_tokenizer.npz")
    config = ActionTokenConfig(end_token_id=int(arrays["tokenizer_orig_size"]))
    ids = token_ids_of(torch.from_numpy(arrays["actions"]), config)
    close(ids, arrays["ids"], atol=0)
    close(actions_of(ids, config), arrays["decoded"], atol=1e-6)


def training_case() -> tuple[VlaModel, PredictedChunks, PolicyLoss, dict[str, Tensor]]:
    arrays = case("d_post_lstm_hand")
    model = model_of("d_post_lstm_hand")
    chunks = model(
        Windows(
            torch.stack([arrays["hand_rgb"], arrays["rgb"]], dim=2), Tokens(arrays["text"], arrays["text_mask"])
        )
    )
    labels = arrays["action_chunck"]
    target = TargetChunks(labels[..., :6], labels[..., 6], arrays["chunck_mask"])
    return model, chunks, policy_loss(chunks, target, CONFIG.loss), arrays


@needs_shared
def test_training_forward_gives_the_same_chunks_and_losses() -> None:
    _, chunks, loss, arrays = training_case()
    close(chunks.arm, arrays["arm"])
    close(chunks.gripper_logit, arrays["gripper"][..., 0])
    close(loss.total, arrays["loss"])
    close(loss.arm, arrays["loss_arm_act"])
    close(loss.gripper, arrays["loss_gripper_act"])
    close(loss.gripper_accuracy, arrays["acc_gripper_act"], atol=1e-6)


@needs_shared
def test_training_gives_the_same_gradient_norms() -> None:
    model, _, loss, _ = training_case()
    loss.total.backward()
    facts = json.loads((SHARED_GOLDEN / "d_post_lstm_hand.json").read_text(encoding="utf-8"))
    norms = {key.removeprefix("grad_norms."): norm for key, norm in facts.items() if key.startswith("grad_norms.")}
    parameters = dict(model.named_parameters())
    compared = 0
    for key, expected in norms.items():
        name = our_name(key, model)
        if name is not None:
            gradient = parameters[name].grad
            assert gradient is not None, name
            assert float(gradient.norm()) == pytest.approx(expected, abs=1e-5), name
            compared += 1
    assert compared == len(parameters)


@needs_shared
def test_control_steps_give_the_same_pictures_chunks_and_executed_actions() -> None:
    arrays = case("e_post_lstm")
    model = model_of("e_post_lstm")
    tokenizer = PromptTokenizer.load(
        SHARED_GOLDEN / "tiny_kosmos2", prompt=CONFIG.prompt, max_tokens=model.max_text_tokens
    )
    tokens = tokenizer(["open the drawer"])
    close(tokens.ids, arrays["text"], atol=0)
    text, history = model.embed_tokens(tokens), model.new_history()
    for t in range(12):
        pictures = preprocess([arrays[key][t].numpy() for key in ("rgb_gripper", "rgb_static")], CONFIG.image)
        close(pictures[0], arrays["hand_rgb"][t, 0, 0], atol=0)
        close(pictures[1], arrays["rgb"][t, 0, 0], atol=0)
        with torch.inference_mode():
            chunks, history = model.step(pictures[None], text, history)
        close(chunks.arm, arrays["arm"][t])
        close(chunks.gripper_logit, arrays["gripper"][t, ..., 0])
        arm = unnormalize(chunks.arm[0, 0, 0].numpy(), NormalizationSpec.symmetric(0.65))
        gripper = calvin_from_open(open_from_logit(chunks.gripper_logit[0, 0, 0].numpy()))
        close(np.append(arm, gripper), arrays["executed"][t])


@needs_shared
def test_every_tensor_of_a_whole_checkpoint_has_a_name_here() -> None:
    lines = (SHARED_GOLDEN / "kosmos_state_dict_keys.txt").read_text(encoding="utf-8").splitlines()
    model = model_of("e_post_lstm")
    names = {our_name(line.split("\t")[0], model) for line in lines}
    assert names - {None} == set(stored_tensors(model))
