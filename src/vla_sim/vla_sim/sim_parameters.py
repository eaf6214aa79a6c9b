# SPDX-License-Identifier: Apache-2.0
"""The parameters of ``sim_robot``: what there is, and which values are refused."""

from collections.abc import Iterable

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from vla_core.errors import VlaError
from vla_sim.appearance import RANDOMISED, check_randomised
from vla_sim.faults import FAULT_KINDS, MAX_DELAY_MS, check_delay_ms, check_fault
from vla_sim.tasks import TASKS, task_named


def declare_parameters(node: Node) -> None:
    """Declare all parameters; refuse wrong values that the node was started with.

    Raises:
        VlaError: A value from the command line or a parameter file is wrong.
    """
    fixed = [
        ("robot_spec", "", "Path of the robot spec, a YAML file. Required."),
        ("view", False, "Open a window on the scene, where there is a screen."),
    ]
    for name, default, text in fixed:
        node.declare_parameter(name, default, ParameterDescriptor(description=text, read_only=True))
    dynamic = [
        ("seed", 0, "Seed of the scene; takes effect at the next ~/reset."),
        (
            "task",
            "",
            f"Task whose start scene to use, or empty; takes effect at the next ~/reset: {', '.join(TASKS)}",
        ),
        (
            "randomise",
            [],
            "What of the looks the seed draws, a list of strings; takes effect at the next ~/reset: "
            f"{', '.join(RANDOMISED)}",
        ),
        ("fault.delay_ms", 200, f"Delay of the streams whose fault is 'delay', 0 to {MAX_DELAY_MS}."),
        *(
            (f"fault.{stream}", "none", f"Fault of {stream}: {', '.join(FAULT_KINDS[stream])}")
            for stream in FAULT_KINDS
        ),
    ]
    for name, default, text in dynamic:
        # To rclpy an empty list is one of bytes; a name without a type takes the strings that come.
        node.declare_parameter(
            name, default, ParameterDescriptor(description=text, dynamic_typing=name == "randomise")
        )
        _check(name, node.get_parameter(name).value)


def refuse_wrong_parameters(parameters: list[Parameter]) -> SetParametersResult:
    """Return whether the values may be set; the reason of a refusal is a sentence."""
    try:
        for parameter in parameters:
            _check(parameter.name, parameter.value)
    except VlaError as error:
        return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def _check(name: str, value: object) -> None:
    group, _, stream = name.partition(".")
    if name == "seed" and isinstance(value, int) and value < 0:
        raise VlaError(f"seed is {value}; it must be 0 or more")
    if name == "task" and value:
        task_named(str(value))
    if name == "randomise":
        _check_randomise(value)
    if name == "fault.delay_ms":
        check_delay_ms(value)
    elif group == "fault":
        check_fault(stream, value)


def _check_randomise(value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Iterable) or not all(isinstance(v, str) for v in value):
        raise VlaError(f"randomise is {value!r}; it must be a list of strings, for example [light, camera]")
    check_randomised(list(value))
