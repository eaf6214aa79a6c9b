# SPDX-License-Identifier: Apache-2.0
"""The beginning of a CALVIN sequence as numbers for the simulator.

As ``get_env_state_for_initial_condition`` of mees/calvin (``evaluation/utils.py``): blocks lie where the words
say, turned by angles that are drawn from a seed, which is a hash of the words. The hash is ``pyhash.fnv1_32``, of
a package that does not build on current Pythons.
"""

import numpy as np

from vla_core.geometry import FloatArray
from vla_training.evaluation.calvin.sequences import State

_ROBOT = (
    *(0.02586889, -0.2313129, 0.5712808, 3.09045411, -0.02908596, 1.50013585, 0.07999963),
    *(-1.21779124, 1.03987629, 2.11978254, -2.34205014, -0.87015899, 1.64119093, 0.55344928, 1.0),
)
_SLIDER_PLACES = {
    "slider_left": (-2.40851662e-01, 9.24044687e-02, 4.60990009e-01),
    "slider_right": (7.03416330e-02, 9.24044687e-02, 4.60990009e-01),
}
_TABLE_PLACES = (
    (5.00000896e-02, -1.20000177e-01, 4.59990009e-01),
    (2.29995412e-01, -1.19995140e-01, 4.59990010e-01),
)
_TURN_RAD = (np.pi / 2 - np.pi / 8, np.pi / 2 + np.pi / 8)
_SCENE_DIM = 24
_FNV_PRIME = 0x01000193


def simulator_state(start: State) -> tuple[FloatArray, FloatArray]:
    """Return ``robot_obs`` (15,) and ``scene_obs`` (24,) of a beginning, as CALVIN's environment resets to them.

    Args:
        start: Words and switches, in the order of CALVIN's keys: the order is part of what is hashed.
    """
    random = np.random.RandomState(fnv1_32(str(start.values())))
    places = list(_TABLE_PLACES)
    random.shuffle(places)
    scene = np.zeros(_SCENE_DIM)
    scene[0] = 0.28 if start["slider"] == "left" else 0.0
    scene[1] = 0.22 if start["drawer"] == "open" else 0.0
    scene[3] = 0.088 if start["lightbulb"] == 1 else 0.0
    scene[4], scene[5] = float(start["lightbulb"]), float(start["led"])
    second = 1 if start["red_block"] == "table" else 0  # the red block takes the first place on the table
    for column, block, place in ((6, "red_block", 0), (12, "blue_block", second), (18, "pink_block", 1)):
        at_slider = _SLIDER_PLACES.get(str(start[block]))
        scene[column : column + 3] = places[place] if at_slider is None else at_slider
        scene[column + 5] = random.uniform(*_TURN_RAD)
    return np.array(_ROBOT), scene


def fnv1_32(text: str) -> int:
    """Return the 32-bit FNV-1 hash of a text's UTF-16 (little-endian) bytes, begun at 0 as ``pyhash`` begins it.

    Fowler, Noll and Vo, http://www.isthe.com/chongo/tech/comp/fnv/: multiply by the prime, then xor the byte.
    """
    value = 0
    for byte in text.encode("utf-16-le"):
        value = (value * _FNV_PRIME & 0xFFFFFFFF) ^ byte
    return value
