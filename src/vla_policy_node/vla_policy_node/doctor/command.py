# SPDX-License-Identifier: Apache-2.0
"""The command ``doctor``: looks at a running robot and prints one table. Nothing moves unless it is asked for.

Exit code: 0 when no check fails, 1 when one does or the doctor cannot work, 2 for a wrong command line.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from tqdm import tqdm

from vla_core.errors import VlaError
from vla_core.robot_spec import RobotSpec
from vla_core.whole_file import write_json
from vla_policy_node.doctor.evidence import Evidence
from vla_policy_node.doctor.examination import examine
from vla_policy_node.doctor.findings import Finding, State
from vla_policy_node.doctor.frame_plan import AXES
from vla_policy_node.doctor.frame_report import plan_findings
from vla_policy_node.doctor.frame_test import run_frame_test
from vla_policy_node.doctor.gripper_trial import run_gripper_trial
from vla_policy_node.doctor.policy_checks import check_policy, read_card
from vla_policy_node.doctor.robot_watch import RobotWatch
from vla_policy_node.doctor.table import as_plain, as_table, is_coloured


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(remove_ros_args([sys.argv[0], *given])[1:])
    if (options.move or options.axes) and not options.frames:
        parser.error("--move and --axes belong to --frames")
    # Ctrl-C has to reach the frame test, which then brings the arm to rest: rclpy may not end the context before.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    rclpy.init(args=given, signal_handler_options=SignalHandlerOptions.NO)
    try:
        findings = _run(options)
    except KeyboardInterrupt:
        print("doctor: interrupted", file=sys.stderr)
        return 1
    except (VlaError, OSError) as error:
        print(f"doctor: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    return int(any(finding.state is State.FAIL for finding in findings))


def _run(options: argparse.Namespace) -> list[Finding]:
    spec = RobotSpec.load(options.robot)
    node = rclpy.create_node("doctor", namespace=options.namespace)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        evidence = _look(node, executor, spec, options)
        findings = _examine(evidence, options)
        print(_title(evidence, options))
        _shown(findings)
        findings += _try_motion(node, executor, evidence, options)
    finally:
        executor.shutdown()
        node.destroy_node()
    if options.json:
        about = {"robot": spec.name, "seconds": options.seconds, "checkpoint": str(options.checkpoint or "")}
        write_json(options.json, as_plain(findings, about))
    return findings


def _look(node: Node, executor: SingleThreadedExecutor, spec: RobotSpec, options: argparse.Namespace) -> Evidence:
    watch = RobotWatch(node, spec, options.robot.parent)
    bar = "looking at {desc}: {bar} {n:.0f} of {total:.0f} s"
    with tqdm(
        total=options.seconds, desc=spec.name, bar_format=bar, leave=False, file=sys.stderr, disable=None
    ) as shown:
        return watch.look(executor, options.seconds, lambda passed_s: shown.update(passed_s - shown.n))


def _examine(evidence: Evidence, options: argparse.Namespace) -> list[Finding]:
    if options.checkpoint is None:
        why = "no --checkpoint: contract, device and speed are not looked at"
        return [*examine(evidence, None), Finding("policy", "checkpoint", State.SKIP, why)]
    card = read_card(options.checkpoint)
    findings = examine(evidence, None if isinstance(card, str) else card)
    return findings + check_policy(evidence, options.checkpoint, card, options.device, options.instruction)


def _try_motion(
    node: Node, executor: SingleThreadedExecutor, evidence: Evidence, options: argparse.Namespace
) -> list[Finding]:
    """Run what was asked for beside the table; return its findings."""
    findings: list[Finding] = []
    if options.gripper:
        _confirm(options, "The gripper will open and close. Is nothing and nobody between its fingers?")
        findings += _shown(run_gripper_trial(node, executor, evidence.spec))
    if options.frames:
        axes = options.axes or list(AXES)
        plan = _shown(plan_findings(evidence, axes), verdict=False)
        findings += plan
        if any(finding.state is State.FAIL for finding in plan):
            return findings
        if options.move:
            _confirm(options, "The arm will really move like that. Is your hand on the emergency stop?")
        findings += _shown(run_frame_test(node, executor, evidence, axes, move=options.move))
    return findings


def _shown(findings: list[Finding], *, verdict: bool = True) -> list[Finding]:
    """Print findings as a table and return them."""
    print(as_table(findings, coloured=is_coloured(sys.stdout), verdict=verdict), flush=True)
    return findings


def _confirm(options: argparse.Namespace, question: str) -> None:
    """Ask a person at a terminal.

    Raises:
        VlaError: They say no, or there is no terminal.
    """
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise VlaError("nobody can be asked here before something moves; run it in a terminal, or add --yes")
    if input(f"\n{question} Type 'yes' to go on: ").strip().lower() != "yes":
        raise VlaError("nothing was moved: the answer was not 'yes'")


def _title(evidence: Evidence, options: argparse.Namespace) -> str:
    what = f"doctor: robot '{evidence.spec.name}' ({options.robot}), looked at for {evidence.seconds:g} s"
    return f"{what}, checkpoint {options.checkpoint}" if options.checkpoint else what


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.5 <= seconds <= 600.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.5 and 600 seconds")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="doctor",
        description="Looks at a running robot and prints one table. Nothing moves unless it is asked for.",
        epilog="docs/preflight.md tells more.",
    )
    parser.add_argument(
        "--robot", type=Path, required=True, metavar="SPEC", help="robot spec (config/robots/*.yaml)"
    )
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="checkpoint that is to run on the robot")
    parser.add_argument("--seconds", type=_seconds, default=3.0, help="how long to look (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the findings as JSON")
    parser.add_argument("--namespace", default="", help="namespace of the robot's relative topics")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument(
        "--instruction", default="open the drawer", help="sentence of the dry inference (default: '%(default)s')"
    )
    moving = parser.add_argument_group("trials", "only --gripper and --move move anything, and they ask first")
    moving.add_argument(
        "--gripper", action="store_true", help="open and close the gripper: is its polarity right?"
    )
    moving.add_argument(
        "--frames", action="store_true", help="show 2 cm and 5 degrees about each axis (shadow mode)"
    )
    moving.add_argument("--move", action="store_true", help="with --frames: really move, and compare")
    moving.add_argument(
        "--axes", nargs="+", choices=AXES, metavar="AXIS", help=f"only these of: {', '.join(AXES)}"
    )
    moving.add_argument("--yes", action="store_true", help="do not ask before something moves")
    return parser


if __name__ == "__main__":
    sys.exit(main())
