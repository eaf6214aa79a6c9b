# SPDX-License-Identifier: Apache-2.0
"""The public SimplerEnv (``simpler_env``): the only file that imports it, and only when asked."""

import importlib.util
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vla_core.errors import VlaError
from vla_core.types import RgbImage
from vla_training.evaluation.simpler.actions import SimplerRobot

HOW_TO_INSTALL = (
    "SimplerEnv is not installed (no module 'simpler_env'). Get it: git clone --recurse-submodules "
    "https://github.com/simpler-env/SimplerEnv, then pip install -e SimplerEnv/ManiSkill2_real2sim -e SimplerEnv. "
    "It needs a GPU with Vulkan. See docs/evaluation.md"
)


class SimplerEnvironment(Protocol):
    """What is used of an environment of SimplerEnv."""

    def reset(self, *, seed: int, options: dict[str, Any]) -> tuple[Any, Any]:
        """Begin an episode; return observation and facts."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, Any]:
        """Act; return observation, reward, success, truncated, facts."""

    def get_language_instruction(self) -> str:
        """Return the sentence in force."""


class SimplerWorld(Protocol):
    """Makes environments and reads their pictures."""

    @property
    def robot(self) -> SimplerRobot:
        """Whose gripper moves."""

    def make(self) -> SimplerEnvironment:
        """Return a new environment."""

    def picture(self, environment: Any, observation: Any) -> RgbImage:
        """Return the picture (H, W, 3) uint8 RGB in an observation."""


@dataclass(frozen=True)
class SimplerTask:
    """One task of SimplerEnv, in its prepackaged visual-matching set-up.

    Attributes:
        name: For example ``widowx_carrot_on_plate``.
    """

    name: str

    @property
    def robot(self) -> SimplerRobot:
        """Whose gripper moves."""
        return "google_robot" if "google_robot" in self.name else "widowx_bridge"

    def check(self) -> None:
        """Look whether the simulator is there and knows the task.

        Raises:
            VlaError: It is not, or does not.
        """
        if importlib.util.find_spec("simpler_env") is None:
            raise VlaError(HOW_TO_INSTALL)
        from simpler_env import ENVIRONMENTS

        if self.name not in ENVIRONMENTS:
            raise VlaError(f"task '{self.name}' is none of SimplerEnv's: {', '.join(ENVIRONMENTS)}")

    def make(self) -> SimplerEnvironment:
        """Return a new environment."""
        import simpler_env

        environment: SimplerEnvironment = simpler_env.make(self.name)
        return environment

    def picture(self, environment: Any, observation: Any) -> RgbImage:
        """Return the picture in an observation."""
        from simpler_env.utils.env.observation_utils import get_image_from_maniskill2_obs_dict

        return np.asarray(get_image_from_maniskill2_obs_dict(environment, observation))
