# SPDX-License-Identifier: Apache-2.0
"""Weights as numbers in a ``safetensors`` file, and what a weight must be."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from vla_core.errors import CheckpointError


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors, from wherever they are, to a new file."""
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(on_cpu, path, {"format": "pt", **(metadata or {})})
    path.chmod(0o644)  # safetensors writes files that only their owner can read


def require_weight(tensor: Tensor, name: str, dtype: torch.dtype | None, *, where: str) -> Tensor:
    """Return a weight in the type that it is run in.

    Args:
        tensor: As it is in a file.
        name: Its name there.
        dtype: Type that it is run in; ``None`` keeps its own.
        where: File name that begins each error sentence.

    Raises:
        CheckpointError: It holds whole numbers, NaN, Inf, or numbers that the type cannot hold.
    """
    if not tensor.is_floating_point():
        raise CheckpointError(f"{where}: tensor '{name}' is {tensor.dtype}, expected floating-point weights")
    # torch cannot ask this of types of 8 bits.
    if not bool(torch.isfinite(tensor.float() if tensor.itemsize < 2 else tensor).all()):
        raise CheckpointError(
            f"{where}: tensor '{name}' holds NaN or Inf; the training run diverged or the file is damaged. Take "
            "an earlier checkpoint"
        )
    weight = tensor if dtype is None else tensor.to(dtype)
    if weight.dtype != tensor.dtype and not bool(torch.isfinite(weight).all()):
        precision = str(weight.dtype).removeprefix("torch.")
        raise CheckpointError(
            f"{where}: tensor '{name}' holds numbers beyond {torch.finfo(weight.dtype).max:g}, the range of "
            f"{precision}, in which it is to be run. Choose a wider precision, or take an earlier checkpoint"
        )
    return weight
