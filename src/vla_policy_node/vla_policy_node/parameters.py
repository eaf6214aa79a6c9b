# SPDX-License-Identifier: Apache-2.0
"""The operator's knobs: ROS parameters of the policy node, described and bounded.

Facts about the robot are in the robot spec, facts about the model in the checkpoint, not here. The shipped values
are in ``config/policy_node.param.yaml``; a test holds both equal.
"""

from dataclasses import dataclass, field, fields
from typing import Any, get_args

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from vla_core.chunk_schedule import ScheduleName
from vla_core.errors import ConfigError


def _knob(default: Any, description: str, **limits: Any) -> Any:
    return field(default=default, metadata={"description": description, **limits})


@dataclass(frozen=True, kw_only=True)
class PolicyNodeParameters:
    """Values of the parameters at one moment; each field's metadata describes it to ROS."""

    robot_spec: str = _knob("", "Path of the robot spec (config/robots/<robot>.yaml)", read_only=True)
    checkpoint: str = _knob("", "Directory of the checkpoint", read_only=True)
    device: str = _knob("auto", "Device of the model", one_of=("auto", "cpu", "cuda"), read_only=True)
    compile: bool = _knob(
        False,
        "Compile the model at configure: shorter ticks, but the start takes a minute or more",
        read_only=True,
    )
    alternate_cameras: bool = _knob(
        False, "Encode one camera per tick, in turn: cheaper, but the other picture is a tick old", read_only=True
    )
    command_enabled: bool = _knob(
        False, "Send commands to the robot; false is shadow mode: they go to ~/shadow/* and the arm is never moved"
    )
    schedule: str = _knob("first_action", "Which actions of a chunk are executed", one_of=get_args(ScheduleName))
    num_executed: int = _knob(1, "Actions of each chunk that receding_horizon executes", range=(1, 100))
    on_new_instruction: str = _knob(
        "reset", "What a new sentence does to history and to the rest of the chunk", one_of=("reset", "keep")
    )
    action_timeout_s: float = _knob(1.0, "Without a new action for longer the node holds", range=(0.05, 60.0))
    status_rate_hz: float = _knob(5.0, "Rate of ~/status between changes", range=(0.2, 50.0), read_only=True)
    autostart: bool = _knob(False, "Configure and activate at start", read_only=True)


_FIELDS = {knob.name: knob for knob in fields(PolicyNodeParameters)}


def declare(node: Node) -> None:
    """Declare every parameter on ``node`` and refuse values that do not fit when they are set."""
    for knob in _FIELDS.values():
        node.declare_parameter(knob.name, knob.default, _descriptor(knob.metadata))
    node.add_on_set_parameters_callback(_validate)


def read(node: Node) -> PolicyNodeParameters:
    """Return the values now.

    Raises:
        ConfigError: A value that was given at start is not allowed.
    """
    values = {name: node.get_parameter(name).value for name in _FIELDS}
    for name, value in values.items():
        problem = _problem(name, value)
        if problem:
            raise ConfigError(problem)
    return PolicyNodeParameters(**values)


def _descriptor(metadata: Any) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=metadata["description"], read_only=metadata.get("read_only", False)
    )
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
