# SPDX-License-Identifier: Apache-2.0
"""A world with the interface of CALVIN's simulator in which everything can be worked out by hand.

The tool is a point on a line, moved by the first number of an action. A subtask called ``move_to_N`` is done when
the point has come N millimetres further than it was when the subtask began.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vla_training.evaluation.calvin.rollout import CalvinWorld
from vla_training.evaluation.calvin.sequences import CalvinSequence

START = {
    "led": 0,
    "lightbulb": 0,
    "slider": "right",
    "drawer": "closed",
    "red_block": "table",
    "blue_block": "slider_right",
    "pink_block": "slider_left",
    "grasped": 0,
}


def sequence(*millimetres: int) -> CalvinSequence:
    return CalvinSequence(START, tuple(f"move_to_{number}" for number in millimetres))


@dataclass
class ToyEnvironment:
    """Counts what is asked of it; ends the process at a step when told so."""

    position_m: float = 0.0
    num_steps: int = 0
    resets: list[Any] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)

    def reset(self, robot_obs: Any = None, scene_obs: Any = None) -> Any:
        assert robot_obs.shape == (15,)
        assert scene_obs.shape == (24,)
        self.resets.append((robot_obs, scene_obs))
        self.position_m = float(robot_obs[0])
        return self.get_obs()

    def get_obs(self) -> Any:
        robot = np.array([self.position_m, 0.0, 0.5, np.pi, 0.0, 0.5, 0.08, *np.zeros(7), 1.0])
        level = round(abs(self.position_m) * 1e3) % 256
        pictures = {
            "rgb_static": np.full((200, 200, 3), level, dtype=np.uint8),
            "rgb_gripper": np.full((84, 84, 3), 255 - level, dtype=np.uint8),
        }
        return {"rgb_obs": pictures, "depth_obs": {}, "robot_obs": robot, "scene_obs": np.zeros(24)}

    def get_info(self) -> Any:
        return {"position_m": self.position_m}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any]:
        action = np.asarray(action)
        assert action.shape == (7,)
        assert action[6] in (-1.0, 1.0)
        self.num_steps += 1
        self.actions.append(action)
        self.position_m += 0.02 * float(np.clip(action[0], -1.0, 1.0))
        return self.get_obs(), 0, False, self.get_info()


class ToyOracle:
    def get_task_info_for_set(self, start_info: Any, end_info: Any, task_filter: set[str]) -> set[str]:
        moved_mm = (end_info["position_m"] - start_info["position_m"]) * 1e3
        return {name for name in task_filter if moved_mm >= float(name.split("_")[-1]) - 1e-6}


SENTENCES = {f"move_to_{number}": f"move {number} millimetres" for number in (1, 2, 5, 10, 20, 100, 5000)}


@dataclass(frozen=True)
class ToyWorld:
    """Makes the world; when ``log`` is given, a line is added to it for each world that was made."""

    log: Path | None = None

    def __call__(self) -> CalvinWorld:
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{os.getpid()}\n")
        return CalvinWorld(ToyEnvironment(), ToyOracle(), SENTENCES)


class StraightModel:
    """Moves by a part of 20 mm at every step; remembers what it was shown."""

    def __init__(self, part: float = 0.05) -> None:
        self.part = part
        self.calls: list[str] = []

    def reset(self) -> None:
        self.calls.append("reset")

    def step(self, obs: Any, goal: str) -> Any:
        self.calls.append(goal)
        return np.array([self.part, 0, 0, 0, 0, 0, 1.0])


@dataclass(frozen=True)
class StraightModels:
    """Stands in the place of ``CheckpointModel``."""

    part: float = 0.05

    def __call__(self) -> StraightModel:
        return StraightModel(self.part)

    @property
    def identity(self) -> dict[str, Any]:
        return {"checkpoint": "straight", "fingerprint": str(self.part), "num_executed": 1}
