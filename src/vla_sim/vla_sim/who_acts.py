# SPDX-License-Identifier: Apache-2.0
"""Who moves the arm in a lesson: the expert, the expert with noise, or the pupil with the expert's help."""

from dataclasses import dataclass, field

import numpy as np

from vla_core.geometry import FloatArray

CLEAN_SHARE = 0.25
NOISE_MEMORY = 0.7  # of a tick's noise that is left at the next one
BURST_CHANCE, BURST_TICKS = 0.03, (2, 6)
FLIP_CHANCE, FLIP_TICKS = 0.015, 2
PUPIL_TICKS, HELP_TICKS = (5, 20), (3, 9)


@dataclass
class Actor:
    """Chooses the action of each tick. Owned by one lesson.

    Attributes:
        rng: Of everything that is drawn.
        noise: Spread of the noise on the six motions of an action.
        is_disturbed: Whether bursts of nonsense and flips of the gripper come.
        has_pupil: Whether the pupil acts, with the expert's help now and then.
        pupil_ticks: Turns of the pupil last from the first to below the second.
    """

    rng: np.random.Generator
    noise: float = 0.0
    is_disturbed: bool = False
    has_pupil: bool = False
    pupil_ticks: tuple[int, int] = PUPIL_TICKS
    _drift: FloatArray = field(default_factory=lambda: np.zeros(6))
    _burst: FloatArray = field(default_factory=lambda: np.zeros(6))
    _burst_ticks: int = 0
    _flip_ticks: int = 0
    _turn_ticks: int = 0
    _is_pupils_turn: bool = False

    def choose(self, expert: FloatArray, pupil: FloatArray | None) -> FloatArray:
        """Return the (7,) action to carry out.

        Args:
            expert: What the expert would do.
            pupil: What the pupil would do, where there is one.
        """
        action = pupil.copy() if self._pupil_acts() and pupil is not None else expert.copy()
        action[:6] += self._disturbance()
        if self.is_disturbed and self._flip_ticks == 0 and self.rng.random() < FLIP_CHANCE:
            self._flip_ticks = FLIP_TICKS
        if self._flip_ticks > 0:
            self._flip_ticks -= 1
            action[6] = 1.0 - action[6]
        for part in (slice(0, 3), slice(3, 6)):
            action[part] /= max(1.0, float(np.linalg.norm(action[part])))
        return action

    def _pupil_acts(self) -> bool:
        if not self.has_pupil:
            return False
        if self._turn_ticks == 0:
            self._is_pupils_turn = not self._is_pupils_turn
            self._turn_ticks = int(self.rng.integers(*(self.pupil_ticks if self._is_pupils_turn else HELP_TICKS)))
        self._turn_ticks -= 1
        return self._is_pupils_turn

    def _disturbance(self) -> FloatArray:
        fresh = self.noise * np.sqrt(1.0 - NOISE_MEMORY**2) * self.rng.standard_normal(6)
        self._drift = NOISE_MEMORY * self._drift + fresh
        if self.is_disturbed and self._burst_ticks == 0 and self.rng.random() < BURST_CHANCE:
            self._burst_ticks = int(self.rng.integers(*BURST_TICKS))
            self._burst = self.rng.uniform(-1.0, 1.0, 6)
        if self._burst_ticks > 0:
            self._burst_ticks -= 1
            return self._drift + self._burst
        return self._drift


def draw_actor(rng: np.random.Generator, pupil_share: float, pupil_ticks: tuple[int, int]) -> Actor:
    """Return who acts during one task.

    Args:
        rng: Of everything that is drawn.
        pupil_share: Share of the tasks in which the pupil acts.
        pupil_ticks: Turns of the pupil last from the first to below the second.
    """
    if rng.random() < pupil_share:
        return Actor(rng, has_pupil=True, pupil_ticks=pupil_ticks, noise=float(rng.choice([0.0, 0.1])))
    if rng.random() < CLEAN_SHARE:
        return Actor(rng)
    return Actor(rng, noise=float(rng.uniform(0.05, 0.3)), is_disturbed=True)
