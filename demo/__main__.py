# SPDX-License-Identifier: Apache-2.0
"""Run the demo: a trained policy does what it is told on the simulated table.

Every sentence goes the whole way: cameras and topics of a simulated robot in one process, the policy node in
another, guarded commands back to the robot.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from vla_core.errors import VlaError
from vla_sim.rendering_backend import chosen_backend

ROOT = Path(__file__).resolve().parents[1]
ROBOT = ROOT / "config" / "robots" / "sim_arm.yaml"
CHECKPOINT = ROOT / "models" / "tabletop"


def main() -> int:
    """Return 0 when everything worked, whatever the policy achieved; otherwise print the reason."""
    options = _options()
    # A domain of its own: no real robot on the network can hear a demo.
    os.environ.setdefault("ROS_DOMAIN_ID", str(10 + os.getpid() % 90))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")

    began_s = time.monotonic()
    try:
        _run(options)
    except VlaError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted; all processes have ended", file=sys.stderr)
        return 130
    print(f"done in {time.monotonic() - began_s:.0f} s")
    return 0


def _run(options: argparse.Namespace) -> None:
    chosen_backend()  # before the first import of MuJoCo, which fails with a traceback if it is wrong
    from demo.script import lines_of, scene_for
    from demo.show import Show

    if not (options.checkpoint / "model.yaml").is_file():
        raise VlaError(
            f"there is no checkpoint in {options.checkpoint}: model.yaml is missing. The trained one ships in "
            "models/tabletop; get it back with 'git checkout -- models/tabletop', or name another with "
            "--checkpoint (make demo DEMO_ARGS='--checkpoint DIR')"
        )
    lines = lines_of(options.instruction)
    scene = scene_for(lines, options.seed)
    with Show(robot=ROBOT, out=options.out) as show:
        print(f"simulated robot: {ROBOT.name}, seed {scene.seed}; policy: {options.checkpoint}", flush=True)
        show.start(scene, options.checkpoint, view=options.view)
        show.say(lines, options.limit)
        files = show.write_film()
        print(f"\n{show.table()}")
    print("\n".join(f"wrote {path} ({path.stat().st_size // 1024} kB)" for path in files))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--instruction", default="", help="what to say, sentences separated by ';'")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, metavar="DIR", help="policy to run")
    parser.add_argument("--out", type=Path, default=ROOT / "demo_out", help="folder of film, picture and logs")
    parser.add_argument("--seed", type=int, help="seed of the scene (default: one in which it can be done)")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="longest time for a sentence")
    parser.add_argument("--view", action="store_true", help="open a window on the scene")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
