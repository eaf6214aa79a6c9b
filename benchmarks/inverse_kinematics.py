# SPDX-License-Identifier: Apache-2.0
"""Milliseconds that kinematics take: per pose, per command of a joint interface, per trajectory.

Usage: python benchmarks/inverse_kinematics.py

The arm is the simulated one. The path is a figure of eight of 20 cm at up to 0.3 m/s, with poses at 50 Hz.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import machine

from vla_core.geometry import Pose, distance_m
from vla_core.joint_following import JointFollower
from vla_core.joint_trajectory import TrajectoryPlanner
from vla_core.kinematics import load_kinematics
from vla_core.kinematics.solver import Kinematics
from vla_core.robot_spec import RobotSpec
from vla_core.types import PosePath

SPEC = Path(__file__).parents[1] / "config/robots/sim_arm.yaml"
PERIOD_NS = 20_000_000
ROUNDS = 1000


def main() -> None:
    print(machine())
    spec = RobotSpec.load(SPEC)
    kinematics = load_kinematics(spec, SPEC.parent)
    times_ns = {
        "Kinematics.forward": time_forward(kinematics),
        "Kinematics.approach, one command": time_approach(kinematics),
        "Kinematics.solve, from 0.3 rad away": time_solve(kinematics),
        "JointFollower.follow, one command": time_follower(spec, kinematics),
        "TrajectoryPlanner.plan, 1 s ahead": time_planner(spec, kinematics),
    }
    print(f"{'milliseconds':38} {'p50':>8} {'p99':>8}")
    for call, samples in times_ns.items():
        middle, high = np.percentile(samples, (50, 99)) / 1e6
        print(f"{call:38} {middle:8.3f} {high:8.3f}")


def figure_of_eight(kinematics: Kinematics, step: int) -> Pose:
    home, turn = kinematics.forward(kinematics.arm.posture_rad), 2.0 * np.pi * step / 160
    shift = np.array([0.0, 0.1 * np.sin(turn), 0.05 * np.sin(2.0 * turn)])
    return Pose(home.position_m + shift, home.rotation)


def time_forward(kinematics: Kinematics) -> list[int]:
    return [timed(lambda: kinematics.forward(kinematics.arm.posture_rad)) for _ in range(ROUNDS)]


def time_approach(kinematics: Kinematics) -> list[int]:
    times_ns, joints = [], kinematics.arm.posture_rad
    for step in range(ROUNDS):
        target = figure_of_eight(kinematics, step)
        began_ns = time.perf_counter_ns()
        joints = kinematics.approach(joints, target, 0.02)
        times_ns.append(time.perf_counter_ns() - began_ns)
        assert distance_m(kinematics.forward(joints), target) < 1e-4
    return times_ns


def time_solve(kinematics: Kinematics) -> list[int]:
    times_ns, random, arm = [], np.random.default_rng(0), kinematics.arm
    for _ in range(ROUNDS // 4):
        joints = random.uniform(arm.lower_rad, arm.upper_rad)
        target, start = kinematics.forward(joints), joints + random.uniform(-0.3, 0.3, len(joints))
        times_ns.append(timed(lambda start=start, target=target: kinematics.solve(start, target)))
    return times_ns


def time_follower(spec: RobotSpec, kinematics: Kinematics) -> list[int]:
    follower, posture = JointFollower(spec, kinematics), kinematics.arm.posture_rad
    targets = [figure_of_eight(kinematics, step) for step in range(ROUNDS)]
    return [
        timed(lambda step=step, target=target: follower.follow(target, posture, step * PERIOD_NS))
        for step, target in enumerate(targets)
    ]


def time_planner(spec: RobotSpec, kinematics: Kinematics) -> list[int]:
    planner, posture, times_ns = TrajectoryPlanner(spec, kinematics), kinematics.arm.posture_rad, []
    for step in range(0, ROUNDS, 5):
        now_ns, ahead = step * PERIOD_NS, range(step, step + 51)
        path = PosePath(PERIOD_NS * np.array(ahead), tuple(figure_of_eight(kinematics, k) for k in ahead))
        times_ns.append(timed(lambda path=path, now_ns=now_ns: planner.plan(path, posture, now_ns)))
    return times_ns


def timed(call: Callable[[], object]) -> int:
    began_ns = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - began_ns


if __name__ == "__main__":
    main()
