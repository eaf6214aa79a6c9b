# SPDX-License-Identifier: Apache-2.0
"""Trials in K worlds side by side: one inference per tick for all; a world whose trial is over takes the next one.

Actions are rounded to 1/1024 before they are carried out. A sum of floats depends in its last digits on how many
worlds share an inference; rounded, it does not, unless an action lies at the edge of a step by chance.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from vla_core.policy_contract import PolicyContract
from vla_core.types import ActionChunk, Observation
from vla_training.evaluation.tabletop.simulator import Referee, Simulator, Trial, World

ROUNDED_TO = 1024.0

Row = dict[str, Any]
OnTick = Callable[[World, Observation, str], None]


class BatchPolicy(Protocol):
    """What is used of ``vla_core.policy.BatchedPolicy``."""

    @property
    def contract(self) -> PolicyContract:
        """What the policy promises and needs."""

    def reset(self, is_new: Sequence[bool]) -> None:
        """Forget the history of the worlds that are marked."""

    def infer(self, observations: Sequence[Observation], instructions: Sequence[str]) -> list[ActionChunk]:
        """Advance every world by one tick; return a chunk for each observation."""


@dataclass(eq=False)
class _Place:
    """One of the K worlds and the trial in it; ``referee`` is ``None`` when there is no trial left."""

    world: World
    referee: Referee | None
    observation: Observation
    sentence: str


def roll_out(
    policy: BatchPolicy,
    simulator: Simulator,
    worlds: Sequence[World],
    trials: Sequence[Trial],
    on_tick: OnTick | None = None,
) -> Iterator[Row]:
    """Yield how each trial went, as it is over.

    Args:
        policy: For as many worlds as there are.
        simulator: Makes the referees.
        worlds: K of them.
        trials: What to try.
        on_tick: Shown each world with what the policy is shown.
    """
    waiting = list(trials)
    if not waiting:
        return
    places = [_begun(simulator, world, waiting.pop(0)) for world in worlds[: len(trials)]]
    places += [_Place(world, None, places[0].observation, places[0].sentence) for world in worlds[len(trials) :]]
    policy.reset([True] * len(places))
    while any(place.referee is not None for place in places):
        chunks = policy.infer([place.observation for place in places], [place.sentence for place in places])
        is_new = [False] * len(places)
        for k, (place, chunk) in enumerate(zip(places, chunks, strict=True)):
            if place.referee is None:
                continue  # its stream is fed the last picture, and nobody listens
            if on_tick is not None:
                on_tick(place.world, place.observation, place.sentence)
            place.world.advance(rounded(chunk))
            turn = place.referee.look(place.world.state(), place.world.time_s)
            is_new[k] = turn != "go on"
            if turn == "over":
                yield place.referee.row(place.world.interventions)
                places[k] = _begun(simulator, place.world, waiting.pop(0)) if waiting else _idle(place)
                continue
            if turn == "next sentence":
                place.world.begin_sentence()
                place.sentence = place.referee.sentence
            place.observation = place.world.observe()
        policy.reset(is_new)


def rounded(chunk: ActionChunk) -> ActionChunk:
    """Return a chunk whose arm numbers are multiples of 1/1024."""
    actions = np.array(chunk.actions, dtype=np.float32)
    actions[:, :6] = np.rint(actions[:, :6] * ROUNDED_TO) / ROUNDED_TO
    return replace(chunk, actions=actions)


def _begun(simulator: Simulator, world: World, trial: Trial) -> _Place:
    state = world.reset(trial.seed, trial.scene)
    referee = simulator.referee(trial, state)
    return _Place(world, referee, world.observe(), referee.sentence)


def _idle(place: _Place) -> _Place:
    return _Place(place.world, None, place.observation, place.sentence)
