# SPDX-License-Identifier: Apache-2.0
"""Strict YAML into frozen dataclasses, and back.

An unknown key, a missing key, a wrong type, a duplicate or a contradiction is a ``ConfigError`` that names the
file, the dotted key, what was found, what is allowed, and a near spelling.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from vla_core.errors import ConfigError

T = TypeVar("T")


class _StrictLoader(yaml.SafeLoader):
    """A safe YAML loader that refuses a mapping with the same key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                line = node.value[position][0].start_mark.line + 1
                raise ConfigError(f"key '{key}' appears twice (line {line}); keep one of them")
        return super().construct_mapping(node, deep)


def load_config(path: Path | str, cls: type[T]) -> T:
    """Return the YAML file at ``path`` as an instance of dataclass ``cls``.

    Raises:
        ConfigError: The file is missing, is not YAML, or does not describe a ``cls``.
    """
    return build(cls, read_yaml(path), where=str(path))


def read_yaml(path: Path | str) -> Any:
    """Return the plain data of a YAML file; duplicate keys are an error.

    Raises:
        ConfigError: The file cannot be read or is not YAML.
    """
    path = Path(path)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. Give the path of an existing YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # PyYAML lets through what Python says of impossible dates, endless digits and endless nesting.
        raise ConfigError(f"{path}: not valid YAML: {error}") from error


def build(cls: type[T], data: Any, where: str = "config") -> T:
    """Return dataclass ``cls`` built from plain data, with every key and type checked.

    Args:
        cls: A frozen dataclass; its ``__post_init__`` may raise ``ValueError`` for contradictions.
        data: Mapping of field names to plain values.
        where: File name, or file name and dotted key, used to begin each error sentence.

    Raises:
        ConfigError: A key or a value does not fit ``cls``.
    """
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: expected a mapping of {cls.__name__}, found {data!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    _refuse_unknown_keys(data, fields, where)
    hints = typing.get_type_hints(cls)
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], _join(where, name))
        elif _is_required(field):
            raise ConfigError(f"{where}: missing key '{name}' ({_describe(hints[name])}); add it")
    try:
        return cls(**values)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def to_plain(value: Any) -> Any:
    """Return a dataclass as plain data that ``build`` turns back into an equal one."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def require_all_keys(value: Any, data: Any, where: str) -> None:
    """Refuse plain data in which a key of ``value`` was left to its default.

    For files that record facts: there a default would be a guess.

    Raises:
        ConfigError: A key is missing; the message names it.
    """
    plain = to_plain(value)
    if not isinstance(plain, dict) or not isinstance(data, Mapping):
        return
    for key in plain:
        if key not in data:
            raise ConfigError(f"{where}: missing key '{key}'; this file names every fact, nothing is guessed")
        if dataclasses.is_dataclass(getattr(value, key, None)):
            require_all_keys(getattr(value, key), data[key], _join(where, key))


def _refuse_unknown_keys(data: Mapping[Any, Any], known: Mapping[str, Any], where: str) -> None:
    for key in data:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"Allowed keys: {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key '{key}'. {hint}")


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _join(where: str, name: str) -> str:
    """Extend 'file.yaml' to 'file.yaml: a' and 'file.yaml: a' to 'file.yaml: a.b'."""
    return f"{where}.{name}" if ": " in where else f"{where}: {name}"


def _convert(want: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(want), get_args(want)
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, where)
    if dataclasses.is_dataclass(want):
        return build(typing.cast(type[Any], want), value, where)
    if origin is Literal:
        return _convert_literal(args, value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return _convert_tuple(args, value, where)
    if origin is dict and isinstance(value, Mapping):
        return {_convert(args[0], k, where): _convert(args[1], v, _join(where, k)) for k, v in value.items()}
    if want is float:
        return _convert_float(value, where)
    if want is Path and isinstance(value, str):
        return Path(value)
    if isinstance(want, type) and type(value) is want:
        return value
    raise ConfigError(f"{where}: expected {_describe(want)}, found {value!r}")


def _convert_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    wanted = [option for option in options if option is not type(None)]
    if len(wanted) > 1:
        matching = [option for option in wanted if type(value) is option]
        wanted = matching or wanted
    return _convert(wanted[0], value, where)


def _convert_literal(allowed: tuple[Any, ...], value: Any, where: str) -> Any:
    if value in allowed:
        return value
    close = difflib.get_close_matches(str(value), [str(option) for option in allowed], n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise ConfigError(f"{where}: must be one of {list(allowed)}, found {value!r}.{hint}")


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    items = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
    if len(items) != len(value):
        raise ConfigError(f"{where}: expected {len(items)} values, found {len(value)}: {value!r}")
    pairs = zip(items, value, strict=True)
    return tuple(_convert(item, entry, f"{where}[{i}]") for i, (item, entry) in enumerate(pairs))


def _convert_float(value: Any, where: str) -> float:
    # PyYAML follows YAML 1.1, which reads 1e-4 (no dot) as a string.
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise ConfigError(f"{where}: expected a finite number, found {value!r}")


def _describe(want: Any) -> str:
    if get_origin(want) is Literal:
        return f"one of {list(get_args(want))}"
    return getattr(want, "__name__", str(want)) if get_origin(want) is None else str(want)
