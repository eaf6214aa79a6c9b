# SPDX-License-Identifier: Apache-2.0
"""Speed of the simulation without ROS: ``python benchmarks/sim_realtime.py``. Medians of several rounds."""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from machine import machine

from vla_core.geometry import Pose
from vla_sim.arm_goals import PoseGoal
from vla_sim.cameras import Cameras
from vla_sim.tabletop import Tabletop

SIZES_PX = {"static": (200, 200), "wrist": (84, 84)}
RENDER_HZ = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print(machine())
    tabletop = Tabletop()
    home = tabletop.arm_state().pose_tcp_in_base
    steps_per_s = round(1.0 / tabletop.scene.model.opt.timestep)

    def move_for_a_second() -> None:
        for tick in range(50):
            sway = 0.05 * np.sin(2.0 * np.pi * tick / 50.0)
            place_m = home.position_m + np.array([0.0, sway, 0.0])
            tabletop.follow(PoseGoal(Pose(place_m, home.rotation)))
            tabletop.step(0.02)

    with Cameras(SIZES_PX) as cameras:

        def render_a_second() -> None:
            for _ in range(RENDER_HZ):
                cameras.render(tabletop.snapshot)

        def both() -> None:
            move_for_a_second()
            render_a_second()

        physics_s = _median_s(move_for_a_second, rounds)
        render_s = _median_s(render_a_second, rounds)
        both_s = _median_s(both, rounds)
    speed = 1.0 / physics_s
    print(f"physics with the arm's controller  {steps_per_s * speed:8.0f} steps/s ({speed:.0f} x real time)")
    print(f"both cameras                       {RENDER_HZ / render_s:8.0f} pairs/s")
    print(f"both, in one thread                {1.0 / both_s:8.1f} x real time at {RENDER_HZ} Hz cameras")


def _median_s(work: Callable[[], None], rounds: int) -> float:
    work()
    times_s = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        work()
        times_s.append(time.perf_counter() - began_s)
    return statistics.median(times_s)


if __name__ == "__main__":
    main()
