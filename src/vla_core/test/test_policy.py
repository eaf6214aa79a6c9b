# SPDX-License-Identifier: Apache-2.0
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_models import SENTENCES, random_observation, tiny_checkpoint

from vla_core.checkpoint import save_checkpoint
from vla_core.errors import InstructionError
from vla_core.geometry import Pose
from vla_core.instruction import MAX_INSTRUCTION_CHARS
from vla_core.model.pictures import preprocess
from vla_core.model.windows import Windows
from vla_core.policy import BatchedPolicy, VlaPolicy
from vla_core.policy_contract import Policy
from vla_core.streams import StreamOptions
from vla_core.types import ActionChunk

torch.set_num_threads(1)
OBSERVATIONS = [random_observation(seed) for seed in range(10)]


@pytest.fixture
def policy() -> VlaPolicy:
    return VlaPolicy(tiny_checkpoint())


def same(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    # The same sums in memory of another alignment differ in the last bit.
    np.testing.assert_allclose(found, expected, atol=1e-6)


def run(policy: Policy, count: int, sentence: str = SENTENCES[0]) -> list[ActionChunk]:
    return [policy.infer(observation, sentence) for observation in OBSERVATIONS[:count]]


def test_a_chunk_has_stamp_period_and_seven_bounded_numbers(policy: VlaPolicy) -> None:
    chunk = run(policy, 2)[1]
    assert chunk.stamp_ns == 1 and chunk.period_s == 0.1
    assert chunk.actions.shape == (3, 7) and chunk.actions.dtype == np.float32
    assert np.abs(chunk.actions[:, :6]).max() <= 1.0
    assert chunk.actions[:, 6].min() >= 0.0 and chunk.actions[:, 6].max() <= 1.0


def test_a_policy_gives_what_the_windowed_model_gives(policy: VlaPolicy) -> None:
    checkpoint = tiny_checkpoint()
    chunk = run(policy, 7)[-1]
    images = [
        preprocess([o.images[camera] for camera in ("wrist", "static")], checkpoint.model.config.image)
        for o in OBSERVATIONS[3:7]
    ]
    expected = checkpoint.model(Windows(torch.stack(images)[None], checkpoint.tokenizer([SENTENCES[0]])))
    np.testing.assert_allclose(chunk.actions[:, :6], expected.arm[0, -1].detach().numpy(), atol=1e-5)
    opened = torch.sigmoid(expected.gripper_logit[0, -1]).detach().numpy()
    np.testing.assert_allclose(chunk.actions[:, 6], opened, atol=1e-5)


def test_history_matters_and_reset_forgets_it(policy: VlaPolicy) -> None:
    first = run(policy, 3)
    carried_on = run(policy, 3)
    assert np.abs(carried_on[0].actions - first[0].actions).max() > 1e-3
    policy.reset()
    for again, before in zip(run(policy, 3), first, strict=True):
        same(again.actions, before.actions)


def test_a_new_sentence_after_a_reset_is_as_if_the_policy_were_new(policy: VlaPolicy) -> None:
    run(policy, 4)
    policy.reset()
    found = run(policy, 3, SENTENCES[1])
    for again, fresh in zip(found, run(VlaPolicy(tiny_checkpoint()), 3, SENTENCES[1]), strict=True):
        same(again.actions, fresh.actions)


def test_a_new_sentence_without_reset_keeps_the_history(policy: VlaPolicy) -> None:
    run(policy, 3)
    kept = policy.infer(OBSERVATIONS[3], SENTENCES[1]).actions
    policy.reset()
    assert np.abs(policy.infer(OBSERVATIONS[3], SENTENCES[1]).actions - kept).max() > 1e-3


def test_many_sentences_do_not_pile_up(policy: VlaPolicy) -> None:
    for i in range(40):
        policy.infer(OBSERVATIONS[0], f"open drawer {i}")
    assert len(policy._batch._streams._texts) <= 16


def test_two_policies_of_one_process_do_not_share_history(policy: VlaPolicy) -> None:
    other = VlaPolicy(tiny_checkpoint())
    expected = [chunk.actions for chunk in run(other, 4)]
    other.reset()
    for i, observation in enumerate(OBSERVATIONS[:4]):
        policy.infer(OBSERVATIONS[9 - i], SENTENCES[2])
        same(other.infer(observation, SENTENCES[0]).actions, expected[i])


def test_warm_up_leaves_no_history(policy: VlaPolicy) -> None:
    expected = VlaPolicy(tiny_checkpoint()).infer(OBSERVATIONS[0], SENTENCES[0]).actions
    policy.warm_up()
    same(policy.infer(OBSERVATIONS[0], SENTENCES[0]).actions, expected)


@pytest.mark.parametrize("sentence", ["", "open the drawer " * 640, "open \udce4 drawer"])
def test_a_bad_sentence_is_an_error_that_leaves_the_history_alone(policy: VlaPolicy, sentence: str) -> None:
    reference = VlaPolicy(tiny_checkpoint())
    run(policy, 2)
    run(reference, 2)
    with pytest.raises(InstructionError):
        policy.infer(OBSERVATIONS[2], sentence)
    expected = reference.infer(OBSERVATIONS[2], SENTENCES[0]).actions
    same(policy.infer(OBSERVATIONS[2], SENTENCES[0]).actions, expected)


def test_the_longest_instruction_fits_whatever_its_letters(policy: VlaPolicy) -> None:
    chunk = policy.infer(OBSERVATIONS[0], "xq" * (MAX_INSTRUCTION_CHARS // 2))
    assert np.isfinite(chunk.actions).all()


def test_contract_tells_what_the_checkpoint_says(policy: VlaPolicy) -> None:
    contract = policy.contract
    assert contract.cameras == ("wrist", "static") and contract.image_aspects == (1.0, 1.0)
    assert (contract.period_s, contract.chunk_size, contract.window_size) == (0.1, 3, 4)
    assert contract.is_trained is False


def test_a_policy_loads_from_a_directory(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint()
    loaded: Policy = VlaPolicy.load(save_checkpoint(checkpoint, tmp_path / "checkpoint"))
    for found, expected in zip(run(loaded, 3), run(VlaPolicy(checkpoint), 3), strict=True):
        same(found.actions, expected.actions)


def test_half_precision_stays_near_full_precision(tmp_path: Path) -> None:
    directory = save_checkpoint(tiny_checkpoint(), tmp_path / "checkpoint")
    half = run(VlaPolicy.load(directory, dtype=torch.bfloat16), 3)[-1]
    full = run(VlaPolicy.load(directory), 3)[-1]
    assert half.actions.dtype == np.float32
    np.testing.assert_allclose(half.actions, full.actions, atol=0.15)


@pytest.mark.parametrize("compat", [None, "robovlms"])
@pytest.mark.parametrize("options", [StreamOptions(), StreamOptions(alternate_cameras=True)])
def test_episodes_in_one_call_equal_single_ones_and_restart_alone(
    compat: str | None, options: StreamOptions
) -> None:
    checkpoint = tiny_checkpoint(compat=compat)
    together = BatchedPolicy(checkpoint, num_streams=3, options=options)
    alone = [VlaPolicy(checkpoint, options) for _ in range(3)]
    for t in range(7):
        if t == 3:
            together.reset([False, True, False])
            alone[1].reset()
        observations = [OBSERVATIONS[(t + 3 * i) % 10] for i in range(3)]
        chunks = together.infer(observations, SENTENCES)
        for i in range(3):
            expected = alone[i].infer(observations[i], SENTENCES[i])
            np.testing.assert_allclose(chunks[i].actions, expected.actions, atol=1e-5)
            assert chunks[i].stamp_ns == observations[i].stamp_ns


def test_alternating_cameras_sees_the_newest_picture_of_one_and_the_last_of_the_other() -> None:
    checkpoint = tiny_checkpoint()
    alternating = VlaPolicy(checkpoint, StreamOptions(alternate_cameras=True))
    exact = VlaPolicy(checkpoint)
    shown = dict(OBSERVATIONS[0].images)
    for t, observation in enumerate(OBSERVATIONS[:5]):
        if t:
            camera = ("wrist", "static")[t % 2]
            shown[camera] = observation.images[camera]
        else:
            shown = dict(observation.images)
        expected = exact.infer(dataclasses.replace(observation, images=dict(shown)), SENTENCES[0])
        same(alternating.infer(observation, SENTENCES[0]).actions, expected.actions)
    alternating.reset()
    exact.reset()
    same(
        alternating.infer(OBSERVATIONS[7], SENTENCES[0]).actions,
        exact.infer(OBSERVATIONS[7], SENTENCES[0]).actions,
    )


def test_the_measured_state_reaches_a_model_that_uses_it() -> None:
    policy = VlaPolicy(tiny_checkpoint(use_state=True))
    first = policy.infer(OBSERVATIONS[0], SENTENCES[0]).actions
    policy.reset()
    lifted = dataclasses.replace(OBSERVATIONS[0], pose_tcp_in_base=Pose.from_euler([0.1, 0.2, 0.3], [0, 0, 1.0]))
    assert np.abs(policy.infer(lifted, SENTENCES[0]).actions - first).max() > 1e-3


def test_one_observation_and_one_sentence_are_asked_for_each_episode() -> None:
    policy = BatchedPolicy(tiny_checkpoint(), num_streams=2)
    with pytest.raises(ValueError, match="found 1 observations for 2 streams; give one per stream"):
        policy.infer(OBSERVATIONS[:1], SENTENCES[:2])
    with pytest.raises(ValueError, match="found 3 sentences for 2 streams"):
        policy.infer(OBSERVATIONS[:2], SENTENCES)
    with pytest.raises(ValueError, match="found 1 marks for 2 streams"):
        policy.reset([True])


@pytest.mark.slow
def test_a_compiled_policy_gives_what_the_plain_one_gives_for_sentences_of_any_length() -> None:
    checkpoint = tiny_checkpoint()
    compiled, plain = VlaPolicy(checkpoint, StreamOptions(compile=True)), VlaPolicy(checkpoint)
    for i, observation in enumerate(OBSERVATIONS):
        found, expected = (policy.infer(observation, SENTENCES[i % 3]) for policy in (compiled, plain))
        np.testing.assert_allclose(found.actions, expected.actions, atol=1e-4)
