# SPDX-License-Identifier: Apache-2.0
"""The command ``replay_bag``: a recorded bag through the real policy node in shadow mode, and what it predicts.

Everything runs in a namespace of its own (``/replay_<process>``), so a robot on the same network is not disturbed.
Exit code: 0, 1 when it cannot be replayed or the error is above ``--max-error``, 2 for a wrong command line.
"""

import argparse
import math
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from tqdm import tqdm

from vla_core.checkpoint_card import CheckpointCard
from vla_core.config import load_config
from vla_core.errors import VlaError
from vla_core.robot_spec import RobotSpec
from vla_core.units import NS_PER_S
from vla_core.whole_file import write_json
from vla_policy_node.replaying.bag_player import BagPlayer, Heard
from vla_policy_node.replaying.comparison import Comparison, compare
from vla_policy_node.replaying.recorded_bag import RecordedBag, ReplayError
from vla_policy_node.replaying.replay_report import as_plain, as_table, write_plot
from vla_policy_node.replaying.shadow_robot import ShadowPolicyNode, shadow_spec

_LONGEST_START_S = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(remove_ros_args([sys.argv[0], *given])[1:])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    rclpy.init(args=given, signal_handler_options=SignalHandlerOptions.NO)
    try:
        comparison = _replay(options)
        print(as_table(comparison))
        if options.json:
            about = {"bag": str(options.bag), "checkpoint": str(options.checkpoint), "rate": options.rate}
            write_json(options.json, {**about, **as_plain(comparison)})
        if options.plot:
            write_plot(comparison, options.plot)
    except KeyboardInterrupt:
        print("replay_bag: interrupted; the policy node has ended, too", file=sys.stderr)
        return 1
    except (VlaError, OSError) as error:
        print(f"replay_bag: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    return _judge(comparison, options.max_error)


def _replay(options: argparse.Namespace) -> Comparison:
    spec = RobotSpec.load(options.robot)
    card = load_config(options.checkpoint / "model.yaml", CheckpointCard)
    replayed, namespace = shadow_spec(spec), f"/replay_{os.getpid()}"
    with (
        RecordedBag(options.bag, spec, options.namespace) as bag,
        tempfile.TemporaryDirectory(prefix="vla_replay_") as folder,
    ):
        sentence = options.instruction or bag.sentence()
        if not sentence:
            raise ReplayError(f"{options.bag}: no sentence is recorded in it; give one with --instruction")
        length_s = _length_s(bag)
        print(
            f"replay_bag: '{sentence}', {length_s:.1f} s in {namespace}; loading the policy ...", file=sys.stderr
        )
        with ShadowPolicyNode(Path(folder), replayed, namespace, _parameters(options)) as policy:
            heard = _play(
                bag,
                replayed,
                policy,
                namespace=namespace,
                sentence=sentence,
                length_s=length_s,
                rate=options.rate,
            )
        return compare(bag, spec, card.action_space, heard, options.rate)


def _play(
    bag: RecordedBag,
    spec: RobotSpec,
    policy: ShadowPolicyNode,
    *,
    namespace: str,
    sentence: str,
    length_s: float,
    rate: float,
) -> Heard:
    """Play the bag once and return what the policy node said."""
    node = rclpy.create_node("bag_player", namespace=namespace)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        player = BagPlayer(node, executor, spec, rate)
        player.wait_for_policy(policy.require_alive, _LONGEST_START_S)
        player.instruct(sentence, policy.require_alive)
        bar = "playing: {bar} {n:.1f} of {total:.1f} s, {remaining} left"
        with tqdm(total=length_s, bar_format=bar, leave=False, file=sys.stderr, disable=None) as shown:
            player.play(bag, lambda passed_s: shown.update(passed_s - shown.n), policy.require_alive)
        return player.heard
    finally:
        executor.shutdown()
        node.destroy_node()


def _length_s(bag: RecordedBag) -> float:
    times_ns = bag.measured_poses().times_ns
    if len(times_ns) < 2:
        raise ReplayError("the bag holds fewer than two TCP poses; there is nothing to replay")
    return (times_ns[-1] - times_ns[0]) / NS_PER_S


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "checkpoint": str(options.checkpoint.resolve()),
        "device": options.device,
        "schedule": options.schedule,
    }


def _judge(comparison: Comparison, max_error_mm: float) -> int:
    found_mm = comparison.mean_error_m * 1e3
    if found_mm <= max_error_mm:
        return 0
    print(f"replay_bag: mean distance {found_mm:.2f} mm is above --max-error {max_error_mm:g}", file=sys.stderr)
    return 1


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="replay_bag",
        description="Plays a bag into the real policy node in shadow mode, and compares what it predicts.",
        epilog="docs/preflight.md tells how to read the numbers.",
    )
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder of a bag (MCAP or sqlite3)")
    parser.add_argument("--robot", type=Path, required=True, metavar="SPEC", help="robot spec of the bag")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help="checkpoint directory")
    parser.add_argument("--instruction", default="", help="sentence to follow (default: the one in the bag)")
    parser.add_argument("--namespace", default="", help="namespace in which the bag was recorded")
    parser.add_argument(
        "--rate",
        type=_positive,
        default=1.0,
        help="seconds of the bag per second; the policy keeps its own rate, so it sees motion that much faster",
    )
    parser.add_argument("--schedule", default="first_action", help="parameter of the node (default: %(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write numbers and series as JSON")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="also draw predicted and recorded positions (PNG)"
    )
    parser.add_argument(
        "--max-error", type=_positive, default=math.inf, metavar="MM", help="exit code 1 above this mean distance"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
