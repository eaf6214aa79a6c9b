# SPDX-License-Identifier: Apache-2.0
"""Where the things are that a task's sentences name, on the table and in the pictures: labels for training."""

from collections.abc import Mapping

import numpy as np

from vla_core.geometry import FloatArray, Pose
from vla_sim.camera_model import PinholeCamera
from vla_sim.scene.layout import scene_layout
from vla_sim.task_state import TabletopState
from vla_sim.tasks import DrawerMoved, InDrawer, Lifted, LightTurned, Pushed, SliderMoved, Stacked, Task

SLOTS = ("acted_on", "goes_to")
_NEAREST_M = 0.01  # a camera shows nothing that is nearer, or behind it
_NOWHERE = np.full(3, np.nan)


def named_places(task: Task, state: TabletopState) -> FloatArray:
    """Return (2, 3) places in base, metres, in the order of ``SLOTS``; NaN where a task names no second thing."""
    layout = scene_layout()
    match task.is_success:
        case Lifted(block) | Pushed(block, _):
            return np.stack([state.blocks[block].position_m, _NOWHERE])
        case Stacked(upper, lower):
            return np.stack([state.blocks[upper].position_m, state.blocks[lower].position_m])
        case InDrawer(block):
            return np.stack([state.blocks[block].position_m, layout.handle_at(state)])
        case DrawerMoved():
            return np.stack([layout.handle_at(state), _NOWHERE])
        case SliderMoved():
            return np.stack([layout.knob_at(state), _NOWHERE])
        case LightTurned():
            return np.stack([layout.button_m, _NOWHERE])
        case other:
            raise TypeError(f"nothing is known about the places of {other}")


def in_pictures(
    places_m: FloatArray, cameras: Mapping[str, PinholeCamera], poses: Mapping[str, Pose]
) -> FloatArray:
    """Return (C, K, 2) shares of width and height at which cameras see K places; NaN where they cannot.

    Args:
        places_m: (K, 3) places in base.
        cameras: Camera name to its model.
        poses: Camera name to the pose of its optical frame in base.
    """
    return np.stack([_in_picture(places_m, camera, poses[name]) for name, camera in cameras.items()])


def _in_picture(places_m: FloatArray, camera: PinholeCamera, pose: Pose) -> FloatArray:
    in_camera = pose.rotation.inv().apply(places_m - pose.position_m)
    depth_m = in_camera[:, 2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = camera.focal_px * in_camera[:, :2] / depth_m
    shares = pixels / [camera.width_px, camera.height_px] + 0.5
    return np.where(depth_m > _NEAREST_M, shares, np.nan)
