# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from vla_core.training_domain import DomainWatch, TrainingDomain

STATISTICS = {
    "sources": {
        "drawer": {
            "q01": [-0.5] * 6,
            "q99": [0.5] * 6,
            "instructions": ["open the drawer", "close the drawer"],
            "tcp_position_m": {"q01": [0.3, -0.2, 0.1], "q99": [0.6, 0.2, 0.4]},
        },
        "light": {"q01": [-1.0] * 6, "q99": [0.2] * 6, "instructions": ["turn on the light", "open the drawer"]},
    }
}
DOMAIN = TrainingDomain.of(STATISTICS)
INSIDE_M = np.array([0.4, 0.0, 0.2])


def test_several_sources_are_one_domain() -> None:
    assert DOMAIN.instructions == ("open the drawer", "close the drawer", "turn on the light")
    assert DOMAIN.action_range == ((-1.0,) * 6, (0.5,) * 6)


@pytest.mark.parametrize(
    "sentence", ["open the drawer", "Open the drawer!", "please open the drawer", "the drawer open"]
)
def test_what_is_said_a_little_differently_is_known(sentence: str) -> None:
    assert DOMAIN.why_unusual_sentence(sentence) is None


def test_an_unknown_sentence_is_told_with_the_nearest_three() -> None:
    why = DOMAIN.why_unusual_sentence("switch the lights on quickly")
    assert why is not None
    assert "'turn on the light'" in why
    assert len(DOMAIN.nearest("sing")) == 3


@pytest.mark.parametrize(
    "statistics",
    [
        {},
        {"sources": 3},
        {"sources": {"a": None}},
        {"sources": {"a": {"q01": "x", "q99": 1}}},
        {"sources": {"a": {"q01": [10**400] * 6, "q99": [1] * 6}}},
        {"sources": {"a": {"q01": [1] * 6, "q99": [-1] * 6}}},
    ],
)
def test_a_checkpoint_that_remembers_nothing_warns_of_nothing(statistics: dict[str, object]) -> None:
    watch = DomainWatch(TrainingDomain.of(statistics))
    assert watch.note_sentence("anything") is None
    for _ in range(100):
        watch.note_tick(np.full(6, 9.0), np.full(3, 9.0))
    assert watch.warnings == []


def test_many_unusual_actions_are_a_warning_and_a_few_are_none() -> None:
    watch = DomainWatch(DOMAIN)
    for k in range(50):
        watch.note_tick(np.full(6, 2.0 if k % 10 == 0 else 0.1), INSIDE_M)
    assert watch.warnings == []
    for _ in range(20):
        watch.note_tick(np.array([0, 0, 0, 0, 0, 3.0]), np.array([0.4, 0.0, 0.6]))
    action, pose = watch.warnings
    assert "dyaw is 3.00" in action
    assert "z is 0.600 m" in pose
    for _ in range(50):
        watch.note_tick(np.zeros(6), INSIDE_M)
    assert watch.warnings == []
