# SPDX-License-Identifier: Apache-2.0
"""Where a model runs, by the word that a user says."""

from typing import Literal

import torch

from vla_core.errors import ConfigError

DeviceName = Literal["auto", "cpu", "cuda"]


def device_named(name: str) -> torch.device:
    """Return the device of a ``DeviceName``; ``auto`` takes a GPU where there is one.

    Raises:
        ConfigError: A GPU is asked for, and torch finds none.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ConfigError("device is 'cuda', but torch finds no GPU; use 'auto' or 'cpu'")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")
