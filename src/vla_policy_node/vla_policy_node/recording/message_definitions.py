# SPDX-License-Identifier: Apache-2.0
"""Definitions of message types as ROS has installed them: what a bag embeds so that it can be read without ROS."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from vla_core.errors import ConfigError

_SEPARATOR = "=" * 80
_PRIMITIVES = {
    *("bool", "byte", "char", "float32", "float64", "string", "wstring"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
_FIELD = re.compile(r"^([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[A-Za-z]")


@dataclass(frozen=True)
class MessageDefinition:
    """One message type.

    Attributes:
        type: Its name, ``package/msg/Name``.
        text: Its ``.msg`` text followed by those of all types that it uses (MCAP's and rosbag2's ``ros2msg``).
        type_hash: Its RIHS01 hash.
    """

    type: str
    text: str
    type_hash: str


@cache
def message_definition(message_type: str) -> MessageDefinition:
    """Return the definition of a message type.

    Raises:
        ConfigError: Its package is not installed.
    """
    texts = {message_type: _text(message_type)}
    waiting = [message_type]
    while waiting:
        for used in _used_types(waiting.pop(), texts):
            if used not in texts:
                texts[used] = _text(used)
                waiting.append(used)
    first, *others = texts
    parts = [texts[first], *(f"MSG: {name.replace('/msg/', '/')}\n{texts[name]}" for name in others)]
    hashes = json.loads(_share(message_type, ".json").read_text(encoding="utf-8"))["type_hashes"]
    by_name = {entry["type_name"]: entry["hash_string"] for entry in hashes}
    return MessageDefinition(message_type, f"{_SEPARATOR}\n".join(parts), by_name[message_type])


def _used_types(message_type: str, texts: dict[str, str]) -> list[str]:
    package = message_type.split("/", maxsplit=1)[0]
    found = []
    for line in texts[message_type].splitlines():
        match = _FIELD.match(line.strip())
        if match and match[1] not in _PRIMITIVES:
            *owner, name = match[1].split("/")
            found.append(f"{owner[0] if owner else package}/msg/{name}")
    return found


def _text(message_type: str) -> str:
    text = _share(message_type, ".msg").read_text(encoding="utf-8")
    return text if text.endswith("\n") else f"{text}\n"


def _share(message_type: str, suffix: str) -> Path:
    package, _, name = message_type.split("/")
    try:
        path = Path(get_package_share_directory(package)) / "msg" / f"{name}{suffix}"
    except PackageNotFoundError:
        raise ConfigError(
            f"message type '{message_type}': package '{package}' is not installed; install it"
        ) from None
    if not path.is_file():
        raise ConfigError(f"message type '{message_type}': {path} does not exist; install '{package}' again")
    return path
