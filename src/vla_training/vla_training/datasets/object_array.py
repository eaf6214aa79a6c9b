# SPDX-License-Identifier: Apache-2.0
"""Plain data out of the ``.npy`` object arrays in which CALVIN keeps its sentences, without running their code.

Such a file is a pickle, and a pickle can run any code. Here only numpy's own constructors are allowed.
"""

import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np

from vla_training.datasets.dataset_error import DatasetError

# Where numpy has kept the functions that rebuild an array or a number, in its versions 1 and 2.
_ALLOWED = {
    (f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("numpy._core.numeric", "_frombuffer"), ("_codecs", "encode")}
_ALLOWED |= {("numpy.core.numeric", "_frombuffer"), ("builtins", "tuple"), ("builtins", "list")}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}")
        return super().find_class(module, name)


def read_object(path: Path) -> Any:
    """Return the one Python object in an object array of shape ().

    Raises:
        DatasetError: The file is missing, damaged, or holds more than plain data.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # a damaged pickle fails in many ways
        raise DatasetError(f"{path}: not an object array of plain data: {error}. Copy the file again") from error


def _read(file: IO[bytes]) -> Any:
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read_header(file)
    if shape != () or dtype.kind != "O":
        raise ValueError(f"found shape {shape} of {dtype}, expected one object")
    array = _PlainUnpickler(file).load()
    return array.item()
