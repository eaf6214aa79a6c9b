# SPDX-License-Identifier: Apache-2.0
"""Policy actions in the words of SimplerEnv: metres, axis and angle, and each robot's gripper.

As RoboVLMs does it (``eval/simpler/model_wrapper.py``), which follows SimplerEnv's Octo wrapper: the gripper of
the google robot is moved relatively and its command is repeated, that of the WidowX answers late.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vla_core.actions.action_space import ActionSpace, calvin_action
from vla_core.errors import CheckpointError, VlaError
from vla_core.geometry import FloatArray

SimplerRobot = Literal["google_robot", "widowx_bridge"]

STICKY_REPEATS = 2
"""Steps for which the google robot repeats a command of the gripper."""
LATE_CLOSE = 2
"""Positive outputs in a row before the WidowX' gripper gets +1."""

_ACTION_DIM = 7
_CALVIN_SI = np.repeat([0.02, 0.05], 3)


@dataclass(frozen=True, eq=False)
class ActionStatistics:
    """Range that a dataset of Open X-Embodiment was normalised by.

    Attributes:
        low: (7,) value that -1 stands for (``q01``).
        high: (7,) value that +1 stands for (``q99``).
        mask: (7,) False where numbers were left as they are.
    """

    low: FloatArray
    high: FloatArray
    mask: NDArray[np.bool_]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the statistics in a JSON file as RoboVLMs and OpenVLA have it: ``{"action": {q01, q99, mask}}``.

        Raises:
            VlaError: It is not such a file.
        """
        try:
            action = json.loads(path.read_text(encoding="utf-8"))["action"]
            low, high = np.array(action["q01"], dtype=np.float64), np.array(action["q99"], dtype=np.float64)
            mask = np.array(action.get("mask", [True] * len(low)), dtype=np.bool_)
        except OSError as error:
            raise VlaError(f"{path}: cannot be read: {error.strerror}. Give a file of statistics") from error
        except (ValueError, TypeError, KeyError) as error:
            raise VlaError(f"{path}: needs 'action' with 'q01', 'q99' and perhaps 'mask' ({error!r})") from error
        if not low.shape == high.shape == mask.shape == (_ACTION_DIM,):
            raise VlaError(f"{path}: 'q01', 'q99' and 'mask' need {_ACTION_DIM} values each")
        return cls(low, high, mask)

    def unnormalize(self, action: FloatArray) -> FloatArray:
        """Return (7,) with -1 and +1 mapped to the range where ``mask`` says so."""
        mapped = 0.5 * (action + 1.0) * (self.high - self.low) + self.low
        return np.where(self.mask, mapped, action)


def require_simpler(space: ActionSpace) -> None:
    """Check that actions can be used without knowing where the tool is.

    Raises:
        CheckpointError: They cannot.
    """
    if space.frame != "base":
        raise CheckpointError(
            f"the checkpoint's actions are in frame '{space.frame}', which needs the measured pose; SimplerEnv's "
            "interface hands over pictures alone. Use a checkpoint with actions in frame 'base'"
        )


def raw_action(space: ActionSpace, action: NDArray[np.float32], statistics: ActionStatistics | None) -> FloatArray:
    """Return (7,): translation (m), roll, pitch, yaw (rad) and the gripper, -1 closed, +1 open.

    Args:
        space: Meaning of the action, in frame ``base``.
        action: A row of ``ActionChunk.actions``.
        statistics: Of the dataset, for a checkpoint that was trained on numbers normalised by them, as RoboVLMs'
            are; ``None`` takes the action space's own metres and radians.
    """
    units = calvin_action(space, action, np.zeros(3))
    if statistics is not None:
        return statistics.unnormalize(units)
    return np.append(units[:6] * _CALVIN_SI, units[6])


class StickyGripper:
    """The google robot's: +1 closes, -1 opens, 0 leaves it; a change is commanded ``STICKY_REPEATS`` times."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self._previous: float | None = None
        self._sticky = 0.0
        self._repeats = 0

    def command(self, opening: float) -> float:
        """Return the command for an opening: above 0.5 is open."""
        decision = 1.0 if opening > 0.5 else -1.0
        change = 0.0 if self._previous is None else self._previous - decision
        self._previous = decision
        if abs(change) > 0.5 and self._sticky == 0.0:
            self._sticky = change
        if self._sticky == 0.0:
            return change
        command = self._sticky
        self._repeats += 1
        if self._repeats == STICKY_REPEATS:
            self._sticky, self._repeats = 0.0, 0
        return command


class LateGripper:
    """The WidowX': +1 after ``LATE_CLOSE`` positive outputs in a row, else -1."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self._positive = 0

    def command(self, opening: float) -> float:
        """Return the command for an opening: above 0.5 is positive."""
        self._positive = self._positive + 1 if opening > 0.5 else 0
        return 1.0 if self._positive >= LATE_CLOSE else -1.0


Gripper = StickyGripper | LateGripper


def gripper_of(robot: SimplerRobot) -> Gripper:
    """Return a new gripper of a robot."""
    return StickyGripper() if robot == "google_robot" else LateGripper()


def environment_action(raw: FloatArray, gripper: Gripper) -> dict[str, FloatArray]:
    """Return what SimplerEnv's environment is sent; its rotation is extrinsic x-y-z, as transforms3d's ``sxyz``.

    Args:
        raw: (7,) from ``raw_action``.
        gripper: Of the robot; remembers.
    """
    return {
        "world_vector": raw[:3].copy(),
        "rot_axangle": np.asarray(Rotation.from_euler("xyz", raw[3:6]).as_rotvec(), dtype=np.float64),
        "gripper": np.array([gripper.command(float(raw[6]))]),
        "terminate_episode": np.array([0.0]),
    }


def raw_parts(raw: FloatArray) -> Mapping[str, Any]:
    """Return a raw action in the parts that SimplerEnv's tools draw."""
    return {"world_vector": raw[:3], "rotation_delta": raw[3:6], "open_gripper": raw[6:7]}
