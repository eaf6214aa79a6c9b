# SPDX-License-Identifier: Apache-2.0
"""Where the fixed furniture of the scene is, for whoever acts in it from the task state alone."""

from dataclasses import dataclass
from functools import cache

import mujoco
import numpy as np

from vla_core.geometry import FloatArray
from vla_sim.scene.model import load_scene
from vla_sim.task_state import TabletopState

_DRAWER_AXIS = np.array([0.0, -1.0, 0.0])
_SLIDER_AXIS = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True, eq=False)
class Layout:
    """Points of the furniture in base, metres, with drawer shut and slider in the middle.

    Attributes:
        handle_m: (3,) middle of the drawer's handle.
        knob_m: (3,) middle of the slider's knob.
        button_m: (3,) middle of the button.
    """

    handle_m: FloatArray
    knob_m: FloatArray
    button_m: FloatArray

    def handle_at(self, state: TabletopState) -> FloatArray:
        """Return where the handle is now."""
        return self.handle_m + state.drawer_m * _DRAWER_AXIS

    def knob_at(self, state: TabletopState) -> FloatArray:
        """Return where the knob is now."""
        return self.knob_m + state.slider_m * _SLIDER_AXIS


@cache
def scene_layout() -> Layout:
    """Return the layout, read from the model."""
    model = load_scene().model
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    handle_m, knob_m, button_m = (data.geom(name).xpos.copy() for name in ("handle", "knob", "button"))
    return Layout(handle_m=handle_m, knob_m=knob_m, button_m=button_m)
