# SPDX-License-Identifier: Apache-2.0
"""A policy node on the simulated arm for a long time, while everything goes wrong now and then.

``VLA_ENDURANCE_S`` says for how long; ``make nightly`` asks for thirty minutes. The memory's slope is printed.
"""

import itertools
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from closed_loop import ClosedLoop, Probe, SwingingPolicy, closed_loop, wait_until
from std_msgs.msg import Bool

from vla_core.codecs.pose_stamped import decode_pose
from vla_core.codecs.stamp import stamp_ns_of
from vla_core.geometry import angle_rad, distance_m
from vla_core.robot_spec import RobotSpec
from vla_msgs.msg import PolicyStatus

pytestmark = [pytest.mark.ros, pytest.mark.slow]
DURATION_S = float(os.environ.get("VLA_ENDURANCE_S", "12"))
# A node that is shorter than this in its memory's first growth says nothing about its slope.
MEASURABLE_S = 300.0
MAX_SLOPE_MB_PER_MIN = 1.0
SPEC = RobotSpec.load(Path(__file__).resolve().parents[3] / "config" / "robots" / "sim_arm.yaml")


class Chaos:
    """Does something bad at random, and what a person would do then."""

    def __init__(self, robot: Probe, loop: ClosedLoop, seed: int) -> None:
        self._robot, self._loop, self._random = robot, loop, random.Random(seed)
        self._takeover = robot.create_publisher(Bool, "vla/takeover", 10)
        self.done: list[str] = []

    def act(self) -> None:
        name, deed = self._random.choice(
            [
                ("fault", self._break_a_stream),
                ("nan", self._say_nan),
                ("error", self._raise),
                ("slow", self._be_slow),
                ("estop", self._press_estop),
                ("takeover", self._take_over),
                ("sentence", self._say),
                ("shadow", self._toggle_commands),
                ("schedule", self._change_schedule),
                ("cycle", self._cycle),
            ]
        )
        self.done.append(name)
        deed()

    def _break_a_stream(self) -> None:
        stream = self._random.choice(["static", "wrist", "tcp_pose", "joints"])
        kinds = ["drop", "freeze"] if stream in ("static", "wrist") else ["drop"]
        self._robot.set_parameter("sim_robot", f"fault.{stream}", self._random.choice(kinds))
        time.sleep(self._random.uniform(0.1, 0.5))
        self._robot.trigger("/sim_robot/clear_faults")

    def _misbehave(self, deed: Callable[[np.ndarray], None]) -> None:
        self._loop.policy.misbehave = deed
        time.sleep(self._random.uniform(0.15, 0.4))
        self._loop.policy.misbehave = lambda actions: None

    def _say_nan(self) -> None:
        self._misbehave(lambda actions: actions.fill(np.nan))

    def _raise(self) -> None:
        def deed(actions: np.ndarray) -> None:
            raise RuntimeError("a policy that fails")

        self._misbehave(deed)
        self._arm()

    def _be_slow(self) -> None:
        self._misbehave(lambda actions: time.sleep(0.3))

    def _press_estop(self) -> None:
        self._robot.press_estop()
        time.sleep(0.1)
        self._robot.press_estop(pressed=False)
        self._arm()

    def _take_over(self) -> None:
        self._takeover.publish(Bool(data=True))
        time.sleep(0.2)
        self._takeover.publish(Bool(data=False))

    def _say(self) -> None:
        self._robot.say(self._random.choice(["swing", "swing again", "", "a" * 20_000]))

    def _toggle_commands(self) -> None:
        self._robot.set_parameter("policy_node", "command_enabled", False)
        time.sleep(0.3)
        self._robot.set_parameter("policy_node", "command_enabled", True)

    def _change_schedule(self) -> None:
        names = ["first_action", "receding_horizon", "temporal_ensemble", "overlap_blend"]
        self._robot.set_parameter("policy_node", "schedule", self._random.choice(names))

    def _cycle(self) -> None:
        for transition in ("deactivate", "activate"):
            self._loop.transition(transition)

    def _arm(self) -> None:
        wait_until(lambda: self._robot.trigger("/policy_node/arm").success, "arming")


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def check_commands(robot: Probe) -> int:
    """Check what was commanded since the last look; return how many commands there were."""
    commands = list(robot.commands)
    robot.commands.clear()
    poses = [(stamp_ns_of(command) * 1e-9, decode_pose(command, SPEC.base_frame)) for command in commands]
    low, high = np.array(SPEC.limits.workspace_min_m), np.array(SPEC.limits.workspace_max_m)
    for _, pose in poses:
        assert np.all(pose.position_m >= low - 1e-6)
        assert np.all(pose.position_m <= high + 1e-6)
    for (then_s, before), (now_s, after) in itertools.pairwise(poses):
        dt_s = now_s - then_s
        if dt_s > 0.3:
            continue  # the arm was let go in between: the next motion begins where it is then
        assert distance_m(before, after) <= SPEC.limits.max_speed_m_s * dt_s + 1e-4
        assert angle_rad(before, after) <= SPEC.limits.max_speed_rad_s * dt_s + 1e-3
    return len(commands)


def test_random_faults_for_a_long_time_break_nothing(
    robot: Probe, record_property: Callable[[str, object], None]
) -> None:
    began_s, num_commands, memory = time.monotonic(), 0, []
    with closed_loop(robot, SwingingPolicy()) as loop:
        loop.run()
        chaos = Chaos(robot, loop, seed=0)
        while time.monotonic() - began_s < DURATION_S:
            chaos.act()
            if not loop.node.get_parameter("command_enabled").value or robot.status is None:
                continue
            robot.say("swing")
            robot.wait_for_state(PolicyStatus.STATE_RUNNING, timeout_s=30.0)
            time.sleep(0.3)
            num_commands += check_commands(robot)
            memory.append((time.monotonic() - began_s, rss_mb()))
        loop.run()
    assert num_commands > 10 * DURATION_S
    times_s, sizes_mb = np.array(memory).T
    settled = times_s > min(60.0, DURATION_S / 3)
    slope = 60.0 * float(np.polyfit(times_s[settled], sizes_mb[settled], 1)[0])
    record_property("memory_slope_mb_per_min", slope)
    print(f"\n{len(chaos.done)} faults, {num_commands} commands; {sizes_mb[-1]:.0f} MB, slope {slope:.2f} MB/min")
    if DURATION_S >= MEASURABLE_S:
        assert slope < MAX_SLOPE_MB_PER_MIN
