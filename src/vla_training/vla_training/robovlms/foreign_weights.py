# SPDX-License-Identifier: Apache-2.0
"""Weights from other projects: one file to a dictionary of tensors. Nothing in a file is ever run.

``.pt`` and ``.ckpt`` are pickles, which can hold code. They are read by torch's restricted unpickler: tensors,
plain values, and the few classes of ``_harmless`` that Lightning and DeepSpeed leave beside the weights.
"""

import collections
import pathlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vla_core.errors import CheckpointError

STATE_DICT_KEYS = ("state_dict", "model_state_dict", "module")
_ZIP_MAGIC = b"PK\x03\x04"
_SAVE_AGAIN = "Save the weights alone where they were made: torch.save({'state_dict': model.state_dict()}, file)"


@dataclass(frozen=True, eq=False)
class ForeignWeights:
    """What a file holds.

    Attributes:
        tensors: By the file's own names; memory-mapped where the format allows it.
        others: Entries that are no weights, each with the reason.
    """

    tensors: Mapping[str, Tensor]
    others: Mapping[str, str]


class _Ignored:
    """Stands for an object of a library that is not installed; it takes what it is given and does nothing."""

    def __new__(cls, *args: Any) -> "_Ignored":
        return super().__new__(cls)

    def __init__(self, *args: Any) -> None:
        """Forget the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Forget the state."""


def _empty_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _empty_list(*_: Any) -> list[Any]:
    return []


def read_foreign_weights(path: Path) -> ForeignWeights:
    """Return the tensors in a ``.pt``, ``.ckpt`` or ``.safetensors`` file.

    Raises:
        CheckpointError: There is no such file, it is a directory, damaged, holds code, or holds no weights.
    """
    _require_file(path)
    if path.suffix == ".safetensors":
        try:
            return ForeignWeights(load_file(path), {})
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path}: damaged or cut short ({_first_line(error)}); copy it again") from error
    return _find_state_dict(path, _unpickle(path))


def _require_file(path: Path) -> None:
    if path.is_dir():
        if any(path.glob("**/*_model_states.pt")) or (path / "latest").is_file():
            raise CheckpointError(
                f"{path}: a DeepSpeed checkpoint is a directory of pieces. Consolidate it first: "
                f"python zero_to_fp32.py {path.name} consolidated.pt (the script lies in that directory), "
                "then import the file"
            )
        raise CheckpointError(
            f"{path}: a directory. Give the .pt, .ckpt or .safetensors file; if DeepSpeed wrote the directory, "
            "consolidate it first with zero_to_fp32.py"
        )
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file. Give a RoboVLMs checkpoint (.pt, .ckpt or .safetensors)")


def _unpickle(path: Path) -> Any:
    is_zip = zipfile.is_zipfile(path)
    with path.open("rb") as file:
        begins_as_zip = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
    if begins_as_zip and not is_zip:
        raise CheckpointError(f"{path}: cut short: its table of contents is missing at the end; copy it again")
    if is_zip:
        _require_sound_archive(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless()):
            warnings.simplefilter("ignore")  # an unusual pickle is read or refused, nothing between
            return torch.load(path, map_location="cpu", mmap=is_zip, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: {_why_not_unpickled(error)}") from error
    except Exception as error:  # a damaged file surfaces in many ways: EOF, key, value, runtime errors
        kind = "a TorchScript archive" if "TorchScript" in str(error) else "damaged, cut short or no checkpoint"
        sentence = f"{path}: {kind} ({_first_line(error)}). Copy it again, or give a file that torch.save wrote"
        raise CheckpointError(sentence) from error


def _require_sound_archive(path: Path) -> None:
    """Refuse what memory-mapping would take for numbers: torch checks no sums and unpacks nothing then."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise CheckpointError(
                        f"{path}: its entry '{entry.filename}' is compressed, which torch.save never does. Give "
                        "the file as torch.save wrote it"
                    )
            damaged = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(f"{path}: damaged: {_first_line(error)}; copy it again") from error
    if damaged is not None:
        raise CheckpointError(f"{path}: damaged: '{damaged}' does not have its checksum; copy it again")


def _why_not_unpickled(error: Exception) -> str:
    detail = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    found = re.search(r"(?:GLOBAL|function|class) '?([\w.]+)", detail)
    if found and not detail.startswith("Unsupported operand"):
        return (
            f"holds the Python object '{found[1]}', which could run code; nothing of the file was run. Allowed "
            f"are tensors and plain values. {_SAVE_AGAIN}"
        )
    return (
        f"damaged, or a Python pickle that torch.save did not write ({detail.splitlines()[0][:120]}); nothing "
        f"of it was run. {_SAVE_AGAIN}"
    )


def _find_state_dict(path: Path, content: Any) -> ForeignWeights:
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: holds a {type(content).__name__}, expected a dictionary with {_or(STATE_DICT_KEYS)}. "
            f"{_SAVE_AGAIN}"
        )
    for key in STATE_DICT_KEYS:
        if isinstance(content.get(key), Mapping):
            beside = {str(other): "not weights: the file's other contents" for other in content if other != key}
            return _split(path, content[key], beside)
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return _split(path, content, {})
    found = ", ".join(str(key) for key in list(content)[:8]) or "nothing"
    raise CheckpointError(
        f"{path}: no weights in it: found {found}; expected the key {_or(STATE_DICT_KEYS)}. {_SAVE_AGAIN}"
    )


def _split(path: Path, entries: Mapping[Any, Any], beside: Mapping[str, str]) -> ForeignWeights:
    tensors = {str(key): value for key, value in entries.items() if isinstance(value, Tensor)}
    others = {str(key): f"no tensor: {type(value).__name__}" for key, value in entries.items()}
    others = {key: reason for key, reason in others.items() if key not in tensors}
    if not tensors:
        raise CheckpointError(f"{path}: its state dict holds no tensors. {_SAVE_AGAIN}")
    for key, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise CheckpointError(
                f"{path}: tensor '{key}' is sparse, quantised or without data; save it as a plain tensor"
            )
    return ForeignWeights(tensors, {**beside, **others})


def _harmless() -> list[Any]:
    """Return classes that real checkpoints hold and that can do nothing but hold a value."""
    numpy_scalar, numpy_array = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    allowed: list[Any] = [
        (_empty_dict, "collections.defaultdict"),
        (_empty_list, "collections.deque"),
        *(int, float, list, dict, set),  # what a defaultdict is made with
        pathlib.PurePosixPath,
        pathlib.PosixPath,
        (pathlib.PosixPath, "pathlib._local.PosixPath"),
        (_Ignored, "pathlib.WindowsPath"),
        np.dtype,
        np.ndarray,
        *{type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdgFDSU"},
    ]
    for module in ("numpy.core", "numpy._core"):  # the name changed with numpy 2
        allowed += [(numpy_scalar, f"{module}.multiarray.scalar")]
        allowed += [(numpy_array, f"{module}.multiarray._reconstruct")]
    allowed += [(collections.OrderedDict, f"{module}.AttributeDict") for module in _MODULES_OF_ATTRIBUTE_DICT]
    return allowed + [(_Ignored, name) for name in _IGNORED_CLASSES]


_MODULES_OF_ATTRIBUTE_DICT = (
    "lightning.fabric.utilities.data",
    "lightning.pytorch.utilities.parsing",
    "lightning_fabric.utilities.data",
    "pytorch_lightning.utilities.parsing",
)
_IGNORED_CLASSES = (
    "argparse.Namespace",
    "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler",
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.zero.config.ZeroStageEnum",
)


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
