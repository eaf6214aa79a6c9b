# SPDX-License-Identifier: Apache-2.0
"""The steps of the demo, and the processes that they need."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType

import rclpy

from demo.expert_policy_node import task_of
from demo.processes import DemoError, Process
from demo.table import Row, render
from demo.watcher import Watcher
from vla_core.errors import VlaError
from vla_core.geometry import distance_m
from vla_core.robot_spec import RobotSpec
from vla_msgs.msg import PolicyStatus
from vla_sim.task_state import TabletopState
from vla_sim.tasks import Task
from vla_training.init_checkpoint import init_checkpoint

# The expert leaves what it has done in peace before the next sentence comes.
SETTLE_S = 1.0
PATIENCE_S = 60.0
# Stands in captions and table wherever a person sees the model at work.
UNTRAINED = "UNTRAINED"


class Show:
    """One demo run, inside ``with``: its end stops every process.

    Args:
        robot: Path of the robot spec.
        out: Folder for film, picture, logs and the checkpoint.
    """

    def __init__(self, *, robot: Path, out: Path) -> None:
        self._robot, self._out = robot, out
        self._spec = RobotSpec.load(robot)
        self._logs = out / "logs"
        self._processes: list[Process] = []
        self._rows: list[Row] = []

    def __enter__(self) -> "Show":
        self._logs.mkdir(parents=True, exist_ok=True)
        rclpy.init()
        self._watcher = Watcher(self._spec)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._processes):
            process.stop()
        self._watcher.close()
        rclpy.try_shutdown()

    def start_robot(self, *, scene: str, seed: int, view: bool) -> None:
        """Start the simulated robot and wait until it can be seen.

        Args:
            scene: Task whose start scene is used.
            seed: Seed of the scene.
            view: Whether the simulator opens a window.

        Raises:
            DemoError: It does not come up.
        """
        print(f"simulated robot: {self._robot.name}, seed {seed}", flush=True)
        self._start("simulator", "vla_sim.sim_node", robot_spec=self._robot, task=scene, seed=seed, view=view)
        self._wait(
            lambda: self._watcher.state is not None and self._watcher.pose is not None, "the simulated robot"
        )

    def run_untrained(self, sentence: str, duration_s: float) -> None:
        """Let a model with random weights drive the arm inside the guard.

        Raises:
            DemoError: The model does not start, or the arm stands still.
        """
        checkpoint = self._out / "untrained_checkpoint"
        try:
            init_checkpoint(self._spec, checkpoint, overwrite=True)
        except VlaError as error:
            raise DemoError(str(error)) from error
        node = self._start_policy_node("untrained_policy", "vla_policy_node.policy_node", checkpoint=checkpoint)
        start = self._watcher.pose
        assert start is not None
        moved_m = 0.0

        def follow() -> bool:
            nonlocal moved_m
            if self._watcher.pose is not None:
                moved_m = max(moved_m, distance_m(start, self._watcher.pose))
            return False

        self._carry_out(UNTRAINED, sentence, duration_s, follow, lambda _: f"moved {moved_m * 100:.1f} cm")
        if moved_m < 1e-3:
            raise DemoError(f"the untrained model did not move the arm; the logs are in {self._logs}")
        self._stop(node)

    def run_expert(self, sentences: tuple[str, ...], limit_s: float) -> bool:
        """Let the scripted expert carry out sentences; return whether all succeeded.

        Raises:
            DemoError: The expert does not start.
        """
        node = self._start_policy_node("expert_policy", "demo.expert_policy_node")
        outcomes = []
        for sentence in sentences:
            before = self._watcher.state
            assert before is not None
            is_fulfilled = partial(self._is_fulfilled, task_of(sentence), before)
            outcomes.append(self._carry_out("expert", sentence, limit_s, is_fulfilled, _in_words))
        self._stop(node)
        return all(outcomes)

    def write_film(self) -> list[Path]:
        """Write video and contact sheet; return their paths.

        Raises:
            DemoError: There is nothing to see.
        """
        self._watcher.caption = ""
        video, sheet = self._out / "demo.mp4", self._out / "contact_sheet.png"
        if not len(self._watcher.film):
            raise DemoError("the cameras sent no picture")
        self._watcher.film.write_video(video)
        self._watcher.film.write_contact_sheet(sheet)
        return [video, sheet]

    def print_table(self) -> None:
        """Print what each sentence led to, and how to read it."""
        factors = self._watcher.real_time_factors or [float("nan")]
        print(f"\n{render(self._rows)}\n")
        print(f"real-time factor of the simulation: {statistics.median(factors):.2f} (median)")
        print("latency: from the stamp of a picture to the command that follows from it")
        print(f"{UNTRAINED}: random weights, the motion means nothing")

    def _start(self, name: str, module: str, **parameters: object) -> Process:
        process = Process(name, module, self._logs, parameters)
        self._processes.append(process)
        return process

    def _stop(self, process: Process) -> None:
        process.stop()
        self._processes.remove(process)

    def _start_policy_node(self, name: str, module: str, **parameters: object) -> Process:
        self._watcher.forget_policy_node()
        process = self._start(
            name, module, robot_spec=self._robot, command_enabled=True, autostart=True, **parameters
        )

        def is_ready() -> bool:
            status = self._watcher.status
            return status is not None and status.state == PolicyStatus.STATE_IDLE

        self._wait(is_ready, f"the policy node ({name})")
        return process

    def _is_fulfilled(self, task: Task, before: TabletopState) -> bool:
        return self._watcher.state is not None and task.is_success(before, self._watcher.state)

    def _carry_out(
        self,
        policy: str,
        sentence: str,
        limit_s: float,
        is_fulfilled: Callable[[], bool],
        outcome: Callable[[bool], str],
    ) -> bool:
        """Say a sentence, wait until it is fulfilled or its time is over, and note what happened."""
        watcher = self._watcher
        print(f"  {policy}: '{sentence}' ...", flush=True)
        watcher.caption = f"{policy}: {sentence}"
        commands, guarded, began = watcher.num_commands, watcher.guard_interventions, time.monotonic()
        watcher.say(sentence)
        fulfilled = self._comes_true(is_fulfilled, limit_s)
        duration_s = time.monotonic() - began
        num_commands = watcher.num_commands - commands
        time.sleep(SETTLE_S)
        status = watcher.status
        assert status is not None
        watcher.say("")
        self._rows.append(
            Row(
                policy=policy,
                sentence=sentence,
                outcome=outcome(fulfilled),
                duration_s=duration_s,
                policy_asked_hz=status.trained_rate_hz,
                policy_reached_hz=status.policy_rate_hz,
                command_asked_hz=self._spec.command.rate_hz,
                command_reached_hz=num_commands / duration_s,
                latency_p50_ms=status.latency_p50_ms,
                latency_p95_ms=status.latency_p95_ms,
                guard_interventions=watcher.guard_interventions - guarded,
            )
        )
        return fulfilled

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        if not self._comes_true(condition, PATIENCE_S):
            raise DemoError(f"waited {PATIENCE_S:.0f} s for {what} in vain; the logs are in {self._logs}")

    def _comes_true(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Return whether a condition comes true in time.

        Raises:
            DemoError: A process ends before that.
        """
        deadline_s = time.monotonic() + limit_s
        while not (is_true := condition()) and time.monotonic() < deadline_s:
            for process in self._processes:
                process.check()
            time.sleep(0.02)
        return is_true


def _in_words(is_success: bool) -> str:
    return "success" if is_success else "FAILED"
