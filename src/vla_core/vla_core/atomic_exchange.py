# SPDX-License-Identifier: Apache-2.0
"""Two directories swap names in one step, where the operating system can do that."""

import ctypes
import os
from pathlib import Path

_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100  # fcntl.h: a relative path begins at the working directory


def exchange(first: Path, second: Path) -> bool:
    """Swap the names of two existing paths; no one ever finds either name missing.

    Returns:
        False where kernel or file system cannot do it; then nothing has happened.
    """
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    status: int = rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    return status == 0
