# SPDX-License-Identifier: Apache-2.0
"""Run the demo: an untrained model moves the arm for a few seconds, then the expert carries out three sentences.

Every sentence goes the whole way: cameras and topics of a simulated robot in one process, the policy node in
another, guarded commands back to the robot.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from demo.processes import DemoError
from vla_sim.rendering_backend import RenderingError, chosen_backend

ROOT = Path(__file__).resolve().parents[1]
ROBOT = ROOT / "config" / "robots" / "sim_arm.yaml"
UNTRAINED_SENTENCE = "open the drawer"
UNTRAINED_S = 6.0
# The drawer is shut when this task begins; with the default seed the light is off, too.
SCENE = "open_drawer"
EXPERT_SENTENCES = ("open the drawer", "put the pink block in the drawer", "turn on the light")
SENTENCE_LIMIT_S = 45.0


def main() -> int:
    """Return 0 when everything worked, otherwise print the reason."""
    arguments = _arguments()
    # A domain of its own: no real robot on the network can hear a demo.
    os.environ.setdefault("ROS_DOMAIN_ID", str(10 + os.getpid() % 90))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")

    began = time.monotonic()
    try:
        is_success = _run(arguments)
    except (DemoError, RenderingError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print(f"\ndone in {time.monotonic() - began:.0f} s")
    return 0 if is_success else 1


def _run(arguments: argparse.Namespace) -> bool:
    """Return whether the expert fulfilled every sentence."""
    chosen_backend()
    from demo.show import Show

    with Show(robot=ROBOT, out=arguments.out) as show:
        show.start_robot(scene=SCENE, seed=arguments.seed, view=arguments.view)
        show.run_untrained(UNTRAINED_SENTENCE, UNTRAINED_S)
        is_success = show.run_expert(EXPERT_SENTENCES, SENTENCE_LIMIT_S)
        files = show.write_film()
    show.print_table()
    print("\n".join(f"wrote {path} ({path.stat().st_size // 1024} kB)" for path in files))
    return is_success


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "demo_out", help="folder of film, picture and logs")
    parser.add_argument("--seed", type=int, default=4, help="seed of the scene")
    parser.add_argument("--view", action="store_true", help="open a window on the scene")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
