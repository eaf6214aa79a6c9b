# SPDX-License-Identifier: Apache-2.0
"""Trials through the real graph: ``vla_sim.ros_trials`` does them in a process of its own, one after the other."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_core.errors import VlaError
from vla_training.evaluation.tabletop.rollout import Row
from vla_training.evaluation.tabletop.simulator import TabletopSimulator, Trial, plain

_LOG = "ros_trials.log"
_PATIENCE_S = 40.0
_FIRST_DOMAIN, _NUM_DOMAINS = 10, 40  # other graphs on this machine are not disturbed; Linux allows up to 101


@dataclass(frozen=True)
class RosBench:
    """Does trials with the simulated robot and the policy node as processes, in real time.

    Attributes:
        checkpoint: Checkpoint directory.
        simulator: Robot spec and schedule.
        device: Of the model.
        logs: Folder for the logs of all processes.
    """

    checkpoint: Path
    simulator: TabletopSimulator
    device: str
    logs: Path

    def __post_init__(self) -> None:
        if self.simulator.latency_ms:
            raise VlaError("--latency-ms is simulated without ROS only: with --ros the latency is the real one")

    def __call__(self, trials: Sequence[Trial]) -> Generator[Row, None, None]:
        """Yield the rows of trials as they are over.

        Raises:
            VlaError: A process ends, or cannot be started.
        """
        process = self._start()
        try:
            for trial in trials:
                yield self._ask(process, trial)
        finally:
            self._end(process)

    def _start(self) -> subprocess.Popen[str]:
        self.logs.mkdir(parents=True, exist_ok=True)
        options = {
            "--robot": self.simulator.robot,
            "--checkpoint": self.checkpoint,
            "--logs": self.logs,
            "--device": self.device,
            "--schedule": self.simulator.schedule,
            "--num-executed": self.simulator.num_executed,
        }
        words = [str(word) for option in options.items() for word in option]
        if self.simulator.randomise:
            words += ["--randomise", *self.simulator.randomise]
        domain = str(_FIRST_DOMAIN + os.getpid() % _NUM_DOMAINS)
        with (self.logs / _LOG).open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "vla_sim.ros_trials", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "ROS_DOMAIN_ID": domain},
            )

    def _ask(self, process: subprocess.Popen[str], trial: Trial) -> Row:
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(plain(trial)) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            process.wait(_PATIENCE_S)
            end = "\n".join((self.logs / _LOG).read_text(errors="replace").splitlines()[-12:])
            raise VlaError(f"the trials through ROS ended too early; the logs are in {self.logs}:\n{end}")
        row: Row = json.loads(line)
        return row

    def _end(self, process: subprocess.Popen[str]) -> None:
        """End the process and with it its nodes: the end of its input tells it to."""
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
