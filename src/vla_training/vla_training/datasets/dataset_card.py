# SPDX-License-Identifier: Apache-2.0
"""``dataset.yaml``: the facts about a dataset folder that its frames do not tell."""

from dataclasses import dataclass
from pathlib import Path

from vla_core.actions.action_space import ActionSpace
from vla_core.checkpoint_card import PictureSize, RobotSnapshot
from vla_core.config import load_config

DATASET_FILE = "dataset.yaml"
GRIPPER_WIDTH_OPEN_M = 0.08
"""Width of CALVIN's open gripper; ``robot_obs[6]`` of every dataset is ``gripper_open`` times this."""


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """What ``rel_actions`` mean, and how far apart the frames are.

    Attributes:
        robot: The robot that it was recorded on, with the sizes of its pictures.
        action_space: Meaning of ``rel_actions``; without normalisation.
        period_s: Seconds between two frames.
    """

    robot: RobotSnapshot
    action_space: ActionSpace
    period_s: float

    def __post_init__(self) -> None:
        if self.period_s <= 0:
            raise ValueError(f"period_s must be above 0, found {self.period_s:g}")

    @classmethod
    def load(cls, dataset: Path | str) -> "DatasetCard":
        """Return the card in a dataset's folder; one of CALVIN's own folders has none and gets CALVIN's facts.

        Args:
            dataset: The folder that holds ``training`` and ``validation``.

        Raises:
            ConfigError: The file does not describe a dataset.
        """
        path = Path(dataset) / DATASET_FILE
        return load_config(path, cls) if path.exists() else CALVIN


CALVIN = DatasetCard(
    robot=RobotSnapshot(
        name="calvin",
        cameras={
            "static": PictureSize(width_px=200, height_px=200),
            "wrist": PictureSize(width_px=84, height_px=84),
        },
    ),
    action_space=ActionSpace(frame="base"),
    period_s=1.0 / 30.0,
)
"""CALVIN's simulator: 30 Hz, ``rel_actions`` in base axes at 0.02 m and 0.05 rad (Mees et al., 2022)."""
