# SPDX-License-Identifier: Apache-2.0
"""The language regulariser changes loss and gradients as it should, and nothing where it is not asked for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from test_structures import DISCRETE, target_of
from tiny_models import SENTENCES, random_images, tiny_model, tokens_of
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from torch.nn import functional

from vla_core.errors import CheckpointError
from vla_core.model.config import LossConfig
from vla_core.model.continuous import ContinuousModel
from vla_core.model.language_regulariser import LanguageRegulariser
from vla_core.model.text_encoder import TextEncoder
from vla_core.model.windows import Windows

torch.set_num_threads(1)
SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = {"vocab_size": 259, "pad_token_id": 256, "bos_token_id": 257, "eos_token_id": 258}
LONGEST = 64
WEIGHT = 0.05


def tokenizer() -> Any:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.add_special_tokens(["<pad>", "<s>", "</s>"])
    ends = [("<s>", 257), ("</s>", 258)]
    bytes_only.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bytes_only, pad_token="<pad>")


def clip_text() -> Any:
    sizes = SIZES | {"max_position_embeddings": LONGEST, "projection_dim": 12}
    return transformers.CLIPTextConfig(**sizes, **WORDS)


def clip() -> Any:
    vision = SIZES | {"image_size": 28, "patch_size": 14}
    text = clip_text().to_dict()
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    return transformers.CLIPModel(config)


def t5() -> Any:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
    return transformers.T5EncoderModel(transformers.T5Config(**sizes, vocab_size=259, pad_token_id=256))


def bert() -> Any:
    sizes = SIZES | {"max_position_embeddings": LONGEST, "vocab_size": 259, "pad_token_id": 256}
    return transformers.BertModel(transformers.BertConfig(**sizes))


ENCODERS: dict[str, Callable[[], Any]] = {
    "clip": clip,
    "clip, text with projection": lambda: transformers.CLIPTextModelWithProjection(clip_text()),
    "clip, text": lambda: transformers.CLIPTextModel(clip_text()),
    "bert": bert,
    "t5": t5,
}


def write(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return write(ENCODERS["clip"](), tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def regulariser(folder: Path) -> LanguageRegulariser:
    torch.manual_seed(1)
    return LanguageRegulariser.load(folder, embed_dim=128)


def model_with(weight: float, **changes: Any) -> ContinuousModel:
    model = tiny_model(loss=LossConfig(language_weight=weight), **changes)
    assert isinstance(model, ContinuousModel)
    return model


def expected_vector(name: str, native: Any, sentence: str) -> Tensor:
    ids = torch.tensor([tokenizer()(sentence)["input_ids"]])
    if name == "clip":
        return native.get_text_features(ids).pooler_output[0]
    output = native(input_ids=ids)
    if name.startswith("clip"):
        return output.text_embeds[0] if "projection" in name else output.pooler_output[0]
    return output.last_hidden_state[0].mean(dim=0)


@torch.no_grad()
@pytest.mark.parametrize("name", ENCODERS)
def test_vectors_are_those_of_the_encoder_whatever_the_batch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    native = ENCODERS[name]().eval()
    encoder = TextEncoder.load(write(native, tmp_path / "encoder"))
    found = encoder([*SENTENCES, "long " * 40])
    assert found.shape == (4, encoder.width)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(4))
    for vector, sentence in zip(found, SENTENCES[:2], strict=False):
        expected = functional.normalize(expected_vector(name, native, sentence), dim=-1)
        torch.testing.assert_close(vector, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"num_lrn_tokens": 2}, {"readout": "text"}])
def test_total_grows_by_the_weighted_distance(regulariser: LanguageRegulariser, changes: dict[str, Any]) -> None:
    plain, pulled = model_with(0.0, **changes), model_with(WEIGHT, **changes)
    images, sentences = random_images(2, 3), SENTENCES[:2]
    tokens, target = tokens_of(plain, *sentences), target_of(plain, 2, 3)
    before = plain.loss(Windows(images, tokens), target)
    assert "language" not in before.metrics
    found = pulled.loss(Windows(images, tokens), target, regulariser)
    copies_BTQD = pulled.features(Windows(images, tokens)).unflatten(-1, (-1, 128))
    projected = regulariser.projection(copies_BTQD.amax(dim=2))
    wanted = regulariser.encoder(sentences)[:, None].expand(-1, 3, -1)
    distance = functional.smooth_l1_loss(projected, wanted)
    torch.testing.assert_close(found.metrics["language"], distance.detach())
    torch.testing.assert_close(found.total, before.total + WEIGHT * distance)
    torch.testing.assert_close(found.arm, before.arm)


def gradient_of_lrn(model: ContinuousModel, loss: Tensor) -> Tensor:
    assert model.lrn_token is not None
    return torch.autograd.grad(loss, model.lrn_token, retain_graph=True)[0]


def test_gradients_are_those_of_both_parts(regulariser: LanguageRegulariser) -> None:
    model, images, sentences = model_with(WEIGHT), random_images(2, 3), SENTENCES[:2]
    tokens, target = tokens_of(model, *sentences), target_of(model, 2, 3)
    loss = model.loss(Windows(images, tokens), target, regulariser)
    distance = regulariser(model.features(Windows(images, tokens)), sentences)
    pull = gradient_of_lrn(model, distance)
    assert float(pull.abs().max()) > 1e-6
    action = loss.arm + model.config.loss.gripper_weight * loss.gripper
    both = gradient_of_lrn(model, action) + WEIGHT * pull
    torch.testing.assert_close(gradient_of_lrn(model, loss.total), both, atol=1e-6, rtol=1e-4)


def test_its_layer_trains_and_the_text_encoder_stays_as_it_is(regulariser: LanguageRegulariser) -> None:
    model, images, sentences = model_with(1.0, lively=False), random_images(2, 2), SENTENCES[:2]
    tokens, target = tokens_of(model, *sentences), target_of(model, 2, 2)
    before = {name: weight.clone() for name, weight in regulariser.state_dict().items()}
    weights = [*model.parameters(), *regulariser.parameters()]
    trained = [weight for weight in weights if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3, weight_decay=0.1)
    model.train()
    regulariser.train()
    seen = []
    for _ in range(15):
        loss = model.loss(Windows(images, tokens), target, regulariser)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        seen.append(float(loss.metrics["language"]))
    assert seen[-1] < 0.5 * seen[0]
    changed = {name for name, weight in regulariser.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {"projection.weight", "projection.bias"}
    assert not regulariser.encoder.training and not regulariser.encoder.model.training
    assert all(weight.grad is None for weight in regulariser.encoder.parameters())


def test_what_does_not_fit_together_is_a_sentence(regulariser: LanguageRegulariser) -> None:
    model, images = model_with(WEIGHT), random_images(2, 1)
    tokens, target = tokens_of(model, *SENTENCES[:2]), target_of(model, 2, 1)
    with pytest.raises(ValueError, match=r"language_weight is 0\.05: give the regulariser"):
        model.loss(Windows(images, tokens), target)
    with pytest.raises(ValueError, match="got 1 sentences for 2 samples"):
        model.loss(Windows(images, replace(tokens, sentences=SENTENCES[:1])), target, regulariser)
    discrete = tiny_model(**DISCRETE)
    with pytest.raises(ValueError, match="one_step_discrete has no features to pull"):
        discrete.loss(Windows(images, tokens), target_of(discrete, 2, 1), regulariser)
    with pytest.raises(ValueError, match=r"loss\.language_weight must stay 0"):
        tiny_model(**DISCRETE, loss=LossConfig(language_weight=WEIGHT))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("no folder", "no config.json. Give the folder of a text encoder"),
        ("no tokenizer", "give the same vector. Copy all tokenizer files"),
        ("no weights", "cannot be used as a text encoder"),
        ("pickled weights", "cannot be used as a text encoder"),
        ("half the weights", "weights lack"),
        ("a model of pictures", "cannot be used as a text encoder"),
    ],
)
def test_a_folder_that_holds_no_text_encoder_is_a_sentence(tmp_path: Path, damage: str, sentence: str) -> None:
    encoder = write(bert(), tmp_path / "encoder")
    weights = encoder / "model.safetensors"
    if damage == "no folder":
        encoder = tmp_path / "nowhere"
    elif damage == "no tokenizer":
        for file in encoder.glob("tokenizer*"):
            file.unlink()
    elif damage == "no weights":
        weights.unlink()
    elif damage == "pickled weights":
        torch.save(bert().state_dict(), encoder / "pytorch_model.bin")
        weights.unlink()
    elif damage == "half the weights":
        (encoder / "config.json").write_text(
            (encoder / "config.json").read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
        )
    else:
        vision = transformers.ViTConfig(**SIZES, image_size=28, patch_size=14)
        transformers.ViTModel(vision).save_pretrained(encoder)
    with pytest.raises(CheckpointError, match=sentence):
        TextEncoder.load(encoder)
