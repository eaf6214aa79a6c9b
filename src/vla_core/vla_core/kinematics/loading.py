# SPDX-License-Identifier: Apache-2.0
"""From a robot spec to its ``Kinematics``."""

from pathlib import Path
from typing import TYPE_CHECKING

from vla_core.errors import ConfigError
from vla_core.kinematics.arm import make_arm
from vla_core.robot_spec import RobotSpec

if TYPE_CHECKING:
    from vla_core.kinematics.solver import Kinematics


def load_kinematics(spec: RobotSpec, folder: Path, urdf_text: str | None = None) -> "Kinematics":
    """Return the kinematics of a robot.

    Args:
        spec: The robot.
        folder: Folder of the robot spec; ``kinematics.urdf`` is relative to it.
        urdf_text: What ``kinematics.urdf_topic`` said; ``None`` with ``kinematics.urdf``.

    Raises:
        ConfigError: The spec has no kinematics, the URDF is missing, damaged or does not fit, or mink is not
            installed.
    """
    kinematics = spec.kinematics
    if kinematics is None:
        raise ConfigError(f"robot spec '{spec.name}' has no section 'kinematics'; docs/robot_spec.md describes it")
    if kinematics.urdf is not None:
        path = folder / kinematics.urdf
        source, urdf_text = str(path), _read(path)
    else:
        source = f"URDF of topic '{kinematics.urdf_topic}'"
    if urdf_text is None:
        raise ConfigError(f"robot spec '{spec.name}': the {source} has not been heard; kinematics need it")
    arm = make_arm(spec, kinematics, urdf_text, source)
    try:
        from vla_core.kinematics.solver import Kinematics
    except ImportError as error:
        raise ConfigError(
            f"robot spec '{spec.name}': kinematics need the Python package '{error.name}', which is not "
            "installed; install mink, mujoco and daqp (requirements/python.txt), or command poses or twists"
        ) from error
    return Kinematics(arm)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"kinematics.urdf: {path} does not exist; the path is relative to the robot spec"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"kinematics.urdf: {path} cannot be read: {error}") from error
