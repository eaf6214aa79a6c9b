# SPDX-License-Identifier: Apache-2.0
"""The arm's own kinematics, from its URDF. mink and MuJoCo are imported when kinematics are loaded, not before."""

from vla_core.kinematics.loading import load_kinematics

__all__ = ["load_kinematics"]
