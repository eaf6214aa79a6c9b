# SPDX-License-Identifier: Apache-2.0
"""Draw the scene that an episode starts from. Equal seeds and tasks give equal scenes."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from vla_core.geometry import FloatArray, Pose
from vla_sim.scene.model import BLOCK_SIZE_M, BLOCKS, HOME_RAD
from vla_sim.task_state import TabletopState
from vla_sim.tasks import SIDE_SIGN, StartScene

BLOCK_AREA_MIN_M = np.array([0.37, -0.15])
BLOCK_AREA_MAX_M = np.array([0.55, 0.05])
BLOCK_DISTANCE_M = 0.10  # leaves room for the open fingers around a block, at any angle
LANE_AHEAD_M, LANE_BEHIND_M, LANE_HALF_WIDTH_M = 0.18, 0.13, 0.09
HOME_SPREAD_RAD = 0.04
OTHER_DRAWER_OPEN_SHARE = 0.35  # the drawer must not give away which task is asked for


@dataclass(frozen=True, eq=False)
class StartState:
    """Everything that a reset sets.

    Attributes:
        joints_rad: (7,) arm joints.
        tabletop: The things on the table.
    """

    joints_rad: FloatArray
    tabletop: TabletopState


def draw_start(seed: int, required: StartScene) -> StartState:
    """Return a random start state that fulfils the requirement."""
    rng = np.random.default_rng(seed)
    joints_rad = HOME_RAD + rng.uniform(-HOME_SPREAD_RAD, HOME_SPREAD_RAD, 7)
    is_drawer_open = rng.random() < OTHER_DRAWER_OPEN_SHARE
    drawer_m = rng.uniform(*(required.drawer_m or ((0.10, 0.14) if is_drawer_open else (0.0, 0.0))))
    slider_m = rng.uniform(*(required.slider_m or (-0.10, 0.10)))
    is_light_on = bool(rng.random() < 0.5) if required.is_light_on is None else required.is_light_on
    tabletop = TabletopState(
        drawer_m=drawer_m,
        slider_m=slider_m,
        button_m=0.0,
        is_button_down=False,
        is_light_on=is_light_on,
        blocks=_draw_blocks(rng, required),
        held=None,
    )
    return StartState(joints_rad, tabletop)


def _draw_blocks(rng: np.random.Generator, required: StartScene) -> dict[str, Pose]:
    while True:
        places = rng.uniform(BLOCK_AREA_MIN_M, BLOCK_AREA_MAX_M, (len(BLOCKS), 2))
        yaws_rad = rng.uniform(-np.pi / 4, np.pi / 4, len(BLOCKS))
        if _has_room(places) and _has_free_lane(places, required):
            break
    return {
        name: Pose(np.array([*place, BLOCK_SIZE_M / 2]), Rotation.from_euler("z", yaw))
        for name, place, yaw in zip(BLOCKS, places, yaws_rad, strict=True)
    }


def _has_room(places: FloatArray) -> bool:
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
    return bool(np.all(gaps[np.triu_indices(len(places), 1)] > BLOCK_DISTANCE_M))


def _has_free_lane(places: FloatArray, required: StartScene) -> bool:
    if required.free_lane is None:
        return True
    block, side = required.free_lane
    index = BLOCKS.index(block)
    apart = np.delete(places, index, axis=0) - places[index]
    ahead_m = SIDE_SIGN[side] * apart[:, 1]
    is_in_lane = (np.abs(apart[:, 0]) < LANE_HALF_WIDTH_M) & (ahead_m < LANE_AHEAD_M) & (ahead_m > -LANE_BEHIND_M)
    return not bool(np.any(is_in_lane))
