# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
import torch
from tiny_models import SENTENCES, backbone_folder, random_images, tiny_model, tokens_of
from torch import Tensor

from vla_core.images import ImageSpec
from vla_core.model.backbone import load_pretrained_backbone
from vla_core.model.build import build_vla_model
from vla_core.model.chunks import PredictedChunks
from vla_core.model.config import LossConfig, ModelConfig, PromptConfig
from vla_core.model.loss import TargetChunks, policy_loss
from vla_core.model.windows import Windows

torch.set_num_threads(1)


def numbers_of(chunks: PredictedChunks) -> Tensor:
    return torch.cat([chunks.arm, chunks.gripper_logit[..., None]], dim=-1).detach()


@pytest.mark.parametrize("window", [1, 4, 8])
@pytest.mark.parametrize("compat", [None, "robovlms"])
def test_stream_equals_windowed_forward_across_resets(window: int, compat: Any) -> None:
    model = tiny_model(window_size=window, compat=compat)
    tokens = tokens_of(model, SENTENCES[0])
    text = model.embed_tokens(tokens)
    seen = []
    for episode in range(2):
        images = random_images(1, 3 * window, seed=episode)
        history = model.new_history()
        for t in range(3 * window):
            with torch.inference_mode():
                streamed, history = model.step(images[:, t], text, history)
                windowed = model(Windows(images[:, max(0, t + 1 - window) : t + 1], tokens))
            found, expected = numbers_of(streamed)[:, 0], numbers_of(windowed)[:, -1]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0.0)
            seen.append(found)
    spread = torch.stack(seen).std(dim=0).max()
    assert float(spread) > 1e-2, "the model ignores its pictures, so the comparison above means nothing"


def test_batch_mates_do_not_change_a_samples_output() -> None:
    model, images = tiny_model(), random_images(3, 4)
    together = numbers_of(model(Windows(images, tokens_of(model, *SENTENCES))))
    for i, sentence in enumerate(SENTENCES):
        alone = numbers_of(model(Windows(images[i : i + 1], tokens_of(model, sentence))))
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=0.0)


def test_under_compat_a_batch_mate_changes_the_shorter_sentence_only() -> None:
    model, images = tiny_model(compat="robovlms"), random_images(2, 4)
    together = numbers_of(model(Windows(images, tokens_of(model, SENTENCES[0], SENTENCES[2]))))
    shorter = numbers_of(model(Windows(images[:1], tokens_of(model, SENTENCES[0]))))
    longer = numbers_of(model(Windows(images[1:], tokens_of(model, SENTENCES[2]))))
    assert float((together[:1] - shorter).abs().max()) > 1e-2
    torch.testing.assert_close(together[1:], longer, atol=1e-5, rtol=0.0)


def test_parallel_streams_equal_single_streams() -> None:
    model, images = tiny_model(), random_images(2, 6)
    text = model.embed_tokens(tokens_of(model, *SENTENCES[:2]))
    together = model.new_history(num_streams=2)
    alone = [model.new_history(), model.new_history()]
    texts = [model.embed_tokens(tokens_of(model, sentence)) for sentence in SENTENCES[:2]]
    for t in range(6):
        found, together = model.step(images[:, t], text, together)
        for i in range(2):
            expected, alone[i] = model.step(images[i : i + 1, t], texts[i], alone[i])
            torch.testing.assert_close(numbers_of(found)[i], numbers_of(expected)[0], atol=1e-5, rtol=0.0)


def test_each_camera_and_the_sentence_change_the_output() -> None:
    model, images = tiny_model(), random_images(1, 1)
    base = numbers_of(model(Windows(images, tokens_of(model, SENTENCES[0]))))
    for camera in range(2):
        changed = images.clone()
        changed[:, :, camera] = random_images(1, 1, seed=9)[:, :, camera]
        assert (
            float((numbers_of(model(Windows(changed, tokens_of(model, SENTENCES[0])))) - base).abs().max()) > 1e-3
        )
    assert float((numbers_of(model(Windows(images, tokens_of(model, SENTENCES[1])))) - base).abs().max()) > 1e-3


def test_a_model_with_one_camera_runs() -> None:
    model = tiny_model(cameras=("static",))
    chunks = model(Windows(random_images(2, 3, cameras=1), tokens_of(model, *SENTENCES[:2])))
    assert chunks.arm.shape == (2, 3, 3, 6) and chunks.gripper_logit.shape == (2, 3, 3)


def test_several_lrn_tokens_stream_as_they_train() -> None:
    model, images = tiny_model(num_lrn_tokens=2), random_images(1, 4)
    tokens = tokens_of(model, SENTENCES[0])
    text, history = model.embed_tokens(tokens), model.new_history()
    for t in range(4):
        chunks, history = model.step(images[:, t], text, history)
    torch.testing.assert_close(
        numbers_of(chunks)[:, -1], numbers_of(model(Windows(images, tokens)))[:, -1], atol=1e-5, rtol=0
    )


def test_gradient_reaches_the_lrn_token_and_every_weight() -> None:
    model = tiny_model().train()
    chunks = model(Windows(random_images(2, 4), tokens_of(model, *SENTENCES[:2])))
    valid = torch.ones(chunks.gripper_logit.shape)
    target = TargetChunks(torch.ones_like(chunks.arm), torch.ones_like(chunks.gripper_logit), valid)
    policy_loss(chunks, target, LossConfig()).total.backward()
    assert float(model.lrn_token.grad.norm()) > 1e-6  # type: ignore[union-attr]
    unreached = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert unreached == []


def test_more_ticks_than_the_window_are_refused() -> None:
    model = tiny_model(window_size=2)
    with pytest.raises(ValueError, match="found 3 ticks, the model's window holds 2"):
        model(Windows(random_images(1, 3), tokens_of(model, SENTENCES[0])))


def test_an_image_size_that_the_backbone_does_not_read_is_refused() -> None:
    backbone = load_pretrained_backbone("kosmos2", backbone_folder())
    with pytest.raises(ValueError, match=r"image.size_px is 56, but the backbone reads pictures of 84 px"):
        build_vla_model(
            ModelConfig(window_size=1, chunk_size=1, image=ImageSpec(size_px=56), prompt=backbone.prompt), backbone
        )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"window_size": 0}, "window_size must be at least 1, found 0"),
        ({"cameras": ()}, "cameras must name each camera once"),
        ({"cameras": ("static", "static")}, "cameras must name each camera once"),
    ],
)
def test_a_contradictory_configuration_is_refused(changes: dict[str, Any], sentence: str) -> None:
    settings: dict[str, Any] = {
        "window_size": 4,
        "chunk_size": 3,
        "image": ImageSpec(size_px=84),
        "prompt": PromptConfig(text="{instruction}"),
    }
    with pytest.raises(ValueError, match=sentence):
        ModelConfig(**(settings | changes))
