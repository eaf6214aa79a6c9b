# SPDX-License-Identifier: Apache-2.0
"""The operator's knobs of the episode recorder: ROS parameters, described and bounded.

The shipped values are in ``config/episode_recorder.param.yaml``; a test holds both equal.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from vla_core.errors import ConfigError


def _knob(default: Any, description: str, **limits: Any) -> Any:
    return field(default=default, metadata={"description": description, "read_only": True, **limits})


@dataclass(frozen=True, kw_only=True)
class RecorderParameters:
    """Values of the parameters at one moment; each field's metadata describes it to ROS."""

    robot_spec: str = _knob("", "Path of the robot spec (config/robots/<robot>.yaml)")
    output_dir: str = _knob("", "Folder that gets one folder for each episode")
    storage: str = _knob("mcap", "Format of the bags", one_of=("mcap", "sqlite3"))
    compression: str = _knob("lz4", "Compression of the chunks of an MCAP file", one_of=("none", "lz4", "zstd"))
    on_new_instruction: str = _knob(
        "ignore",
        "ignore: a new sentence on vla/instruction is only recorded; new_episode: it ends the episode and begins "
        "the next. An empty sentence ends the episode in both",
        one_of=("ignore", "new_episode"),
        read_only=False,
    )
    queue_mib: int = _knob(256, "Messages that may wait for the disk, MiB", range=(1, 65536))
    min_free_mib: int = _knob(
        1024, "Room on the disk below which no episode is begun, MiB", range=(16, 1048576), read_only=False
    )
    min_rate_share: float = _knob(
        0.9, "Share of a stream's rate below which the audit warns", range=(0.0, 1.0), read_only=False
    )
    max_gap_periods: float = _knob(
        5.0,
        "Periods of a stream without a message above which the audit warns",
        range=(1.0, 1000.0),
        read_only=False,
    )
    status_rate_hz: float = _knob(2.0, "Rate of ~/status and of the diagnostics", range=(0.2, 20.0))


_FIELDS = {knob.name: knob for knob in fields(RecorderParameters)}


def declare(node: Node) -> None:
    """Declare every parameter on ``node`` and refuse values that do not fit when they are set."""
    for knob in _FIELDS.values():
        node.declare_parameter(knob.name, knob.default, _descriptor(knob.metadata))
    node.add_on_set_parameters_callback(_validate)


def read(node: Node) -> RecorderParameters:
    """Return the values now.

    Raises:
        ConfigError: A value that was given at start is not allowed, or one that is required is missing.
    """
    values = {name: node.get_parameter(name).value for name in _FIELDS}
    for name, value in values.items():
        problem = _problem(name, value)
        if problem:
            raise ConfigError(problem)
    for name, meaning in {"robot_spec": "a robot spec (config/robots/*.yaml)", "output_dir": "a folder"}.items():
        if not values[name]:
            raise ConfigError(f"parameter '{name}' is empty; give the path of {meaning}")
    return RecorderParameters(**values)


def _descriptor(metadata: Any) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=metadata["description"], read_only=metadata["read_only"])
    if "one_of" in metadata:
        descriptor.additional_constraints = f"one of {', '.join(metadata['one_of'])}"
    if "range" in metadata:
        low, high = metadata["range"]
        if isinstance(low, int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor


def _validate(parameters: list[Parameter]) -> SetParametersResult:
    for parameter in parameters:
        problem = _problem(parameter.name, parameter.value) if parameter.name in _FIELDS else None
        if problem:
            return SetParametersResult(successful=False, reason=problem)
    return SetParametersResult(successful=True)


def _problem(name: str, value: Any) -> str | None:
    allowed = _FIELDS[name].metadata.get("one_of")
    if allowed and value not in allowed:
        return f"parameter '{name}' is '{value}'; allowed: {', '.join(allowed)}"
    return None
