# SPDX-License-Identifier: Apache-2.0
"""Weights on disk: one ``safetensors`` file, checked name by name before a model takes it.

A model is built without memory for weights (meta device) and the file's tensors become its parameters, so that a
large model is neither initialised at random first nor held twice. Tensors that a model ties together are written
once. Nothing is ever unpickled.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vla_core.errors import CheckpointError
from vla_core.model.lora import has_adapter, plain_tensors
from vla_core.model.tensor_file import require_weight, write_tensors
from vla_core.model.vla import VlaModel

Shape = tuple[int, ...]
_ADAPTER = "adapter"  # key in the file's metadata, so that a checkpoint without its adapter's folder is noticed


def load_weights(
    model: VlaModel, path: Path, *, device: torch.device, dtype: torch.dtype | None = None
) -> VlaModel:
    """Return the model with the weights of a file, on a device.

    Args:
        model: A model whose backbone is on the meta device.
        path: A ``safetensors`` file.
        device: Where the weights go.
        dtype: Floating-point type of the weights; ``None`` keeps the file's.

    Raises:
        CheckpointError: The file is missing, damaged, holds NaN or whole numbers, or its tensors are not those of
            the model.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; a checkpoint keeps its weights there")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            names = list(file.keys())
            found = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            require_same_tensors(found, shapes_of(stored_tensors(model)), where=str(path))
            tensors = {name: require_weight(file.get_tensor(name), name, dtype, where=str(path)) for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged or cut short ({error}); copy the checkpoint again") from error
    return assign_weights(model, tensors)


def assign_weights(model: VlaModel, tensors: Mapping[str, Tensor]) -> VlaModel:
    """Return the model with these tensors as its parameters; names and shapes must be right."""
    model.load_state_dict(dict(tensors), assign=True, strict=False)
    first = next(iter(tensors.values()))
    model.backbone.finish_loading(model.backbone.word_embedding.weight.dtype)  # type: ignore[arg-type]
    return model.to(first.device)


def stored_tensors(model: VlaModel, *, merge_adapter: bool = True) -> dict[str, Tensor]:
    """Return the tensors of a model as a checkpoint stores them: tied ones once, adapters added or left out."""
    once = {name for name, _ in model.named_parameters()}
    repeated = {name for name, _ in model.named_parameters(remove_duplicate=False)} - once
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name not in repeated}
    return plain_tensors(model, tensors, merge=merge_adapter)


def save_weights(model: VlaModel, path: Path, *, merge_adapter: bool = True) -> None:
    """Write a model's weights to a ``safetensors`` file, adapters added to them or left out."""
    tensors = stored_tensors(model, merge_adapter=merge_adapter)
    write_tensors(tensors, path, {_ADAPTER: "apart"} if has_adapter(model) and not merge_adapter else {})


def needs_adapter(path: Path) -> bool:
    """Return whether the weights of a file are without the adapter that belongs to them.

    Raises:
        CheckpointError: The file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return _ADAPTER in (file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged or cut short ({error}); copy the checkpoint again") from error


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Return the shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def require_same_tensors(found: Mapping[str, Shape], expected: Mapping[str, Shape], *, where: str) -> None:
    """Refuse tensors that are not exactly those of a model.

    Raises:
        CheckpointError: A tensor is missing, unexpected, or of another shape; the sentence names it.
    """
    missing = sorted(expected.keys() - found.keys())
    if missing:
        raise CheckpointError(
            f"{where}: {len(missing)} of {len(expected)} tensors are missing, first '{missing[0]}' "
            f"{expected[missing[0]]}. The file belongs to another model than model.yaml describes"
        )
    unexpected = sorted(found.keys() - expected.keys())
    if unexpected:
        raise CheckpointError(
            f"{where}: {len(unexpected)} unexpected tensors, first '{unexpected[0]}' {found[unexpected[0]]}. "
            "The file belongs to another model than model.yaml describes"
        )
    for name, shape in expected.items():
        if found[name] != shape:
            raise CheckpointError(
                f"{where}: tensor '{name}' has shape {found[name]}, model.yaml and backbone/config.json ask for "
                f"{shape}. They belong to different models"
            )
