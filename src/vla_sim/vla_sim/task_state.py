# SPDX-License-Identifier: Apache-2.0
"""The state of everything on the table, and its form as named scalars for transport."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vla_core.errors import VlaError
from vla_core.geometry import Pose
from vla_sim.scene.model import BLOCKS

_POSE_KEYS = ("x", "y", "z", "qx", "qy", "qz", "qw")


@dataclass(frozen=True, eq=False)
class TabletopState:
    """What a task may ask about.

    Attributes:
        drawer_m: How far the drawer is open.
        slider_m: Place of the slider on its rail, along base y; 0 is the middle.
        button_m: How far the button is pressed.
        is_button_down: Whether the button must come up before it switches the light again.
        is_light_on: Whether the light shines.
        blocks: Block name to its pose in base.
        held: The block between the fingers that both of them touch, or ``None``.
    """

    drawer_m: float
    slider_m: float
    button_m: float
    is_button_down: bool
    is_light_on: bool
    blocks: Mapping[str, Pose]
    held: str | None

    def to_scalars(self) -> tuple[list[str], list[float]]:
        """Return names and values: ``drawer``, ``slider``, ``button``, ``button_down``, ``light``, and of blocks.

        A block ``red_block`` gives ``red_block/x`` ... ``red_block/qw`` (metres, unit quaternion) and
        ``red_block/held`` (0 or 1).
        """
        names = ["drawer", "slider", "button", "button_down", "light"]
        values = [self.drawer_m, self.slider_m, self.button_m, float(self.is_button_down), float(self.is_light_on)]
        for block, pose in self.blocks.items():
            names += [f"{block}/{key}" for key in (*_POSE_KEYS, "held")]
            values += [*pose.position_m.tolist(), *pose.quat_xyzw.tolist(), float(self.held == block)]
        return names, values

    @classmethod
    def from_scalars(cls, names: Sequence[str], values: Sequence[float]) -> "TabletopState":
        """Return the state that ``to_scalars`` gave these names and values for.

        Raises:
            VlaError: A scalar is missing.
        """
        scalars = dict(zip(names, values, strict=False))
        try:
            poses = {block: np.array([scalars[f"{block}/{key}"] for key in _POSE_KEYS]) for block in BLOCKS}
            held = [block for block in BLOCKS if scalars[f"{block}/held"] > 0.5]
            return cls(
                drawer_m=scalars["drawer"],
                slider_m=scalars["slider"],
                button_m=scalars["button"],
                is_button_down=scalars["button_down"] > 0.5,
                is_light_on=scalars["light"] > 0.5,
                blocks={block: Pose.from_quat(pose[:3], pose[3:]) for block, pose in poses.items()},
                held=held[0] if held else None,
            )
        except KeyError as missing:
            raise VlaError(
                f"the task state has no scalar {missing}; found {', '.join(names) or 'none'}. Is this the topic "
                "'task_state' of the simulated robot?"
            ) from None
