# SPDX-License-Identifier: Apache-2.0
"""RoboVLMs' own "tcp frame", reproduced as it is.

Source: ``world_to_tcp_frame`` and ``tcp_to_world_frame`` in ``robovlms/data/data_utils.py``. Three things differ
from the physical tool frame and must stay so for its published checkpoints:

* the Euler angles of the robot state, which the simulator gives as ``Rz @ Ry @ Rx``, are read as ``Rx @ Ry @ Rz``;
* the rotation part is new-to-old, the opposite sign of a body-frame delta;
* rotations are scaled by a "pseudo-infinitesimal" 0.01 instead of 1/20.

Neither can be undone where the pseudo-infinitesimal passes a pitch of 90 degrees.

Both functions act on actions of CALVIN's scale (before un-normalisation, as the original does), and only the first
six columns change. Shapes: actions (..., 6 or more), euler_xyz_rad (..., 3), with the same leading shape.

The original's rounding errors are multiplied by 100, so only torch's own sine and cosine and the original's types
reproduce it: matrices have the dtype of ``actions``, and the angles of the robot state keep their own. float32
actions repeat the original bit for bit, float64 is exact. torch is imported when a function is called: a
checkpoint that needs this frame needs torch anyway.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from torch import Tensor

_PSEUDO_INFINITESIMAL = 0.01


def base_to_robovlms_tcp(actions: ArrayLike, euler_xyz_rad: ArrayLike) -> NDArray[Any]:
    """Return base-frame actions in RoboVLMs' tcp frame (``world_to_tcp_frame``)."""
    import torch

    action, euler = _as_tensors(actions, euler_xyz_rad)
    R_base_tcp = _matrix_from_euler(euler).to(action.dtype)
    R_base_new = _matrix_from_euler(euler + action[..., 3:6] * _PSEUDO_INFINITESIMAL).to(action.dtype)
    translation = _rotate(torch.inverse(R_base_tcp), action[..., :3])
    rotation = _wrap_once(_euler_from_matrix(torch.inverse(R_base_new) @ R_base_tcp))
    return _join(translation, rotation * (1 / _PSEUDO_INFINITESIMAL), action)


def robovlms_tcp_to_base(actions: ArrayLike, euler_xyz_rad: ArrayLike) -> NDArray[Any]:
    """Return actions of RoboVLMs' tcp frame in the base frame (``tcp_to_world_frame``)."""
    import torch

    action, euler = _as_tensors(actions, euler_xyz_rad)
    R_base_tcp = _matrix_from_euler(euler).to(action.dtype)
    R_new_tcp = _matrix_from_euler(action[..., 3:6] * _PSEUDO_INFINITESIMAL)
    translation = _rotate(R_base_tcp, action[..., :3])
    rotation = _wrap_once(_euler_from_matrix(R_base_tcp @ torch.inverse(R_new_tcp)) - euler)
    return _join(translation, rotation * (1 / _PSEUDO_INFINITESIMAL), action)


def _as_tensors(actions: ArrayLike, euler_xyz_rad: ArrayLike) -> "tuple[Tensor, Tensor]":
    import torch

    def as_tensor(values: ArrayLike) -> "Tensor":
        array = np.asarray(values)
        return torch.from_numpy(array.astype(np.float32 if array.dtype == np.float32 else np.float64))

    return as_tensor(actions), as_tensor(euler_xyz_rad)


def _join(translation: "Tensor", rotation: "Tensor", action: "Tensor") -> NDArray[Any]:
    import torch

    return torch.cat([translation, rotation, action[..., 6:]], dim=-1).numpy()


def _rotate(matrix: "Tensor", vector: "Tensor") -> "Tensor":
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _matrix_from_euler(euler: "Tensor") -> "Tensor":
    """Return (..., 3, 3) ``Rx(e0) @ Ry(e1) @ Rz(e2)`` (pytorch3d's "XYZ")."""
    import torch

    cos, sin = torch.cos(euler).unbind(-1), torch.sin(euler).unbind(-1)
    one, zero = torch.ones_like(cos[0]), torch.zeros_like(cos[0])

    def matrix(*entries: "Tensor") -> "Tensor":
        return torch.stack(entries, dim=-1).reshape(*one.shape, 3, 3)

    about_x = matrix(one, zero, zero, zero, cos[0], -sin[0], zero, sin[0], cos[0])
    about_y = matrix(cos[1], zero, sin[1], zero, one, zero, -sin[1], zero, cos[1])
    about_z = matrix(cos[2], -sin[2], zero, sin[2], cos[2], zero, zero, zero, one)
    return about_x @ about_y @ about_z


def _euler_from_matrix(matrix: "Tensor") -> "Tensor":
    """Return (..., 3) angles of pytorch3d's "XYZ"; like the original, gimbal lock has no special case."""
    import torch

    first = torch.atan2(-matrix[..., 1, 2], matrix[..., 2, 2])
    middle = torch.asin(matrix[..., 0, 2].clamp(-1.0, 1.0))
    last = torch.atan2(-matrix[..., 0, 1], matrix[..., 0, 0])
    return torch.stack([first, middle, last], dim=-1)


def _wrap_once(angles_rad: "Tensor") -> "Tensor":
    import torch

    down = torch.where(angles_rad > math.pi, angles_rad - 2 * math.pi, angles_rad)
    return torch.where(down < -math.pi, down + 2 * math.pi, down)
