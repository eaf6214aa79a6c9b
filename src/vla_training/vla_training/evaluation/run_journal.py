# SPDX-License-Identifier: Apache-2.0
"""What an evaluation has done so far: a journal whose first row says what it belongs to.

A run that is started again goes on; one with other settings is refused, so that numbers are never mixed.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vla_core.checkpoint import ADAPTER, CARD, TRAINING, WEIGHTS
from vla_core.journal import Journal, JournalError, Row

_NUM_SAMPLES, _SAMPLE_BYTES = 256, 1 << 16


def open_run(path: Path, identity: Mapping[str, Any], keys: Iterable[str] = ()) -> tuple[Journal, tuple[Row, ...]]:
    """Return the journal of a run and the rows that it has besides the first.

    Args:
        path: The file.
        identity: What must be the same when the run goes on; plain data.
        keys: What every other row holds.

    Raises:
        JournalError: The file belongs to another run, is damaged or in use.
    """
    journal = Journal(path)
    try:
        if not journal.rows:
            journal.append({"run": dict(identity)})
            return journal, ()
        _require_same(path, journal.rows[0].get("run"), dict(identity))
        _require_keys(path, journal.rows[1:], set(keys))
    except JournalError:
        journal.close()
        raise
    return journal, journal.rows[1:]


def checkpoint_identity(checkpoint: Path) -> dict[str, str]:
    """Return name and fingerprint of a checkpoint: the same wherever it lies.

    The fingerprint is made of its card, of what it was trained with and for how long, and of samples of its
    weights and adapters. Parts of them may be frozen, so the samples lie all over the files.
    """
    digest = hashlib.blake2b(digest_size=8)
    for path in (checkpoint / CARD, checkpoint / TRAINING):
        digest.update(path.read_bytes() if path.exists() else b"")
    for weights in sorted([checkpoint / WEIGHTS, *(checkpoint / ADAPTER).glob("*.safetensors")]):
        size = weights.stat().st_size
        digest.update(size.to_bytes(8, "little"))
        with weights.open("rb") as file:
            for sample in range(_NUM_SAMPLES):
                file.seek(max(0, size - _SAMPLE_BYTES) * sample // (_NUM_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return {"checkpoint": checkpoint.resolve().name, "fingerprint": digest.hexdigest()}


def digest_of(text: str) -> str:
    """Return 16 hexadecimal digits of a text."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _require_keys(path: Path, rows: Iterable[Row], keys: set[str]) -> None:
    for number, row in enumerate(rows, start=2):
        missing = sorted(keys - set(row))
        if missing:
            raise JournalError(f"{path}: line {number} lacks '{missing[0]}'. Remove that line; it is done again")


def _require_same(path: Path, found: Any, identity: dict[str, Any]) -> None:
    if not isinstance(found, dict):
        raise JournalError(f"{path}: no journal of an evaluation. Choose another --out")
    for key in sorted(set(found) | set(identity)):
        if found.get(key) != identity.get(key):
            raise JournalError(
                f"{path}: it belongs to a run with {key} = {found.get(key)!r}, this one has "
                f"{identity.get(key)!r}. Choose another --out"
            )
