# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_core.model.config import HeadConfig
from vla_core.model.heads.lstm import LstmHead

DIM, HIDDEN, LAYERS, CHUNK = 6, 5, 4, 3


def lively_head(num_lrn_tokens: int = 1, window_size: int = 4) -> LstmHead:
    torch.manual_seed(0)
    config = HeadConfig(hidden_size=HIDDEN, num_layers=LAYERS, mlp_sizes=(8,))
    head = LstmHead(
        config, embed_dim=DIM, chunk_size=CHUNK, num_lrn_tokens=num_lrn_tokens, window_size=window_size
    )
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(std=0.7)
    return head


def embeddings(streams: int, ticks: int, seed: int = 1) -> Tensor:
    return torch.randn(streams, ticks, DIM, generator=torch.Generator().manual_seed(seed))


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def numpy_lstm(head: LstmHead, lrn_TD: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the output of a zero-state LSTM at each tick, from the textbook equations."""
    weights = {name: tensor.detach().double().numpy() for name, tensor in head.rnn.named_parameters()}
    outputs = lrn_TD
    for layer in range(LAYERS):
        hidden, cell, inputs, outputs = np.zeros(HIDDEN), np.zeros(HIDDEN), outputs, []
        for x in inputs:
            gates = weights[f"weight_ih_l{layer}"] @ x + weights[f"bias_ih_l{layer}"]
            gates += weights[f"weight_hh_l{layer}"] @ hidden + weights[f"bias_hh_l{layer}"]
            enter, forget, new, leave = np.split(gates, 4)
            cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(new)
            hidden = sigmoid(leave) * np.tanh(cell)
            outputs.append(hidden)
    return np.asarray(outputs)


def test_equals_an_lstm_written_in_numpy() -> None:
    head, lrn = lively_head(), embeddings(1, 6)
    features = head.join(lrn)
    expected = numpy_lstm(head, lrn[0].double().numpy())
    np.testing.assert_allclose(features[0].detach().numpy(), expected, atol=1e-5)


def test_parameters_bear_the_names_of_the_original() -> None:
    head = LstmHead(HeadConfig(hidden_size=8), embed_dim=4, chunk_size=2)
    mlps = {
        f"{mlp}.mlp.{i}.{kind}"
        for mlp in ("actions", "gripper")
        for i in (0, 2, 4, 6)
        for kind in ("weight", "bias")
    }
    rnn = {f"rnn.{kind}_{gate}_l{i}" for kind in ("weight", "bias") for gate in ("ih", "hh") for i in range(4)}
    assert set(head.state_dict()) == mlps | rnn


def test_chunks_have_their_shape_and_the_arm_stays_within_one() -> None:
    chunks = lively_head()(embeddings(2, 5) * 50)
    assert chunks.arm.shape == (2, 5, CHUNK, 6) and chunks.gripper_logit.shape == (2, 5, CHUNK)
    assert float(chunks.arm.detach().abs().max()) <= 1.0


def test_more_lrn_tokens_widen_the_lstm() -> None:
    head = lively_head(num_lrn_tokens=2)
    assert head.rnn.input_size == 2 * DIM and head.rnn.hidden_size == 2 * HIDDEN


@pytest.mark.parametrize("window", [1, 2, 4, 8])
def test_a_stream_is_a_zero_state_run_over_the_last_window(window: int) -> None:
    head, lrn = lively_head(window_size=window), embeddings(1, 3 * window + 1)
    history = head.new_history()
    for t in range(lrn.shape[1]):
        found, history = head.step(lrn[:, t], history)
        expected = head(lrn[:, max(0, t + 1 - window) : t + 1])
        torch.testing.assert_close(found.arm[:, 0], expected.arm[:, -1], atol=1e-6, rtol=0.0)
        torch.testing.assert_close(found.gripper_logit[:, 0], expected.gripper_logit[:, -1], atol=1e-5, rtol=0.0)


def test_a_stream_forgets_what_left_the_window_and_a_carried_state_does_not() -> None:
    head, lrn = lively_head(), embeddings(1, 9)
    other = lrn.clone()
    other[:, 0] += 5.0

    def last_chunks(sequence: Tensor) -> tuple[Tensor, Tensor]:
        history = head.new_history()
        for t in range(sequence.shape[1]):
            streamed, history = head.step(sequence[:, t], history)
        carried = head(sequence)
        return streamed.arm[:, 0], carried.arm[:, -1]

    (streamed, carried), (streamed_other, carried_other) = last_chunks(lrn), last_chunks(other)
    torch.testing.assert_close(streamed, streamed_other, atol=1e-7, rtol=0.0)
    assert float((carried - carried_other).detach().abs().max()) > 1e-4


def test_parallel_streams_do_not_touch_each_other_and_start_afresh_alone() -> None:
    head, lrn = lively_head(), embeddings(3, 11)
    together = head.new_history(3)
    alone = [head.new_history() for _ in range(3)]
    for t in range(lrn.shape[1]):
        if t == 5:
            together = together.restart(torch.tensor([False, True, False]))
            alone[1] = head.new_history()
        found, together = head.step(lrn[:, t], together)
        for i in range(3):
            expected, alone[i] = head.step(lrn[i : i + 1, t], alone[i])
            torch.testing.assert_close(found.arm[i], expected.arm[0], atol=1e-6, rtol=0.0)


def test_a_history_is_a_value_that_advancing_leaves_as_it_was() -> None:
    head, lrn = lively_head(), embeddings(1, 2)
    _, history = head.step(lrn[:, 0], head.new_history())
    first, _ = head.step(lrn[:, 1], history)
    again, _ = head.step(lrn[:, 1], history)
    torch.testing.assert_close(first.arm, again.arm, atol=0.0, rtol=0.0)
