# SPDX-License-Identifier: Apache-2.0
"""What a policy promises to the node that runs it, and what it needs from the robot. No torch here."""

from dataclasses import dataclass, field
from typing import Protocol

from vla_core.actions.action_space import ActionSpace
from vla_core.errors import CheckpointError
from vla_core.robot_spec import RobotSpec
from vla_core.training_domain import TrainingDomain
from vla_core.types import ActionChunk, Observation


@dataclass(frozen=True, kw_only=True)
class PolicyContract:
    """Facts that policy and robot must share.

    Attributes:
        cameras: Names of the cameras that the policy looks through.
        image_aspects: Width over height of each camera's images in training, in the order of ``cameras``.
        period_s: Spacing of the ticks that the policy was trained with, seconds.
        chunk_size: Actions per inference.
        window_size: Ticks of history that the policy sees.
        action_space: Meaning of the actions.
        is_trained: False for random weights; shown wherever a person can see it.
        domain: What the training data were like, as far as it is known.
    """

    cameras: tuple[str, ...]
    image_aspects: tuple[float, ...]
    period_s: float
    chunk_size: int
    window_size: int
    action_space: ActionSpace
    is_trained: bool
    domain: TrainingDomain = field(default_factory=TrainingDomain)

    def check_fits(self, spec: RobotSpec) -> None:
        """Refuse a robot that the policy was not made for.

        Raises:
            CheckpointError: Cameras, image shapes or rates differ; the sentence holds both values.
        """
        if not set(self.cameras) <= set(spec.cameras):
            raise CheckpointError(
                f"the checkpoint was trained with cameras {sorted(self.cameras)}, robot '{spec.name}' has "
                f"{sorted(spec.cameras)}. Use a checkpoint for these cameras or change the robot spec"
            )
        rate_hz = 1.0 / self.period_s
        for name, aspect in zip(self.cameras, self.image_aspects, strict=True):
            camera = spec.cameras[name]
            found = camera.width_px / camera.height_px
            if abs(found - aspect) > 0.01 * aspect:
                raise CheckpointError(
                    f"camera '{name}': the checkpoint was trained with pictures of aspect {aspect:.3f}, robot "
                    f"'{spec.name}' sends {camera.width_px}x{camera.height_px} (aspect {found:.3f}). Crop or use "
                    "another checkpoint"
                )
            _require_rate(camera.rate_hz, rate_hz, f"camera '{name}'", spec.name)
        _require_rate(spec.command.rate_hz, rate_hz, "command.rate_hz", spec.name)


class Policy(Protocol):
    """Anything that turns observations and a sentence into action chunks. Not thread-safe: one owner at a time."""

    @property
    def contract(self) -> PolicyContract:
        """What the policy promises and needs."""

    def reset(self) -> None:
        """Forget all history, as at the start of an episode."""

    def infer(self, observation: Observation, instruction: str) -> ActionChunk:
        """Advance by one tick of ``contract.period_s`` and return the chunk for this observation.

        Raises:
            InstructionError: The sentence cannot be used; the history is as it was.
        """


def _require_rate(found_hz: float, needed_hz: float, what: str, robot: str) -> None:
    if found_hz < needed_hz * 0.999:
        raise CheckpointError(
            f"the checkpoint was trained at {needed_hz:g} Hz, but {what} of robot '{robot}' runs at {found_hz:g} "
            "Hz. Raise that rate or use a checkpoint for a slower one"
        )
