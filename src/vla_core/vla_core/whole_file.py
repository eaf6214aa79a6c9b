# SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all, whenever the process is killed."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one step; what was there before stays until then."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(path)


def write_json(path: Path, data: Any) -> None:
    """Write plain data as JSON."""
    write_whole(path, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())


def write_yaml(path: Path, data: Any) -> None:
    """Write plain data as YAML."""
    write_whole(path, yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode())


def write_npy(path: Path, value: Any) -> None:
    """Write an array, or an object that numpy pickles, as ``.npy``."""
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    write_whole(path, buffer.getvalue())
