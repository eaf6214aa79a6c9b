# SPDX-License-Identifier: Apache-2.0
"""Trials through the real graph: the simulated robot and the policy node as processes, in real time.

Reads a trial per line (JSON, the fields of ``trials.Trial``) from standard input, writes a row per line to
standard output, and ends with its input. Sentences go out on ``vla/instruction``; success is judged on
``task_state``.
"""

import argparse
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import rclpy
from rclpy.utilities import try_shutdown

from vla_core.errors import VlaError
from vla_sim.child_process import ChildProcess
from vla_sim.task_state import TabletopState
from vla_sim.trial_node import IDLE, STOPPED, TrialNode
from vla_sim.trials import Referee, Trial

TICK_S = 0.1
START_PATIENCE_S, PATIENCE_S = 120.0, 20.0
LET_GO_S = 0.8  # the policy node repeats for half a second that the arm stands still, then lets go of it
SEEN_S = 0.3  # by then every camera has sent pictures of the new scene


class Graph:
    """Simulated robot, policy node, and a node that speaks to both; inside ``with``.

    Args:
        robot: Path of the robot spec.
        logs: Folder for the logs of both.
        module: Python module of the policy node.
        policy: Parameters of the policy node beside those that every trial needs.
        randomise: What of the looks of a scene its seed draws.
    """

    def __init__(
        self,
        robot: Path,
        logs: Path,
        module: str,
        policy: dict[str, object],
        randomise: Sequence[str] = (),
    ) -> None:
        self._sim = {"randomise": f"[{', '.join(randomise)}]"} if randomise else {}
        self._robot, self._logs, self._module, self._policy = robot, logs, module, policy
        self._children: list[ChildProcess] = []

    def __enter__(self) -> "Graph":
        with ExitStack() as opened:
            self._logs.mkdir(parents=True, exist_ok=True)
            rclpy.init()
            opened.callback(try_shutdown)
            self.node = TrialNode()
            opened.callback(self.node.close)
            self._start(opened, "sim_robot", "vla_sim.sim_node", self._sim)
            always = {"command_enabled": True, "autostart": True, "black_box_dir": self._logs / "black_box"}
            self._start(opened, "policy_node", self._module, {**always, **self._policy})
            self.wait(lambda: not self.node.states.empty(), "the simulated robot", START_PATIENCE_S)
            self.wait(lambda: self.node.status is not None, "the policy node", START_PATIENCE_S)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def wait(self, condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until a condition holds.

        Raises:
            VlaError: It does not in time, or a process has ended.
        """
        deadline_s = time.monotonic() + patience_s
        while not condition():
            self.check()
            if time.monotonic() > deadline_s:
                raise VlaError(f"waited {patience_s:.0f} s for {what} in vain; the logs are in {self._logs}")
            time.sleep(0.01)

    def check(self) -> None:
        """Raise when a process has ended.

        Raises:
            VlaError: One has; the sentence holds the end of its log.
        """
        for child in self._children:
            child.check()

    def _start(self, opened: ExitStack, name: str, module: str, parameters: dict[str, object]) -> None:
        child = ChildProcess(name, module, self._logs, {"robot_spec": self._robot, **parameters})
        opened.callback(child.stop)
        self._children.append(child)


def run_trial(graph: Graph, trial: Trial) -> dict[str, Any]:
    """Return how a trial went, as ``Referee.row``. The arm stands still before and after.

    Raises:
        VlaError: A process has ended, or the simulated robot is silent.
    """
    node = graph.node
    if node.status == STOPPED:
        node.arm()
    node.reset(trial.seed, trial.scene or "")
    guard = node.guard.copy()
    reset_s, state = _next_state(graph)
    time_s = reset_s
    while time_s < reset_s + SEEN_S:
        time_s, state = _next_state(graph)
    referee = Referee(trial, state, time_s)
    graph.wait(node.is_heard, "the policy node to listen to instructions")
    node.say(referee.sentence)
    due_s, turn = time_s + TICK_S, "go on"
    while turn != "over":
        time_s, state = _next_state(graph)
        if time_s < due_s:
            continue
        due_s = time_s + TICK_S
        turn = referee.look(state, time_s)
        if turn == "next sentence":
            node.say(referee.sentence)
    _come_to_rest(graph)
    return referee.row({stage: count for stage, count in (node.guard - guard).items() if count})


def _come_to_rest(graph: Graph) -> None:
    graph.node.say("")
    graph.wait(lambda: not graph.node.heard and graph.node.status in (IDLE, STOPPED), "the policy node to stop")
    time.sleep(LET_GO_S)


def _next_state(graph: Graph) -> tuple[float, TabletopState]:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        graph.check()
        try:
            return graph.node.states.get(timeout=0.5)
        except queue.Empty:
            continue
    raise VlaError(f"the simulated robot has sent no task_state for {PATIENCE_S:.0f} s")


class _Lines:
    """Trials from standard input. When it ends in the middle of one, whoever asked is gone: all ends at once."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._is_busy = False
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Trial | None:
        self._is_busy = False
        line = self._lines.get()
        self._is_busy = line is not None
        return None if line is None else Trial(**json.loads(line))

    def _read(self) -> None:
        for line in sys.stdin:
            self._lines.put(line)
        if self._is_busy:
            os._exit(1)  # the kernel ends the children
        self._lines.put(None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do trials until the input ends; return the exit status."""
    options = _parser().parse_args(arguments)
    # Rows have the standard output for themselves; what libraries print goes where errors go.
    rows = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    policy = {
        "checkpoint": options.checkpoint,
        "device": options.device,
        "schedule": options.schedule,
        "num_executed": options.num_executed,
    }
    try:
        lines = _Lines()
        with Graph(options.robot, options.logs, options.policy_node, policy, options.randomise) as graph:
            while (trial := lines.next()) is not None:
                print(json.dumps(run_trial(graph, trial)), file=rows, flush=True)
    except VlaError as error:
        print(f"ros_trials: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ros_trials", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--robot", type=Path, required=True, metavar="SPEC.yaml", help="the robot spec")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help="checkpoint directory")
    parser.add_argument(
        "--policy-node",
        default="vla_policy_node.policy_node",
        metavar="MODULE",
        help="module that is run as the policy node (default: %(default)s)",
    )
    parser.add_argument("--logs", type=Path, required=True, metavar="DIR", help="folder for the nodes' logs")
    parser.add_argument("--device", default="auto", help="device of the model (default: %(default)s)")
    parser.add_argument("--schedule", default="first_action", help="default: %(default)s")
    parser.add_argument("--randomise", nargs="+", default=[], help="looks that the seed draws")
    parser.add_argument("--num-executed", type=int, default=1, help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
