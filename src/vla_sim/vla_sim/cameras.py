# SPDX-License-Identifier: Apache-2.0
"""Pictures of the scene, with a little sensor noise.

Noise keeps two honest pictures from being equal to the bit, as with a real sensor: a guard downstream can then
tell a frozen camera by its identical pictures. Equal seeds and states give equal pictures.
"""

from collections.abc import Iterable, Mapping
from types import TracebackType

import mujoco
import numpy as np
from numpy.typing import NDArray

from vla_core.geometry import Pose
from vla_core.robot_spec import RobotSpec
from vla_sim.appearance import PLAIN, Appearance, Dresser
from vla_sim.camera_model import PinholeCamera, optical_pose
from vla_sim.rendering_backend import select_rendering_backend
from vla_sim.scene.model import load_scene
from vla_sim.tabletop import Snapshot

Picture = NDArray[np.uint8]
LIGHT_ON_RGBA = (1.0, 0.95, 0.1, 1.0)
LIGHT_OFF_RGBA = (0.25, 0.25, 0.1, 1.0)
NOISE_GREY_LEVELS = 1.0
NOISE_MARGIN_PX = 32  # the tile is this much larger than the picture, which is cut out of it at a random place


class Cameras:
    """Renders snapshots. Create, use and close it in one thread: a GL context belongs to its thread.

    Args:
        sizes_px: Camera name to (width, height).
        seed: Seed of the sensor noise.
    """

    def __init__(self, sizes_px: Mapping[str, tuple[int, int]], seed: int = 0) -> None:
        select_rendering_backend()
        # A model of its own: physics may run on in another thread while this one draws.
        self._model = load_scene().model
        self._data = mujoco.MjData(self._model)
        self._dresser = Dresser(self._model)
        self._light = self._model.geom("light").id
        self._renderers: dict[str, mujoco.Renderer] = {}
        self._noise: dict[str, NDArray[np.int16]] = {}
        for name, (width, height) in sizes_px.items():
            self._renderers[name] = mujoco.Renderer(self._model, height, width)
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                self._renderers[name].scene.flags[int(flag)] = 0
        self.reset(seed)

    def __enter__(self) -> "Cameras":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def reset(self, seed: int, appearance: Appearance = PLAIN) -> None:
        """Start the sensor noise again from a seed, in a scene that looks so."""
        self.dress(appearance)
        self._rng = np.random.default_rng([seed, len(self._renderers)])
        self._offsets = dict.fromkeys(self._renderers, (-1, -1))
        for name, renderer in self._renderers.items():
            shape = (renderer.height + NOISE_MARGIN_PX, renderer.width + NOISE_MARGIN_PX, 3)
            grey_levels = self._rng.normal(0.0, NOISE_GREY_LEVELS, shape)
            self._noise[name] = np.rint(grey_levels).astype(np.int16)

    def dress(self, appearance: Appearance) -> None:
        """Let the scene look so from the next picture on; the sensor noise goes on."""
        self._dresser.dress(appearance)

    def render(self, snapshot: Snapshot, names: Iterable[str] | None = None) -> dict[str, Picture]:
        """Return camera name to (H, W, 3) uint8 RGB, for all cameras or for those named."""
        self._data.qpos[:] = snapshot.qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._model.geom_rgba[self._light] = LIGHT_ON_RGBA if snapshot.is_light_on else LIGHT_OFF_RGBA
        return {name: self._picture(name) for name in (self._renderers if names is None else names)}

    def pose_in_base(self, name: str) -> Pose:
        """Return the pose of a camera's optical frame in base, as of the last picture."""
        camera = self._data.camera(name)
        return optical_pose(camera.xpos, camera.xmat.reshape(3, 3))

    def close(self) -> None:
        """Give the GL contexts back."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers = {}

    def _picture(self, name: str) -> Picture:
        renderer = self._renderers[name]
        renderer.update_scene(self._data, camera=name)
        clean = renderer.render()
        row, column = self._offset(name)
        noise = self._noise[name][row : row + renderer.height, column : column + renderer.width]
        noisy: Picture = np.clip(clean + noise, 0, 255).astype(np.uint8)
        return noisy

    def _offset(self, name: str) -> tuple[int, int]:
        last = self._offsets[name]
        while self._offsets[name] == last:
            row, column = self._rng.integers(0, NOISE_MARGIN_PX, 2).tolist()
            self._offsets[name] = (row, column)
        return self._offsets[name]


def camera_intrinsics(sizes_px: Mapping[str, tuple[int, int]]) -> dict[str, PinholeCamera]:
    """Return camera name to its pinhole model. Renders nothing.

    Args:
        sizes_px: Camera name to (width, height).
    """
    model = load_scene().model
    return {
        name: PinholeCamera.from_field_of_view(width, height, float(model.camera(name).fovy[0]))
        for name, (width, height) in sizes_px.items()
    }


def spec_sizes_px(spec: RobotSpec) -> dict[str, tuple[int, int]]:
    """Return camera name to (width, height)."""
    return {name: (camera.width_px, camera.height_px) for name, camera in spec.cameras.items()}
