# SPDX-License-Identifier: Apache-2.0
"""How smoothly the simulated arm moves under each schedule, with a model that takes its time.

Usage: python benchmarks/smoothness.py [--tasks TASK...] [--seeds 2] [--latencies-ms 0 50 150 300]

The scripted expert is the policy: at each tick it looks at the measured state and says a chunk of actions, which
arrives after the injected latency; one inference runs at a time, the newest observation waits. Everything behind
it is the suite's own: schedule, controller, guard. Time is simulated: the numbers do not depend on the machine.

rate       chunks per second that the model gave
stall      share of the time in which no action was due although the task was not done
tracking   distance between commanded and measured TCP, root mean square
jerk       third difference of the commanded TCP at 50 Hz, root mean square; in brackets against 0 ms
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from machine import machine

from vla_core.actions.action_space import ActionSpace
from vla_core.actions.gripper import command_from_open
from vla_core.controller import ActionController
from vla_core.geometry import FloatArray, Pose, distance_m
from vla_core.robot_spec import RobotSpec
from vla_core.schedules import ChunkSchedule, make_schedule
from vla_core.types import ActionChunk
from vla_core.units import NS_PER_S
from vla_sim.arm_goals import PoseGoal
from vla_sim.experts.catalogue import make_expert
from vla_sim.experts.feedback import FeedbackExpert
from vla_sim.tabletop import Tabletop
from vla_sim.task_state import TabletopState
from vla_sim.tasks import task_named

SPEC = Path(__file__).parents[1] / "config/robots/sim_arm.yaml"
PERIOD_S = 0.1
LONGEST_S = 60.0
SPACE = ActionSpace(frame="tcp")
SCHEDULES: dict[str, Callable[[], ChunkSchedule]] = {
    "first_action": lambda: make_schedule("first_action"),
    "receding_horizon 5": lambda: make_schedule("receding_horizon", num_executed=5),
    "temporal_ensemble": lambda: make_schedule("temporal_ensemble"),
    "overlap_blend": lambda: make_schedule("overlap_blend"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["turn_on_light", "open_drawer", "lift_red_block"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--latencies-ms", type=float, nargs="+", default=[0.0, 50.0, 150.0, 300.0])
    parser.add_argument("--chunk-size", type=int, default=10)
    args = parser.parse_args()
    print(machine())
    print(f"{args.tasks}, {args.seeds} seeds, chunks of {args.chunk_size} actions every {PERIOD_S:g} s\n")
    spec, tabletop = RobotSpec.load(SPEC), Tabletop()
    titles = f"{'latency':>8} {'success':>8} {'time':>7} {'rate':>8} {'stall':>7} {'tracking':>9} {'jerk':>16}"
    print(f"{'schedule':20} {titles}")
    for name, make in SCHEDULES.items():
        base_jerk = None
        for latency_ms in args.latencies_ms:
            runs = [
                Run(tabletop, spec, make(), latency_ms / 1e3, args.chunk_size).carry_out(task, seed)
                for task in args.tasks
                for seed in range(args.seeds)
            ]
            jerk = float(np.sqrt(np.mean([run.jerk**2 for run in runs])))
            base_jerk = base_jerk or jerk
            success = f"{sum(run.is_success for run in runs):5}/{len(runs):<2}"
            times = f"{mean(runs, 'duration_s'):5.1f} s {mean(runs, 'rate_hz'):5.1f} Hz {mean(runs, 'stall'):6.1%}"
            smooth = f"{1e3 * mean(runs, 'tracking_m'):6.2f} mm {jerk:7.2f} m/s3 ({jerk / base_jerk:.2f})"
            print(f"{name:20} {latency_ms:5.0f} ms {success} {times} {smooth}", flush=True)


def mean(runs: list["Result"], name: str) -> float:
    """Return the mean of a number over runs."""
    return float(np.mean([getattr(run, name) for run in runs]))


@dataclass(frozen=True)
class Result:
    """What one episode showed; the module says what each number means."""

    is_success: bool
    duration_s: float
    rate_hz: float
    stall: float
    tracking_m: float
    jerk: float


@dataclass
class SlowModel:
    """The expert as a policy whose answers take time."""

    expert: FeedbackExpert
    latency_s: float
    chunk_size: int
    waiting: tuple[float, TabletopState, Pose] | None = None
    answer: tuple[float, ActionChunk] | None = None
    num_chunks: int = 0

    def look(self, now_s: float, state: TabletopState, pose: Pose) -> None:
        """Take an observation; while another one is worked on, the newest waits."""
        self.waiting = (now_s, state, pose)
        self._begin(now_s)

    def take(self, now_s: float) -> ActionChunk | None:
        """Return the chunk that is ready."""
        if self.answer is None or now_s + 1e-9 < self.answer[0]:
            return None
        (ready_s, chunk), self.answer = self.answer, None
        self._begin(ready_s)
        return chunk

    def _begin(self, now_s: float) -> None:
        if self.answer is not None or self.waiting is None:
            return
        (seen_s, state, pose), self.waiting = self.waiting, None
        self.num_chunks += 1
        actions = self.expert.act_ahead(state, pose, self.chunk_size).astype(np.float32)
        chunk = ActionChunk(round(seen_s * NS_PER_S), PERIOD_S, actions)
        self.answer = (now_s + self.latency_s, chunk)


@dataclass
class Run:
    """One schedule at one latency."""

    tabletop: Tabletop
    spec: RobotSpec
    schedule: ChunkSchedule
    latency_s: float
    chunk_size: int
    commanded: list[FloatArray] = field(default_factory=list)
    gaps_m: list[float] = field(default_factory=list)

    def carry_out(self, task: str, seed: int) -> Result:
        """Let the expert solve a task from a seed's scene."""
        table, period_s = self.tabletop, 1.0 / self.spec.command.rate_hz
        start = table.reset(seed, task)
        model = SlowModel(make_expert(task, SPACE), self.latency_s, self.chunk_size)
        controller = ActionController(self.spec, SPACE, PERIOD_S)
        controller.anchor(table.arm_state().pose_tcp_in_base, _ns(table.time_s))
        next_tick_s, last_action_s, stalled_s = table.time_s, float("inf"), 0.0
        while table.time_s < LONGEST_S and not model.expert.is_done:
            now_s, measured = table.time_s, table.arm_state().pose_tcp_in_base
            if now_s + 1e-9 >= next_tick_s:
                next_tick_s += PERIOD_S
                model.look(now_s, table.state(), measured)
            chunk = model.take(now_s)
            if chunk is not None:
                self.schedule.push(chunk)
            action = self.schedule.due(_ns(now_s))
            if action is not None:
                stalled_s += max(now_s - last_action_s - 1.5 * PERIOD_S, 0.0)
                last_action_s = now_s
                controller.begin(action, measured, _ns(now_s))
            self._command(controller, now_s + period_s)
            table.step(period_s)
            self.gaps_m.append(distance_m(controller.guard.pose, table.arm_state().pose_tcp_in_base))
        jerks = np.linalg.norm(np.diff(np.array(self.commanded), n=3, axis=0), axis=1) / period_s**3
        return Result(
            is_success=task_named(task).is_success(start, table.state()),
            duration_s=table.time_s,
            rate_hz=model.num_chunks / table.time_s,
            stall=stalled_s / table.time_s,
            tracking_m=float(np.sqrt(np.mean(np.square(self.gaps_m)))),
            jerk=float(np.sqrt(np.mean(jerks**2))),
        )

    def _command(self, controller: ActionController, due_s: float) -> None:
        command, gripper = controller.command(_ns(due_s)), self.spec.gripper
        self.commanded.append(command.pose_tcp_in_base.position_m)
        self.tabletop.follow(PoseGoal(command.pose_tcp_in_base))
        if command.gripper_open is not None:
            closed, opened = gripper.command_closed, gripper.command_open
            self.tabletop.grip(command_from_open(command.gripper_open, closed=closed, opened=opened))


def _ns(time_s: float) -> int:
    return round(time_s * NS_PER_S)


if __name__ == "__main__":
    main()
