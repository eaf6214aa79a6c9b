# SPDX-License-Identifier: Apache-2.0
"""Each structure, head, readout and option streams as it was trained, ignores batch mates, and learns."""

from typing import Any

import pytest
import torch
from tiny_models import SENTENCES, random_images, tiny_model, tokens_of
from torch import Tensor

from vla_core.model.chunks import PredictedChunks
from vla_core.model.config import ActionTokenConfig, HeadConfig, LossConfig, ModelConfig, ResamplerConfig
from vla_core.model.continuous import ContinuousModel
from vla_core.model.loss import TargetChunks
from vla_core.model.one_step_discrete import OneStepDiscreteModel
from vla_core.model.vla import VlaModel
from vla_core.model.windows import Windows

torch.set_num_threads(1)

SMALL: dict[str, Any] = {"hidden_size": 16, "mlp_sizes": (24,)}
FC, GPT = HeadConfig(kind="fc", **SMALL), HeadConfig(kind="gpt", num_layers=2, num_attention_heads=4, **SMALL)
INTERLEAVED: dict[str, Any] = {"structure": "interleaved_continuous", "head": FC}
DISCRETE: dict[str, Any] = {
    "structure": "one_step_discrete",
    "window_size": 1,
    "action_tokens": ActionTokenConfig(end_token_id=300, num_bins=64),
}

CONTINUOUS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gpt": {"head": GPT},
    "fc over a window": {"head": FC},
    "one step": {"structure": "one_step_continuous", "window_size": 1, "head": FC},
    "interleaved": INTERLEAVED,
    "two [LRN] tokens, lstm": {"num_lrn_tokens": 2},
    "two [LRN] tokens, gpt of another width": {"head": GPT, "num_lrn_tokens": 2},
    "two [LRN] tokens, interleaved": INTERLEAVED | {"num_lrn_tokens": 2},
    "pooling all": {"readout": "all"},
    "pooling text to two": {"readout": "text", "num_lrn_tokens": 2},
    "pooling pictures to three": {"readout": "pictures", "num_lrn_tokens": 3, "head": FC},
    "resampler": {"resampler": ResamplerConfig(num_latents=3, depth=2, num_heads=2, head_dim=8)},
    "state": {"use_state": True},
    "state, interleaved": INTERLEAVED | {"use_state": True},
    "action history": INTERLEAVED | {"use_action_history": True},
    "state and action history": INTERLEAVED | {"use_state": True, "use_action_history": True},
}


def random(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def numbers_of(chunks: PredictedChunks) -> Tensor:
    """Return arm and ``gripper_open`` of each action."""
    return torch.cat([chunks.arm, chunks.gripper_logit.sigmoid()[..., None]], dim=-1).detach()


def model_of(name: str, **more: Any) -> ContinuousModel:
    model = tiny_model(**(CONTINUOUS[name] | more))
    assert isinstance(model, ContinuousModel)
    return model


def stream(model: VlaModel, images_BTC3SS: Tensor, sentences: list[str], state_BTS: Tensor | None) -> list[Tensor]:
    text, history = model.embed_tokens(tokens_of(model, *sentences)), model.new_history(len(sentences))
    seen = []
    for t in range(images_BTC3SS.shape[1]):
        state_BS = None if state_BTS is None else state_BTS[:, t]
        with torch.inference_mode():
            chunks, history = model.step(images_BTC3SS[:, t], text, history, state_BS)
        seen.append(numbers_of(chunks)[:, 0])
    return seen


def state_of(model: VlaModel, batch: int, ticks: int) -> Tensor | None:
    return random(batch, ticks, 10) if model.config.use_state else None


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_stream_gives_what_the_windowed_pass_gives(name: str) -> None:
    model = model_of(name)
    window = model.config.window_size
    ticks = 2 * window + 1
    images, state = random_images(1, ticks), state_of(model, 1, ticks)
    seen = stream(model, images, [SENTENCES[0]], state)
    actions = torch.stack([chunk[:, 0] for chunk in seen], 1)
    for t in range(ticks):
        part = slice(max(0, t + 1 - window), t + 1)
        with torch.inference_mode():
            windowed = model(
                Windows(
                    images[:, part],
                    tokens_of(model, SENTENCES[0]),
                    state=None if state is None else state[:, part],
                    actions=actions[:, part] if model.config.use_action_history else None,
                )
            )
        torch.testing.assert_close(seen[t], numbers_of(windowed)[:, -1], atol=3e-5, rtol=0.0)
    assert float(torch.stack(seen).std(dim=0).max()) > 1e-3, "the model ignores its pictures"


@pytest.mark.parametrize("name", CONTINUOUS)
def test_parallel_streams_equal_single_ones_and_restart_alone(name: str) -> None:
    model = model_of(name)
    sentences, ticks = list(SENTENCES), 6
    images, state = random_images(3, ticks), state_of(model, 3, ticks)
    text, history = model.embed_tokens(tokens_of(model, *sentences)), model.new_history(3)
    together = []
    for t in range(ticks):
        if t == 3:
            history = history.restart(torch.tensor([False, True, False]))
        with torch.inference_mode():
            chunks, history = model.step(images[:, t], text, history, None if state is None else state[:, t])
        together.append(numbers_of(chunks)[:, 0])
    for i, first in ((0, 0), (1, 3), (2, 0)):
        alone_state = None if state is None else state[i : i + 1, first:]
        alone = stream(model, images[i : i + 1, first:], [sentences[i]], alone_state)
        for t, expected in enumerate(alone):
            torch.testing.assert_close(together[first + t][i : i + 1], expected, atol=3e-5, rtol=0.0)


def target_of(model: VlaModel, batch: int, ticks: int) -> TargetChunks:
    shape = (batch, ticks, model.config.chunk_size)
    is_open = (random(*shape, seed=2) > 0).float()
    return TargetChunks(random(*shape, 6).clamp(-0.9, 0.9), is_open, torch.ones(shape))


def losses_while_training(model: VlaModel, steps: int = 20) -> list[float]:
    """Train on one batch, as an overfitting run does; return the loss before each step."""
    model.train()
    ticks = model.config.window_size
    images, tokens = random_images(2, ticks), tokens_of(model, *SENTENCES[:2])
    target, state = target_of(model, 2, ticks), state_of(model, 2, ticks)
    actions = random(2, ticks, 7, seed=7) if model.config.use_action_history else None
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    seen = []
    for _ in range(steps):
        loss = model.loss(Windows(images, tokens, state, actions), target)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        seen.append(float(loss.total.detach()))
    return seen


@pytest.mark.parametrize("name", [*CONTINUOUS, "discrete", "discrete with state"])
def test_every_weight_is_trained_and_the_loss_falls(name: str) -> None:
    changes = {"discrete": DISCRETE, "discrete with state": DISCRETE | {"use_state": True}} | CONTINUOUS
    model = tiny_model(lively=False, **changes[name])
    losses = losses_while_training(model)
    assert min(losses) < 0.9 * losses[0]
    unreached = [key for key, weight in model.named_parameters() if weight.grad is None]
    assert unreached == []


@pytest.mark.parametrize("name", ["state", "state, interleaved"])
def test_the_state_changes_the_output_and_is_asked_for(name: str) -> None:
    model, images = model_of(name), random_images(1, 2)
    tokens = tokens_of(model, SENTENCES[0])
    outputs = [numbers_of(model(Windows(images, tokens, random(1, 2, 10, seed=seed)))) for seed in (1, 2)]
    assert float((outputs[0] - outputs[1]).abs().max()) > 1e-3
    with pytest.raises(ValueError, match="made with use_state: give the robot's state"):
        model(Windows(images, tokens))
    with pytest.raises(ValueError, match="made without use_state: leave out the robot's state"):
        tiny_model().loss(Windows(images, tokens, random(1, 2, 10)), target_of(model, 1, 2))


def test_earlier_actions_change_later_ticks_only() -> None:
    model, images = model_of("action history"), random_images(1, 3)
    tokens, actions = tokens_of(model, SENTENCES[0]), random(1, 3, 7)
    changed = actions.clone()
    changed[:, 1] += 1.0
    first, second = (numbers_of(model(Windows(images, tokens, actions=each))) for each in (actions, changed))
    torch.testing.assert_close(first[:, :2], second[:, :2], atol=1e-6, rtol=0.0)
    assert float((first[:, 2] - second[:, 2]).abs().max()) > 1e-3
    with pytest.raises(ValueError, match="use_action_history: give the action"):
        model(Windows(images, tokens))


def test_in_the_interleaved_structure_a_tick_sees_those_before_it_and_none_after() -> None:
    model, images = model_of("interleaved"), random_images(1, 4)
    changed = images.clone()
    changed[:, 2] = random_images(1, 1, seed=8)[:, 0]
    first, second = (
        numbers_of(model(Windows(each, tokens_of(model, SENTENCES[0])))) for each in (images, changed)
    )
    torch.testing.assert_close(first[:, :2], second[:, :2], atol=1e-6, rtol=0.0)
    for tick in (2, 3):
        assert float((first[:, tick] - second[:, tick]).abs().max()) > 1e-3


def test_the_resampler_shortens_the_sequence() -> None:
    lengths = []
    for changes in ({}, CONTINUOUS["resampler"]):
        model = tiny_model(**changes)
        text = model.embed_tokens(tokens_of(model, SENTENCES[0]))
        sequence = model.compose(text, model.encode_pictures(random_images(1, 1)[:, 0]))
        lengths.append(sequence.embeds.shape[1])
    assert lengths[0] - lengths[1] == 2 * (8 - 3)


@pytest.mark.parametrize(("readout", "num"), [("all", 1), ("all", 3), ("text", 2), ("pictures", 5)])
def test_pooling_is_pytorchs_adaptive_max_over_the_samples_own_tokens(readout: Any, num: int) -> None:
    model = tiny_model(readout=readout, num_lrn_tokens=num)
    assert isinstance(model, ContinuousModel)
    images, tokens = random_images(2, 1), tokens_of(model, SENTENCES[0], SENTENCES[2])
    found = model.features(Windows(images, tokens))[:, 0]
    for i in range(2):
        alone = tokens_of(model, SENTENCES[2 * i])
        sequence = model.compose(model.embed_tokens(alone), model.encode_pictures(images[i : i + 1, 0]))
        length = sequence.embeds.shape[1]
        part = {"all": slice(0, length), "pictures": slice(1, 17), "text": slice(17, length - 1)}[readout]
        hidden_1DL = model.backbone.hidden_states(sequence)[:, part].transpose(1, 2)
        pooled_1DQ = torch.nn.functional.adaptive_max_pool1d(hidden_1DL, num)
        torch.testing.assert_close(found[i], pooled_1DQ[0].T.flatten(), atol=3e-5, rtol=0.0)


@pytest.mark.parametrize("compat", [None, "robovlms"])
def test_greedy_decoding_picks_what_the_whole_sequence_scores_highest(compat: Any) -> None:
    model = tiny_model(**DISCRETE, compat=compat, chunk_size=2)
    assert isinstance(model, OneStepDiscreteModel)
    images, tokens = random_images(2, 1), tokens_of(model, SENTENCES[0], SENTENCES[2])
    sequence = model.compose(model.embed_tokens(tokens), model.encode_pictures(images[:, 0]))
    config = model.config.action_tokens
    assert config is not None
    for i in range(2):
        length = int(sequence.lrn_position[i])
        ids: list[int] = []
        for _ in range(14):
            embeds = sequence.embeds[i : i + 1, :length]
            if ids:
                embeds = torch.cat([embeds, model.backbone.embed_text(torch.tensor([ids]))], dim=1)
            whole = type(sequence)(embeds, torch.ones(embeds.shape[:2], dtype=torch.long), torch.tensor([0]), 0)
            scores = model.backbone.logits(model.backbone.hidden_states(whole)[:, -1:])[0, 0]
            if compat is None:
                allowed = torch.zeros_like(scores, dtype=torch.bool)
                allowed[300 - 64 : 300] = True
                scores = scores.masked_fill(~allowed, -torch.inf)
            ids.append(int(scores.argmax()))
        with torch.inference_mode():
            chunks, _ = model.step(images[:, 0], model.embed_tokens(tokens), model.new_history(2))
        edges = torch.linspace(-1, 1, 64, dtype=torch.float64)
        index = (300 - torch.tensor(ids) - 1).clamp(0, 62)
        expected = ((edges[:-1] + edges[1:]) / 2)[index].float().view(2, 7)
        torch.testing.assert_close(chunks.arm[i, 0], expected[:, :6], atol=1e-6, rtol=0.0)
        torch.testing.assert_close(
            chunks.gripper_logit[i, 0].sigmoid() * 2 - 1, expected[:, 6], atol=3e-5, rtol=0.0
        )


def test_a_discrete_model_learns_to_write_the_actions_it_was_shown() -> None:
    model = tiny_model(lively=False, **DISCRETE, chunk_size=2)
    losses_while_training(model, steps=140)
    model.eval()
    target = target_of(model, 2, 1)
    with torch.inference_mode():
        text = model.embed_tokens(tokens_of(model, *SENTENCES[:2]))
        chunks, _ = model.step(random_images(2, 1)[:, 0], text, model.new_history(2))
    torch.testing.assert_close(chunks.arm, target.arm, atol=2 / 63, rtol=0.0)
    assert torch.equal(chunks.gripper_logit > 0, target.gripper_open > 0.5)


def test_tick_weights_choose_the_ticks_that_count() -> None:
    last = LossConfig(tick_weights=(0.0, 0.0, 0.0, 1.0))
    plain, weighted = tiny_model(), tiny_model(loss=last)
    images, tokens, target = random_images(2, 4), tokens_of(plain, *SENTENCES[:2]), target_of(plain, 2, 4)
    only_last = TargetChunks(target.arm, target.gripper_open, torch.zeros(2, 4, 3))
    only_last.is_valid[:, 3] = 1.0
    expected = plain.loss(Windows(images, tokens), only_last)
    found = weighted.loss(Windows(images, tokens), target)
    torch.testing.assert_close(found.total, expected.total)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"structure": "one_step_continuous"}, "sees one tick, but window_size is 4"),
        ({"structure": "interleaved_continuous"}, "needs head.kind fc, found lstm"),
        ({"structure": "one_step_discrete", "window_size": 1}, "action_tokens belongs to structure"),
        ({"use_action_history": True}, "use_action_history belongs to structure interleaved_continuous"),
        ({"loss": LossConfig(tick_weights=(1.0,))}, "tick_weights has 1 weights, window_size is 4"),
    ],
)
def test_structures_and_options_that_do_not_fit_are_refused(changes: dict[str, Any], sentence: str) -> None:
    config = tiny_model().config
    with pytest.raises(ValueError, match=sentence):
        ModelConfig(**({key: getattr(config, key) for key in config.__dataclass_fields__} | changes))


def test_action_tokens_beyond_the_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match=r"end_token_id is 99999, but the backbone knows \d+ words"):
        tiny_model(**DISCRETE | {"action_tokens": ActionTokenConfig(end_token_id=99999)})


def test_weights_of_no_ticks_are_refused() -> None:
    with pytest.raises(ValueError, match="tick_weights must not be below 0 nor all 0"):
        LossConfig(tick_weights=())
