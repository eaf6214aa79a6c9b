# SPDX-License-Identifier: Apache-2.0
"""Success of the scripted experts: ``python benchmarks/sim_experts.py [--seeds 5] [--first-seed 0] [TASK...]``.

Prints a line per task: successes, mean simulated duration, wall time per episode. Exits with 1 when fewer than ten
tasks reach 90 %.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

from machine import machine

from vla_core.robot_spec import RobotSpec
from vla_sim.episode import run_episode
from vla_sim.tabletop import Tabletop
from vla_sim.tasks import TASKS

SPEC = Path(__file__).parents[1] / "config/robots/sim_arm.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=list(TASKS), metavar="TASK")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    args = parser.parse_args()
    print(machine())
    spec, tabletop = RobotSpec.load(SPEC), Tabletop()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    reliable = 0
    print(f"{'task':24} {'success':>9} {'simulated':>10} {'wall':>8}   failed seeds")
    for task in args.tasks:
        began_s = time.perf_counter()
        results = [run_episode(tabletop, spec, task, seed) for seed in seeds]
        wall_s = (time.perf_counter() - began_s) / len(seeds)
        failed = [result.seed for result in results if not result.is_success]
        reliable += len(failed) <= 0.1 * len(seeds)
        duration_s = statistics.mean(result.duration_s for result in results)
        print(
            f"{task:24} {len(seeds) - len(failed):5}/{len(seeds):<3} {duration_s:8.1f} s {wall_s:6.2f} s   "
            f"{failed or ''}",
            flush=True,
        )
    print(f"{reliable} of {len(args.tasks)} tasks reach 90 %")
    return 0 if reliable >= min(10, len(args.tasks)) else 1


if __name__ == "__main__":
    sys.exit(main())
