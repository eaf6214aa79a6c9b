# SPDX-License-Identifier: Apache-2.0
"""Operator's knobs: the fields of a frozen dataclass as ROS parameters, described and bounded."""

from dataclasses import Field, field, fields
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from vla_core.errors import ConfigError

T = TypeVar("T")


def knob(
    default: Any,
    description: str,
    *,
    read_only: bool = False,
    one_of: tuple[str, ...] | None = None,
    range: tuple[float, float] | None = None,
    required: str | None = None,
) -> Any:
    """Return a field of a dataclass of knobs.

    Args:
        default: Value where none is given.
        description: What ROS tells about it.
        read_only: Whether it can only be given at start.
        one_of: Words that are allowed.
        range: Smallest and largest number that is allowed.
        required: What it is the path of; it may then not be empty.
    """
    metadata = {"description": description, "read_only": read_only, "one_of": one_of, "range": range}
    return field(default=default, metadata={**metadata, "required": required})


def declare_knobs(node: Node, kind: type[Any]) -> None:
    """Declare every knob of a dataclass on a node, and refuse values that do not fit when they are set."""
    known = {each.name: each for each in fields(kind)}

    def validate(parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            problem = _problem(known[parameter.name], parameter.value) if parameter.name in known else None
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        return SetParametersResult(successful=True)

    for each in known.values():
        node.declare_parameter(each.name, each.default, _descriptor(each.metadata))
    node.add_on_set_parameters_callback(validate)


def read_knobs(node: Node, kind: type[T]) -> T:
    """Return the values now.

    Raises:
        ConfigError: A value that was given at start is not allowed, or one that is required is missing.
    """
    values = {each.name: node.get_parameter(each.name).value for each in fields(kind)}  # type: ignore[arg-type]
    for each in fields(kind):  # type: ignore[arg-type]
        problem = _problem(each, values[each.name])
        if problem:
            raise ConfigError(problem)
        if each.metadata["required"] and not values[each.name]:
            raise ConfigError(f"parameter '{each.name}' is empty; give the path of {each.metadata['required']}")
    return kind(**values)


def _descriptor(metadata: Any) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=metadata["description"], read_only=metadata["read_only"])
    if metadata["one_of"]:
        descriptor.additional_constraints = f"one of {', '.join(metadata['one_of'])}"
    if metadata["range"]:
        low, high = metadata["range"]
        if isinstance(low, int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor


def _problem(each: "Field[Any]", value: Any) -> str | None:
    allowed = each.metadata["one_of"]
    if allowed and value not in allowed:
        return f"parameter '{each.name}' is '{value}'; allowed: {', '.join(allowed)}"
    return None
