# SPDX-License-Identifier: Apache-2.0
"""The facts in a checkpoint's ``model.yaml``. Readable without torch."""

import math
from dataclasses import dataclass

from vla_core.actions.action_space import ActionSpace
from vla_core.model.config import ModelConfig
from vla_core.policy_contract import PolicyContract
from vla_core.robot_spec import RobotSpec


@dataclass(frozen=True, kw_only=True)
class PictureSize:
    """Size of one camera's pictures before they are resized for the model."""

    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        if self.width_px < 1 or self.height_px < 1:
            raise ValueError(f"a picture must have pixels, found {self.width_px}x{self.height_px}")


@dataclass(frozen=True, kw_only=True)
class RobotSnapshot:
    """What a checkpoint remembers of the robot spec that it was made with."""

    name: str
    cameras: dict[str, PictureSize]

    @classmethod
    def of(cls, spec: RobotSpec) -> "RobotSnapshot":
        """Return the snapshot of a robot spec."""
        sizes = {
            name: PictureSize(width_px=camera.width_px, height_px=camera.height_px)
            for name, camera in spec.cameras.items()
        }
        return cls(name=spec.name, cameras=sizes)


@dataclass(frozen=True, kw_only=True)
class CheckpointCard:
    """The facts in ``model.yaml``; nobody changes them after training.

    Attributes:
        model: Every choice about the model.
        action_space: Meaning of the actions.
        period_s: Spacing of the ticks in training, seconds.
        is_trained: False for random weights; shown wherever a person can see it.
        robot: The robot that it was made for.
    """

    model: ModelConfig
    action_space: ActionSpace
    period_s: float
    is_trained: bool
    robot: RobotSnapshot

    def __post_init__(self) -> None:
        if not 0 < self.period_s < math.inf:
            raise ValueError(f"period_s must be above 0 and finite, found {self.period_s:g}")
        missing = sorted(set(self.model.cameras) - set(self.robot.cameras))
        if missing:
            raise ValueError(
                f"model.cameras is {sorted(self.model.cameras)}, robot.cameras is {sorted(self.robot.cameras)}; "
                f"the robot lacks {missing}"
            )

    @property
    def contract(self) -> PolicyContract:
        """What the policy promises and needs."""
        sizes = [self.robot.cameras[name] for name in self.model.cameras]
        return PolicyContract(
            cameras=self.model.cameras,
            image_aspects=tuple(size.width_px / size.height_px for size in sizes),
            period_s=self.period_s,
            chunk_size=self.model.chunk_size,
            window_size=self.model.window_size,
            action_space=self.action_space,
            is_trained=self.is_trained,
        )
