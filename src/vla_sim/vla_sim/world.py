# SPDX-License-Identifier: Apache-2.0
"""The tabletop, shared between threads: physics against the wall clock, commands, and the cameras."""

import threading
import time
from collections.abc import Callable

from vla_core.errors import ConfigError
from vla_sim.arm_goals import ArmGoal
from vla_sim.tabletop import ArmState, Snapshot, Tabletop
from vla_sim.task_state import TabletopState

LATEST_S = 0.2  # physics that is further behind gives up catching up and slows down

OnStep = Callable[[ArmState, TabletopState, int], None]


class World:
    """Thread-safe access to a tabletop.

    Args:
        tabletop: The world; nobody else may use it any more.
        now_ns: The clock that stamps what is measured.
    """

    def __init__(self, tabletop: Tabletop, now_ns: Callable[[], int]) -> None:
        self._tabletop = tabletop
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._steps = 0

    @property
    def period_s(self) -> float:
        """Time of one step, seconds."""
        return self._tabletop.period_s

    @property
    def steps(self) -> int:
        """Steps done since the start; a reset does not set it back."""
        return self._steps

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset, seconds."""
        return self._tabletop.time_s

    def reset(self, seed: int, task: str | None) -> None:
        """Put everything where the seed says; see ``Tabletop.reset``."""
        with self._lock:
            self._tabletop.reset(seed, task)

    def follow(self, goal: ArmGoal) -> None:
        """Give the arm a new goal; see ``Tabletop.follow``."""
        with self._lock:
            self._tabletop.follow(goal)

    def grip(self, finger_m: float) -> None:
        """Give the fingers a new goal; see ``Tabletop.grip``."""
        with self._lock:
            self._tabletop.grip(finger_m)

    def snapshot(self) -> tuple[Snapshot, int]:
        """Return what the cameras need, and its stamp, nanoseconds."""
        with self._lock:
            return self._tabletop.snapshot, self._now_ns()

    def step(self) -> tuple[ArmState, TabletopState, int]:
        """Advance by one period; return what is then measured, and its stamp, nanoseconds."""
        with self._lock:
            self._tabletop.step(self.period_s)
            self._steps += 1
            return self._tabletop.arm_state(), self._tabletop.state(), self._now_ns()

    def run(self, stop: threading.Event, on_step: OnStep) -> None:
        """Step in time with the wall clock until told to stop; call ``on_step`` after each."""
        due_s = time.monotonic()
        while not stop.is_set():
            on_step(*self.step())
            due_s = sleep_until_next(due_s, self.period_s)


def sleep_until_next(due_s: float, period_s: float) -> float:
    """Sleep until the next period is due and return when that is, in ``time.monotonic``.

    Lateness is made up for, unless it is too large: then counting starts again from now.
    """
    due_s += period_s
    left_s = due_s - time.monotonic()
    if left_s > 0.0:
        time.sleep(left_s)
    return due_s if left_s > -LATEST_S else time.monotonic()


def steps_per_sample(period_s: float, rate_hz: float, what: str) -> int:
    """Return how many steps make one sample at a rate.

    Raises:
        ConfigError: The rate is above that of the steps.
    """
    if rate_hz * period_s > 1.0 + 1e-9:
        raise ConfigError(
            f"{what}: rate_hz {rate_hz:g} is above the {1.0 / period_s:g} Hz of the simulated robot; lower it in "
            "the robot spec"
        )
    return max(1, round(1.0 / (rate_hz * period_s)))
