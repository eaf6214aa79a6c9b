# SPDX-License-Identifier: Apache-2.0
"""MuJoCo's own window on the scene, for a person in front of a screen."""

import os
import sys

import mujoco

from vla_core.errors import VlaError
from vla_sim.scene.model import load_scene
from vla_sim.tabletop import Snapshot


class Viewer:
    """Shows snapshots in a window. Create and use it in one thread.

    Raises:
        VlaError: This machine has no screen.
    """

    def __init__(self) -> None:
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise VlaError(
                "parameter 'view' is true, but there is no screen: neither DISPLAY nor WAYLAND_DISPLAY is set. "
                "The robot runs without a window; set view to false, or start it in a desktop session"
            )
        from mujoco import viewer

        self._model = load_scene().model
        self._data = mujoco.MjData(self._model)
        self._window = viewer.launch_passive(self._model, self._data)

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot, as long as the window is open."""
        if self._window.is_running():
            self._data.qpos[:] = snapshot.qpos
            mujoco.mj_forward(self._model, self._data)
            self._window.sync()

    def close(self) -> None:
        """Close the window."""
        self._window.close()
