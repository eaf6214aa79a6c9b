# SPDX-License-Identifier: Apache-2.0
"""How the scene looks in an episode: light, places of the cameras, table. Physics knows nothing of it.

Equal seeds give equal looks, and what is drawn for one thing does not depend on whether others are drawn, too.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from vla_core.errors import VlaError
from vla_core.geometry import FloatArray

Randomised = Literal["light", "camera", "table"]
RANDOMISED: tuple[Randomised, ...] = ("light", "camera", "table")
CAMERAS = ("static", "wrist")
SHIFT_M, TURN_RAD = 0.006, np.radians(0.6)
TABLES = ("wood", "tiles", "clouds", "speckles")
"""Materials of the model."""
_STREAM = 71


@dataclass(frozen=True, eq=False, kw_only=True)
class Light:
    """A lamp over the table and the light that comes from everywhere.

    Attributes:
        direction: (3,) from the lamp to the table, in base.
        rgb: (3,) strength of the lamp.
        ambient_rgb: (3,) strength of the light from everywhere.
        headlight_rgb: (3,) strength of the light from behind the camera.
    """

    direction: FloatArray
    rgb: FloatArray
    ambient_rgb: FloatArray
    headlight_rgb: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class CameraShift:
    """How far a camera is from its place.

    Attributes:
        offset_m: (3,) in the frame that carries the camera.
        turn_rad: (3,) rotation vector about the camera's own axes.
    """

    offset_m: FloatArray
    turn_rad: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """What the table is covered with.

    Attributes:
        material: One of ``TABLES``.
        rgb: (3,) colour that tints it.
        repeats: How often the pattern repeats along a side.
    """

    material: str
    rgb: FloatArray
    repeats: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Appearance:
    """How the scene looks; what is ``None`` or missing is as the model has it."""

    light: Light | None = None
    cameras: Mapping[str, CameraShift] = field(default_factory=dict)
    table: Table | None = None


PLAIN = Appearance()


def draw_appearance(seed: int, what: Collection[str]) -> Appearance:
    """Return how the scene of an episode looks.

    Args:
        seed: Seed of the episode.
        what: The things that are drawn, of ``RANDOMISED``; the others are as the model has them.

    Raises:
        VlaError: A thing cannot be drawn.
    """
    check_randomised(what)
    rng = {name: np.random.default_rng([seed, _STREAM, number]) for number, name in enumerate(RANDOMISED)}
    return Appearance(
        light=_draw_light(rng["light"]) if "light" in what else None,
        cameras={name: _draw_shift(rng["camera"]) for name in CAMERAS} if "camera" in what else {},
        table=_draw_table(rng["table"]) if "table" in what else None,
    )


def check_randomised(what: Collection[str]) -> None:
    """Refuse what cannot be drawn.

    Raises:
        VlaError: A thing is not of ``RANDOMISED``.
    """
    wrong = sorted(set(what) - set(RANDOMISED))
    if wrong:
        raise VlaError(f"randomise: '{wrong[0]}' cannot be drawn from the seed; allowed: {', '.join(RANDOMISED)}")


class Dresser:
    """Gives a model the looks of an episode. The model is the cameras' own.

    Args:
        model: The model; it is written to.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._table = model.geom("table").id
        self._head = model.vis.headlight
        self._plain = {name: getattr(model, name).copy() for name in _WRITTEN}
        self._plain_head = {name: getattr(self._head, name).copy() for name in ("ambient", "diffuse")}

    def dress(self, appearance: Appearance) -> None:
        """Let the model look so; nothing is left of what it looked like before."""
        for name, values in self._plain.items():
            getattr(self._model, name)[:] = values
        for name, values in self._plain_head.items():
            getattr(self._head, name)[:] = values
        if appearance.light is not None:
            self._shine(appearance.light)
        for name, shift in appearance.cameras.items():
            self._shift(self._model.camera(name).id, shift)
        if appearance.table is not None:
            self._cover(appearance.table)

    def _shine(self, light: Light) -> None:
        self._model.light_dir[0], self._model.light_diffuse[0] = light.direction, light.rgb
        self._head.ambient[:], self._head.diffuse[:] = light.ambient_rgb, light.headlight_rgb

    def _shift(self, camera: int, shift: CameraShift) -> None:
        self._model.cam_pos[camera] += shift.offset_m
        turned = Rotation.from_quat(np.roll(self._model.cam_quat[camera], -1))
        turned = turned * Rotation.from_rotvec(shift.turn_rad)
        self._model.cam_quat[camera] = np.roll(turned.as_quat(), 1)

    def _cover(self, table: Table) -> None:
        material = self._model.material(table.material).id
        self._model.geom_matid[self._table] = material
        self._model.mat_rgba[material] = [*table.rgb, 1.0]
        self._model.mat_texrepeat[material] = table.repeats


_WRITTEN = (
    *("light_dir", "light_diffuse", "cam_pos", "cam_quat"),
    *("geom_matid", "mat_rgba", "mat_texrepeat"),
)


def _draw_light(rng: np.random.Generator) -> Light:
    strength, evenness = rng.uniform(0.25, 0.8), rng.uniform(0.75, 1.25)
    tint = 1.0 + rng.uniform(-0.08, 0.08, 3)
    aside = rng.uniform(-0.8, 0.8, 2)
    direction = np.array([*aside, -1.0])
    return Light(
        direction=direction / np.linalg.norm(direction),
        rgb=strength * tint,
        ambient_rgb=0.35 * evenness * tint,
        headlight_rgb=0.45 * rng.uniform(0.6, 1.1) * tint,
    )


def _draw_shift(rng: np.random.Generator) -> CameraShift:
    return CameraShift(offset_m=rng.uniform(-SHIFT_M, SHIFT_M, 3), turn_rad=rng.uniform(-TURN_RAD, TURN_RAD, 3))


def _draw_table(rng: np.random.Generator) -> Table:
    """Draw a pale, dull cover: a table in the colour of a block would hide the block, for people too."""
    grey = rng.uniform(0.4, 0.8)
    return Table(
        material=str(rng.choice(TABLES)),
        rgb=np.clip(grey + rng.uniform(-0.1, 0.1, 3), 0.0, 1.0),
        repeats=float(rng.uniform(3.0, 16.0)),
    )
