# SPDX-License-Identifier: Apache-2.0
"""What both sides agree on before anything else: version, sizes, one msgpack map per message.

A message is one frame: a map with the field ``kind`` and the fields of that kind. Nothing in it is ever run.
"""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

import msgpack  # type: ignore[import-untyped]

from vla_core.errors import CodecError
from vla_core.remote.fields import Fields

PROTOCOL_VERSION = 1
"""Changes with every change of a message; both sides must have the same."""

TOKEN_BYTES = 16
MAX_REQUEST_BYTES = 64 * 2**20
"""Room for two pictures of 3840 x 2160 pixels."""
MAX_REPLY_BYTES = 2**20
MAX_VERSION_CHARS = 64
_MAX_ENTRIES = 1024
_MAX_KIND_CHARS = 16


def suite_version() -> str:
    """Return the version of the suite as it is installed."""
    try:
        return importlib.metadata.version("vla_core")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def check_versions(protocol: int, suite: str, theirs: str, ours: str) -> str | None:
    """Return why the other side cannot be talked to, or ``None``.

    Args:
        protocol: Protocol version of the other side.
        suite: Suite version of the other side.
        theirs: What the other side is.
        ours: What this side is.
    """
    if (protocol, suite) == (PROTOCOL_VERSION, suite_version()):
        return None
    return (
        f"{theirs} speaks protocol {protocol} (suite {suite}), {ours} speaks protocol {PROTOCOL_VERSION} "
        f"(suite {suite_version()}). Install the same version of the suite on both machines"
    )


def pack(kind: str, fields: Mapping[str, Any]) -> bytes:
    """Return a message as bytes."""
    packed: bytes = msgpack.packb({"kind": kind, **fields}, use_bin_type=True)
    return packed


def unpack(data: bytes, *, max_bytes: int) -> tuple[str, Fields]:
    """Return kind and fields of a received message.

    Args:
        data: The frame.
        max_bytes: Size that is allowed.

    Raises:
        CodecError: The bytes are no message.
    """
    if len(data) > max_bytes:
        raise CodecError(f"message: {len(data)} bytes found, at most {max_bytes} are allowed")
    try:
        plain = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_array_len=_MAX_ENTRIES,
            max_map_len=_MAX_ENTRIES,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        found = str(error)[:200] or type(error).__name__
        raise CodecError(f"message: {len(data)} bytes that are no msgpack map: {found}") from None
    fields = Fields(plain, "message")
    return fields.text("kind", _MAX_KIND_CHARS), fields
