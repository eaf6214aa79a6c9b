# SPDX-License-Identifier: Apache-2.0
"""What a frame is in LeRobot's words: names, types and shapes of its features, and the numbers of one frame.

Rotations are the first two columns of their matrix, as the model reads them (``vla_core.robot_state``), or
quaternions: neither jumps where an angle passes pi.
"""

from typing import Any

import numpy as np

from vla_core.actions.action_space import MOTION_NAMES
from vla_core.robot_spec import RobotSpec
from vla_core.robot_state import robot_state
from vla_training.conversion.episode_writer import DemonstrationFrame

STATE, ACTION, TARGET = "observation.state", "action", "target_pose"
GRIPPER_BEFORE, STAMP = "gripper_before", "stamp_ns"
PICTURES = "observation.images."
POSE_NAMES = ("x", "y", "z", "r11", "r21", "r31", "r12", "r22", "r32", "gripper_open")
ACTION_NAMES = (*MOTION_NAMES, "gripper_open")
TARGET_NAMES = ("x", "y", "z", "qx", "qy", "qz", "qw")
COUNTERS = ("frame_index", "episode_index", "index", "task_index")


def features_of(spec: RobotSpec, fps: int) -> dict[str, dict[str, Any]]:
    """Return the table ``features`` of ``info.json``.

    Args:
        spec: The robot.
        fps: Frames per second.
    """
    features: dict[str, dict[str, Any]] = {}
    for name, camera in spec.cameras.items():
        features[PICTURES + name] = {
            "dtype": "video",
            "shape": [camera.height_px, camera.width_px, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": camera.height_px,
                "video.width": camera.width_px,
                "video.codec": "h264",
                "video.pix_fmt": pixel_format(camera.width_px, camera.height_px),
                "video.is_depth_map": False,
                "video.fps": fps,
                "video.channels": 3,
                "has_audio": False,
            },
        }
    features[STATE] = _vector([*POSE_NAMES, *spec.joints.names])
    features[ACTION] = _vector(ACTION_NAMES)
    features[TARGET] = _vector(TARGET_NAMES)
    features[GRIPPER_BEFORE] = {"dtype": "float32", "shape": [1], "names": None}
    features[STAMP] = {"dtype": "int64", "shape": [1], "names": None}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    return features | {name: {"dtype": "int64", "shape": [1], "names": None} for name in COUNTERS}


def numbers_of(frame: DemonstrationFrame) -> dict[str, Any]:
    """Return the numbers of a frame by feature.

    ``observation.state`` (10 + J): TCP position in base (m), two columns of its rotation, opening, joints (rad).
    ``action`` (7): normalised motion as ``dataset.yaml`` says, opening asked for. ``target_pose`` (7): position
    (m) and quaternion that the action leads to.
    """
    seen, target = frame.observation, frame.pose_target_in_base
    quat = target.quat_xyzw
    return {
        STATE: np.concatenate([robot_state(seen), seen.joint_positions_rad]).astype(np.float32),
        ACTION: np.asarray(frame.action, dtype=np.float32),
        TARGET: np.concatenate([target.position_m, quat * np.copysign(1.0, quat[3])]).astype(np.float32),
        GRIPPER_BEFORE: np.float32(frame.gripper_before),
        STAMP: np.int64(seen.stamp_ns),
    }


def pixel_format(width_px: int, height_px: int) -> str:
    """Return how pictures are encoded; only even sizes can have halved colours."""
    return "yuv420p" if width_px % 2 == 0 and height_px % 2 == 0 else "yuv444p"


def _vector(names: Any) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [len(names)], "names": list(names)}
