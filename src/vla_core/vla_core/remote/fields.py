# SPDX-License-Identifier: Apache-2.0
"""The fields of a received message, taken one by one, each with its type and bounds; nothing may be left over."""

import math
from typing import Any

from vla_core.errors import CodecError

_MAX_NAME_CHARS = 64


class Fields:
    """Hands out the fields of one mapping strictly. Every method raises ``CodecError`` for what does not fit.

    Args:
        data: What msgpack gave.
        where: Begins each sentence.
    """

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
            raise CodecError(f"{where}: expected named fields, found {_brief(data)}")
        self._left: dict[str, Any] = dict(data)
        self.where = where

    def text(self, name: str, max_chars: int) -> str:
        """Return a string of at most ``max_chars`` characters."""
        value = self._take(name)
        if type(value) is not str or len(value) > max_chars:
            raise self._wrong(name, f"text of at most {max_chars} characters", value)
        return value

    def integer(self, name: str, low: int = -(2**63), high: int = 2**63 - 1) -> int:
        """Return a whole number of ``low`` to ``high``; by default of 64 bits."""
        value = self._take(name)
        if type(value) is not int or not low <= value <= high:
            raise self._wrong(name, f"a whole number from {low} to {high}", value)
        return value

    def number(self, name: str) -> float:
        """Return a finite number."""
        value = self._take(name)
        if type(value) is not float or not math.isfinite(value):
            raise self._wrong(name, "a finite float", value)
        return value

    def numbers(self, name: str, *, fewest: int, most: int) -> list[float]:
        """Return a list of ``fewest`` to ``most`` finite numbers."""
        value = self._take(name)
        if type(value) is not list or not fewest <= len(value) <= most:
            raise self._wrong(name, f"a list of {fewest} to {most} numbers", value)
        if not all(type(each) is float and math.isfinite(each) for each in value):
            raise self._wrong(name, "finite floats only", value)
        return value

    def binary(self, name: str, num_bytes: int) -> bytes:
        """Return exactly ``num_bytes`` bytes."""
        value = self._take(name)
        if type(value) is not bytes or len(value) != num_bytes:
            raise self._wrong(name, f"{num_bytes} bytes", value)
        return value

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self._take(name)
        if type(value) is not bool:
            raise self._wrong(name, "true or false", value)
        return value

    def inner(self, name: str) -> "Fields":
        """Return the fields of a field."""
        return Fields(self._take(name), f"{self.where}.{name}")

    def names(self, most: int) -> list[str]:
        """Return the names that are left, of which there are at most ``most``."""
        names = list(self._left)
        if len(names) > most or any(len(name) > _MAX_NAME_CHARS for name in names):
            raise CodecError(f"{self.where}: found {len(names)} names, at most {most} short ones are allowed")
        return names

    def plain(self, name: str) -> Any:
        """Return a field as it is, for a reader that checks it by itself."""
        return self._take(name)

    def end(self) -> None:
        """Refuse what nobody has taken."""
        if self._left:
            raise CodecError(f"{self.where}: unknown field {_brief(next(iter(self._left)))}")

    def _take(self, name: str) -> Any:
        if name not in self._left:
            raise CodecError(f"{self.where}: field '{name}' is missing")
        return self._left.pop(name)

    def _wrong(self, name: str, allowed: str, found: object) -> CodecError:
        return CodecError(f"{self.where}: field '{name}' must be {allowed}, found {_brief(found)}")


def _brief(value: object) -> str:
    """Describe a value without repeating megabytes of it."""
    if isinstance(value, (bytes, str, list, dict)) and len(value) > 40:
        return f"{type(value).__name__} of length {len(value)}"
    return f"{type(value).__name__} {value!r}"[:200]
