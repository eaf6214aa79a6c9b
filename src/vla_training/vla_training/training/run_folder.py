# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: everything that reproduces it and everything that it has made.

```
config.yaml       resolved settings             versions.yaml     what ran them, and where
metrics.jsonl     a line per logged step        tensorboard/      the same
plots/            curves                        data_check.html   what the model is shown
state.ckpt        to go on exactly              checkpoints/best, checkpoints/last    for the policy node
```
"""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from vla_core.config import read_yaml
from vla_core.errors import ConfigError
from vla_core.whole_file import write_yaml

_PACKAGES = ("torch", "transformers", "peft", "lightning", "numpy", "vla-core", "vla-training")
# What may change when a run goes on: how long and how it is watched, not what it computes.
_FREE = {
    "run": None,
    "optimization": ("epochs", "max_steps", "micro_batch_size"),
    "data": ("workers",),
}


@dataclass(frozen=True)
class RunFolder:
    """Names of what is in a run's folder.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """Resolved settings."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """A line of JSON per logged step."""
        return self.path / "metrics.jsonl"

    @property
    def state(self) -> Path:
        """What the run goes on with."""
        return self.path / "state.ckpt"

    def checkpoint(self, name: str) -> Path:
        """Return the directory of the checkpoint ``best`` or ``last``."""
        return self.path / "checkpoints" / name

    def begin(self, settings: dict[str, Any]) -> None:
        """Write what reproduces the run.

        Raises:
            ConfigError: The folder holds another run.
        """
        if self.config.exists():
            raise ConfigError(
                f"{self.path}: holds a run already. Go on with it (--resume), or choose another folder (--out)"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        write_yaml(self.path / "versions.yaml", versions())
        write_yaml(self.config, settings)

    def require_same(self, settings: dict[str, Any]) -> None:
        """Refuse to go on with settings that would compute something else.

        Raises:
            ConfigError: There is no run, or a setting differs; the sentence names it.
        """
        if not self.config.exists():
            raise ConfigError(f"{self.path}: holds no run to go on with; leave --resume out")
        old = read_yaml(self.config)
        for key in sorted(set(_flat(old)) | set(_flat(settings))):
            section, _, rest = key.partition(".")
            free = _FREE.get(section, ())
            if free is None or rest in free:
                continue
            before, now = _flat(old).get(key), _flat(settings).get(key)
            if before != now:
                raise ConfigError(
                    f"{self.path}: the run was begun with {key}: {before}, now it is {now}. Go on with the same "
                    "settings (only its length, micro_batch_size, workers and the section run may change), or "
                    "begin another run (--out)"
                )
        write_yaml(self.config, settings)


def versions() -> dict[str, Any]:
    """Return what runs here, and on what."""
    found = {name: metadata.version(name) for name in _PACKAGES if _is_installed(name)}
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "command": " ".join(sys.argv),
        "python": platform.python_version(),
        **found,
        "commit": _commit(),
        "devices": devices or [f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"],
    }


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {prefix: data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
