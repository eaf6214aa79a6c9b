# SPDX-License-Identifier: Apache-2.0
"""People and other programs that have a say over the arm, and the way back in."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from closed_loop import SIM_ARM, Probe, SwingingPolicy, closed_loop, wait_until
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Bool

from vla_msgs.msg import PolicyStatus

pytestmark = pytest.mark.ros
HOLDING, RUNNING, STOPPED = PolicyStatus.STATE_HOLDING, PolicyStatus.STATE_RUNNING, PolicyStatus.STATE_STOPPED


@contextmanager
def publisher(probe: Probe, kind: Any, topic: str) -> Iterator[Any]:
    made = probe.create_publisher(kind, topic, 10)
    try:
        yield made
    finally:
        probe.destroy_publisher(made)


def spec_with(tmp_path: Path, **limits: object) -> str:
    path = tmp_path / "robot.yaml"
    lines = "".join(f"  {key}: {value}\n" for key, value in limits.items())
    path.write_text(SIM_ARM.read_text().replace("limits:\n", f"limits:\n{lines}"))
    return str(path)


def test_who_takes_over_has_the_arm_alone_and_gives_it_back_softly(robot: Probe) -> None:
    with closed_loop(robot) as loop, publisher(robot, Bool, "vla/takeover") as takeover:
        loop.run()
        wait_until(lambda: takeover.get_subscription_count() > 0, "a subscriber of vla/takeover")
        takeover.publish(Bool(data=True))
        robot.wait_for_state(HOLDING, PolicyStatus.REASON_TAKEN_OVER)
        robot.wait_until_still()
        robot.commands.clear()
        ticks, resets = loop.policy.num_ticks, loop.policy.num_resets
        time.sleep(0.3)
        assert not robot.commands, "even a still command would disturb who drives"
        assert loop.policy.num_ticks <= ticks + 1
        takeover.publish(Bool(data=False))
        robot.wait_for_state(RUNNING)
        wait_until(lambda: len(robot.commands) > 10, "commands")
        assert loop.policy.num_resets > resets
        first, later = robot.commands[0], robot.commands[10]
        assert abs(later.pose.position.y - first.pose.position.y) < 0.01, "motion grows from nothing"


def test_the_dead_man_must_be_held(robot: Probe) -> None:
    with closed_loop(robot, require_deadman=True) as loop, publisher(robot, Bool, "vla/deadman") as deadman:
        robot.say("swing")
        robot.wait_for_state(HOLDING, PolicyStatus.REASON_DEAD_MAN)
        held = loop.node.create_timer(0.05, lambda: deadman.publish(Bool(data=True)))
        robot.wait_for_state(RUNNING)
        held.cancel()
        robot.wait_for_state(HOLDING, PolicyStatus.REASON_DEAD_MAN, timeout_s=2.0)
        robot.wait_until_still()


def test_releasing_the_dead_man_stops_at_once(robot: Probe) -> None:
    with (
        closed_loop(robot, require_deadman=True, deadman_timeout_s=5.0),
        publisher(robot, Bool, "vla/deadman") as deadman,
    ):
        robot.say("swing")
        robot.wait_for_state(HOLDING, PolicyStatus.REASON_DEAD_MAN)
        deadman.publish(Bool(data=True))
        robot.wait_for_state(RUNNING)
        deadman.publish(Bool(data=False))
        robot.wait_for_state(HOLDING, PolicyStatus.REASON_DEAD_MAN, timeout_s=1.0)


def test_a_second_publisher_of_commands_is_refused_by_name(robot: Probe) -> None:
    with closed_loop(robot) as loop:
        loop.run()
        with publisher(robot, PoseStamped, "arm_controller/target_pose"):
            status = robot.wait_for_state(HOLDING, PolicyStatus.REASON_SECOND_PUBLISHER)
            assert "/probe" in status.detail
            robot.wait_until_still()
        loop.run()


def test_a_shadow_disturbs_nobody_and_is_not_disturbed(robot: Probe) -> None:
    with closed_loop(robot, command_enabled=False), publisher(robot, PoseStamped, "arm_controller/target_pose"):
        assert robot.count_publishers("/arm_controller/target_pose") == 1, "a shadow is no publisher of commands"
        robot.say("swing")
        robot.wait_for_state(RUNNING)
        wait_until(lambda: len(robot.shadow_commands) > 10, "shadow commands")


def test_an_emergency_stop_by_service_is_latched_until_armed(robot: Probe) -> None:
    with closed_loop(robot) as loop:
        loop.run()
        assert robot.trigger("/policy_node/estop").success
        robot.wait_for_state(STOPPED, PolicyStatus.REASON_ESTOP)
        robot.wait_until_still()
        robot.say("go on")
        time.sleep(0.3)
        assert robot.status is not None
        assert robot.status.state == STOPPED
        assert robot.trigger("/policy_node/arm").success
        robot.wait_for_state(RUNNING)


def test_motion_grows_from_nothing_after_arming(robot: Probe, tmp_path: Path) -> None:
    spec = spec_with(tmp_path, soft_start_s=1.0)
    policy = SwingingPolicy()
    policy.misbehave = lambda actions: actions[:, 1].fill(0.5)
    with closed_loop(robot, policy, robot_spec=spec):
        robot.say("go left")
        robot.wait_for_state(RUNNING)
        wait_until(lambda: len(robot.commands) > 75, "commands")
        way_m = np.array([command.pose.position.y for command in list(robot.commands)])
        speeds_m_s = np.diff(way_m) * 50.0
        assert np.abs(speeds_m_s[:10]).max() < 0.4 * np.abs(speeds_m_s[60:]).max()


@pytest.mark.parametrize(
    ("stage", "was", "becomes"),
    [
        ("step", "max_step_m: 0.03", "max_step_m: 0.0005"),
        ("workspace", "workspace_max_m: [0.75, 0.50, 0.60]", "workspace_max_m: [0.75, 0.005, 0.60]"),
        ("acceleration", "max_jerk_m_s3: 4000.0", "max_jerk_m_s3: 3.0"),
        ("finite", "", ""),
    ],
)
def test_a_stage_that_stops_needs_arming_and_one_that_holds_does_not(
    robot: Probe, tmp_path: Path, stage: str, was: str, becomes: str
) -> None:
    def misbehave(actions: np.ndarray) -> None:
        if stage == "finite" and loop.policy.num_ticks == 12:
            actions[:] = np.nan

    held = PolicyStatus.REASON_ACTION_NOT_FINITE if stage == "finite" else PolicyStatus.REASON_GUARD_HOLD
    for reaction, state, reason in (("stop", STOPPED, PolicyStatus.REASON_GUARD_STOP), ("hold", HOLDING, held)):
        text = Path(spec_with(tmp_path, soft_start_s=0.0, reactions=f"{{{stage}: {reaction}}}")).read_text()
        assert was in text
        spec = tmp_path / f"{reaction}.yaml"
        spec.write_text(text.replace(was, becomes))
        with closed_loop(robot, robot_spec=str(spec)) as loop:
            loop.policy.misbehave = misbehave
            robot.say("swing")
            assert f"'{stage}'" in robot.wait_for_state(state, reason).detail
            if state == STOPPED:
                robot.wait_until_still()
                assert robot.trigger("/policy_node/arm").success
