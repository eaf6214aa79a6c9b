# SPDX-License-Identifier: Apache-2.0
"""Microseconds that the guard and the controller take, per command and per policy action.

Usage: python benchmarks/guard.py

Five commands to an action, as on the robot. The first row of each pair asks for what is allowed, the second for
far too much, so that there is something to clamp. A command should take under 400 us.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

from vla_core.actions.action_space import ActionSpace
from vla_core.controller import ActionController
from vla_core.geometry import Pose
from vla_core.guard import Guard
from vla_core.robot_spec import RobotSpec

SPEC = Path(__file__).parents[1] / "config/robots/sim_arm.yaml"
PERIOD_S = 0.1
ROUNDS = 3000
WARM_UP = 100
COMMANDS_PER_ACTION = 5
START = Pose.from_euler([0.45, 0.0, 0.3], [3.1, 0.05, 0.2])

Times = dict[str, list[int]]


def main() -> None:
    print(machine())
    spec = RobotSpec.load(SPEC)
    times_ns: Times = {}
    for name, size in (("allowed", 0.3), ("too much", 30.0)):
        time_guard(spec, size, name, times_ns)
        time_controller(spec, size, name, times_ns)
    print(f"{'microseconds':34} {'p50':>8} {'p99':>8}")
    for call, samples in sorted(times_ns.items()):
        middle, high = np.percentile(samples[WARM_UP:], (50, 99)) / 1e3
        print(f"{call:34} {middle:8.1f} {high:8.1f}")


def time_guard(spec: RobotSpec, size: float, name: str, times_ns: Times) -> None:
    """Time the guard alone on steps of ``size`` times what one command may do."""
    guard, rng = Guard(spec.limits, 1.0 / spec.command.rate_hz), np.random.default_rng(0)
    guard.begin(START)
    for _ in range(ROUNDS):
        offset_m, turn_rad = size * rng.uniform(-0.004, 0.004, 3), size * rng.uniform(-0.01, 0.01, 3)
        target = Pose.from_euler(START.position_m + offset_m, START.euler_xyz_rad + turn_rad)
        timed(times_ns, f"Guard.admit, {name}", lambda target=target: guard.admit(START, target))
        way = np.stack([size * rng.uniform(-0.1, 0.1, 3), np.zeros(3)])
        timed(
            times_ns,
            f"Guard.follow, {name}",
            lambda target=target, way=way: guard.follow(target, way, 0.02),
        )


def time_controller(spec: RobotSpec, size: float, name: str, times_ns: Times) -> None:
    """Time actions and the commands that follow from them; the measured pose is the one commanded last."""
    spec = replace(spec, command=replace(spec.command, reference="measured"))
    controller, rng, now_ns = (
        ActionController(spec, ActionSpace(frame="tcp"), PERIOD_S),
        np.random.default_rng(0),
        0,
    )
    controller.anchor(START, now_ns)
    measured = START
    for _ in range(ROUNDS // COMMANDS_PER_ACTION):
        action = np.append(size * rng.uniform(-1.0, 1.0, 6), 1.0)
        timed(
            times_ns,
            f"ActionController.begin, {name}",
            lambda a=action, m=measured, t=now_ns: controller.begin(a, m, t),
        )
        for _ in range(COMMANDS_PER_ACTION):
            now_ns += round(PERIOD_S / COMMANDS_PER_ACTION * 1e9)
            command = timed(times_ns, f"ActionController.command, {name}", lambda t=now_ns: controller.command(t))
        measured = command.pose_tcp_in_base


def timed(times_ns: Times, call: str, work: Callable[[], Any]) -> Any:
    began_ns = time.perf_counter_ns()
    result = work()
    times_ns.setdefault(call, []).append(time.perf_counter_ns() - began_ns)
    return result


if __name__ == "__main__":
    main()
