# SPDX-License-Identifier: Apache-2.0
"""RoboVLMs' configuration files: JSON, each merged over its parent, and their values with the right type."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_core.actions.normalization import ARM_DIM
from vla_core.errors import CheckpointError

Config = Mapping[str, Any]


def read_robovlms_config(path: Path, _children: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return a JSON configuration merged over those that its ``parent`` names.

    Raises:
        CheckpointError: A file is missing or is no JSON object, or is its own parent.
    """
    if path.resolve() in _children:
        raise CheckpointError(f"{path}: is its own parent; remove the key 'parent' from one of the files")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))  # editors of Windows write a mark in front
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file. Give the JSON configuration of the training run") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(found).__name__}")
    if not found.get("parent"):
        return found
    parent = _find_parent(path, str(found["parent"]))
    return _merge(read_robovlms_config(parent, (*_children, path.resolve())), found)


def section(config: Config, key: str) -> Config:
    """Return a part of a configuration that holds keys itself.

    Raises:
        CheckpointError: It is missing or something else.
    """
    if not isinstance(config.get(key), Mapping):
        raise CheckpointError(f"{key} must be a section, found {config.get(key)!r}: the file is no policy's")
    return config[key]  # type: ignore[no-any-return]


def integer(config: Config, key: str, default: int | None = None) -> int:
    """Return a whole number.

    Raises:
        CheckpointError: It is missing or something else.
    """
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise CheckpointError(f"{key} must be a whole number, found {value!r}")
    return value


def number(config: Config, key: str, default: float | None = None) -> float:
    """Return a number.

    Raises:
        CheckpointError: It is missing or something else.
    """
    return _finite(key, config.get(key, default))


def per_dimension(config: Config, key: str, default: float) -> tuple[float, ...]:
    """Return one number per arm dimension, from one number or a list (the gripper's is left out).

    Raises:
        CheckpointError: It is missing or something else.
    """
    value = config.get(key, default)
    values = [value] * ARM_DIM if isinstance(value, (int, float)) else value
    if not isinstance(values, list) or len(values) not in (ARM_DIM, ARM_DIM + 1):
        raise CheckpointError(f"{key} must be a number or a list of {ARM_DIM}, found {value!r}")
    return tuple(_finite(key, number) for number in values[:ARM_DIM])


def _finite(key: str, value: Any) -> float:
    """Return a value that JSON, as Python reads it, may also hold as NaN, Infinity or any length of digits."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return float(value)
    raise CheckpointError(f"{key} must be a finite number, found {str(value)[:40]}")


def _find_parent(path: Path, parent: str) -> Path:
    """Return the file that ``parent`` means: the original looks from its repository, where the file may lie."""
    for folder in (path.parent, *path.resolve().parents, Path()):
        if (folder / parent).is_file():
            return folder / parent
    raise CheckpointError(f"{path}: its parent '{parent}' is not there; copy that file too, beside it")


def _merge(below: dict[str, Any], above: Config) -> dict[str, Any]:
    """Return ``above`` over ``below``, section by section; ``__override__`` replaces a section."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict) and not value.get("__override__"):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged
