# SPDX-License-Identifier: Apache-2.0
"""The steps of the demo, and the processes that they need."""

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import rclpy
from rclpy.signals import SignalHandlerOptions

from demo.script import Line, Scene
from demo.table import Row, render
from demo.watcher import Watcher
from demo.witness import Witness
from vla_core.errors import VlaError
from vla_core.robot_spec import RobotSpec
from vla_msgs.msg import PolicyStatus
from vla_sim.child_process import ChildProcess

# A film needs a moment to show what has been done, and the guard's counters come once a second.
SETTLE_S = 1.0
PATIENCE_S = 120.0


class Show:
    """One demo run, inside ``with``: its end stops every process.

    Args:
        robot: Path of the robot spec.
        out: Folder for film, picture and logs.
    """

    def __init__(self, *, robot: Path, out: Path) -> None:
        self._robot, self._out = robot, out
        self._spec = RobotSpec.load(robot)
        self._logs = out / "logs"
        self._opened = ExitStack()
        self._processes: list[ChildProcess] = []
        self._rows: list[Row] = []

    def __enter__(self) -> "Show":
        with ExitStack() as opened:
            self._logs.mkdir(parents=True, exist_ok=True)
            # Ctrl-C shall first stop the robot, which takes a living context.
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
            opened.callback(rclpy.try_shutdown)
            self._watcher = Watcher(self._spec)
            opened.callback(self._watcher.close)
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def start(self, scene: Scene, checkpoint: Path, *, view: bool) -> None:
        """Start simulated robot and policy node, and wait until both are ready.

        Args:
            scene: Where everything is at the start.
            checkpoint: Directory of the policy's checkpoint.
            view: Whether the simulator opens a window.

        Raises:
            VlaError: One of them does not come up.
        """
        watcher = self._watcher
        fit_for = {"task": scene.task} if scene.task else {}  # on a command line, a parameter cannot be empty
        self._start_process("simulator", "vla_sim.sim_node", seed=scene.seed, view=view, **fit_for)
        self._start_process(
            "policy_node",
            "vla_policy_node.policy_node",
            checkpoint=checkpoint,
            command_enabled=True,
            autostart=True,
            black_box_dir=self._logs / "black_box",
        )
        self._wait(lambda: watcher.state is not None and watcher.sees_all, "the simulated robot")
        self._wait(lambda: watcher.policy_state == PolicyStatus.STATE_IDLE and watcher.is_heard, "the policy node")

    def say(self, lines: tuple[Line, ...], limit_s: float | None = None) -> None:
        """Say sentences one after the other, each until it has been done or its time is over.

        Args:
            lines: What is said.
            limit_s: Longest time for each, seconds; ``None`` leaves it to the sentences.

        Raises:
            VlaError: A process ends, or the policy does nothing.
        """
        for number, line in enumerate(lines, 1):
            caption = f"{number}/{len(lines)}: {line.sentence}"
            print(f"  {caption} ...", flush=True)
            self._watcher.caption = caption
            self._rows.append(self._carry_out(line, line.limit_s if limit_s is None else limit_s))
        self._watcher.caption = ""
        self._watcher.say("")

    def write_film(self) -> list[Path]:
        """Write video and contact sheet; return their paths."""
        video, sheet = self._out / "demo.mp4", self._out / "contact_sheet.png"
        self._watcher.film.write_video(video)
        self._watcher.film.write_contact_sheet(sheet)
        return [video, sheet]

    def table(self) -> str:
        """Return what each sentence led to, and how the machine kept up."""
        factors = self._watcher.real_time_factors or [float("nan")]
        status = self._watcher.status
        assert status is not None
        trained = "" if status.policy_is_trained else "UNTRAINED: random weights, the motion means nothing\n"
        return (
            f"{render(self._rows)}\n\n{trained}"
            f"picture to command: {status.latency_p50_ms:.0f} ms median, {status.latency_p95_ms:.0f} ms p95; "
            f"real-time factor of the simulation: {statistics.median(factors):.2f}"
        )

    def _start_process(self, name: str, module: str, **parameters: object) -> None:
        process = ChildProcess(name, module, self._logs, {"robot_spec": self._robot, **parameters})
        self._opened.callback(process.stop)
        self._processes.append(process)

    def _carry_out(self, line: Line, limit_s: float) -> Row:
        watcher = self._watcher
        assert watcher.state is not None
        witness = Witness(line.task, watcher.state)
        guard, num_inferences = watcher.guard, len(watcher.inference_ms)
        began_s = time.monotonic()
        watcher.say(line.sentence)
        self._comes_true(lambda: witness.look(watcher.state), limit_s)
        duration_s = time.monotonic() - began_s
        self._comes_true(lambda: False, SETTLE_S)
        inference_ms = watcher.inference_ms[num_inferences:]
        status = watcher.status
        assert status is not None
        is_refused = status.reason == PolicyStatus.REASON_INSTRUCTION_REFUSED
        if status.state == PolicyStatus.STATE_STOPPED or not (inference_ms or is_refused):
            raise VlaError(
                f"the policy node does not follow '{line.sentence}': {status.detail or 'no action came'}. "
                f"The logs are in {self._logs}"
            )
        return Row(
            sentence=line.sentence,
            outcome=f"refused: {status.detail}" if is_refused else witness.in_words(),
            duration_s=duration_s,
            guard=watcher.guard - guard,
            inference_ms=inference_ms,
            ticks_asked_hz=status.trained_rate_hz,
            ticks_reached_hz=status.policy_rate_hz,
        )

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        if not self._comes_true(condition, PATIENCE_S):
            raise VlaError(f"waited {PATIENCE_S:.0f} s for {what} in vain; the logs are in {self._logs}")

    def _comes_true(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Return whether a condition comes true in time.

        Raises:
            VlaError: A process ends before that.
        """
        deadline_s = time.monotonic() + limit_s
        while not (is_true := condition()) and time.monotonic() < deadline_s:
            for process in self._processes:
                process.check()
            time.sleep(0.02)
        return is_true
