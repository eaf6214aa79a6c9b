# SPDX-License-Identifier: Apache-2.0
"""Each way of commanding the simulated arm: the same actions give the same path, and still is still."""

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from closed_loop import Probe, SwingingPolicy, closed_loop, prepare, wait_until
from geometry_msgs.msg import PoseStamped
from interface_bench import listening, spec_with
from rclpy.qos import qos_profile_sensor_data
from scipy.interpolate import CubicHermiteSpline
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from vla_core.codecs.pose_stamped import decode_pose
from vla_core.codecs.stamp import stamp_ns_of
from vla_core.geometry import Pose, angle_rad, distance_m
from vla_core.types import ActionChunk, Observation
from vla_msgs.msg import PolicyStatus

pytestmark = pytest.mark.ros

# Three times the 2 to 4 mm that were measured: the machine may be busy.
SAME_PATH_M, SAME_PATH_RAD = 0.012, 0.04


class SquarePolicy(SwingingPolicy):
    """Leads the TCP round a small square in the y-z plane, turning the tool on the way; then it rests."""

    LEGS = np.repeat([[0.0, 0.6, 0.0], [0.0, 0.0, 0.6], [0.0, -0.6, 0.0], [0.0, 0.0, -0.6]], 8, axis=0)

    def infer(self, observation: Observation, instruction: str) -> ActionChunk:
        actions = np.zeros((self.contract.chunk_size, 7), np.float32)
        if self.num_ticks < len(self.LEGS):
            actions[:, :3] = self.LEGS[self.num_ticks]
            actions[:, 5] = 0.4 if self.num_ticks < len(self.LEGS) // 2 else -0.4
        actions[:, 6] = 1.0
        self.num_ticks += 1
        return ActionChunk(observation.stamp_ns, self.contract.period_s, actions)


def square(probe: Probe, folder: Path, interface: str) -> list[Pose]:
    """Return the measured TCP poses of one round; a round that a busy machine has interrupted is repeated."""
    spec = spec_with(folder, ("interface: target_pose", f"interface: {interface}"))
    for _ in range(4):
        prepare(probe)
        policy = SquarePolicy()
        with (
            closed_loop(probe, policy, robot_spec=spec),
            listening(probe, PoseStamped, "tcp_pose", qos_profile_sensor_data) as heard,
        ):
            wait_until(lambda heard=heard: len(heard) > 5, "the TCP pose")
            probe.say("go round")
            probe.wait_for_state(PolicyStatus.STATE_RUNNING)
            begun = len(probe.statuses)
            wait_until(
                lambda policy=policy: policy.num_ticks > len(policy.LEGS) + 8,
                "the end of the round",
                timeout_s=30.0,
            )
            states = {status.state for status in list(probe.statuses)[begun - 1 :]}
            if states == {PolicyStatus.STATE_RUNNING}:
                return [decode_pose(message, "base_link") for message in list(heard)]
    pytest.skip("this machine is too busy for one round without a stream that is late")


def along(path: list[Pose], num: int = 200) -> list[Pose]:
    """Return poses at even distances of way: paths are compared by where they lead, not by when."""
    # Below 10 um a step is the trembling of an arm that rests.
    moving = [path[0], *(after for before, after in pairwise(path) if distance_m(before, after) > 1e-5)]
    way_m = np.cumsum([0.0, *(distance_m(before, after) for before, after in pairwise(moving))])
    return [moving[int(np.argmin(np.abs(way_m - at_m)))] for at_m in np.linspace(0.0, way_m[-1], num)]


def largest_gap(path: list[Pose], reference: list[Pose]) -> tuple[float, float]:
    """Return how far poses of a path are from the nearest pose of the reference, at most."""
    gaps = [min((distance_m(pose, other), angle_rad(pose, other)) for other in reference) for pose in path]
    return max(gap[0] for gap in gaps), max(gap[1] for gap in gaps)


@pytest.fixture(scope="module")
def reference_path(probe: Probe, tmp_path_factory: pytest.TempPathFactory) -> list[Pose]:
    return along(square(probe, tmp_path_factory.mktemp("reference"), "target_pose"))


@pytest.mark.parametrize("interface", ["twist", "joint_trajectory", "forward_position"])
def test_the_same_actions_give_the_same_path(
    robot: Probe, tmp_path: Path, reference_path: list[Pose], interface: str
) -> None:
    path = along(square(robot, tmp_path, interface))
    there_m, there_rad = largest_gap(path, reference_path)
    back_m, back_rad = largest_gap(reference_path, path)
    print(f"{interface}: {1e3 * max(there_m, back_m):.2f} mm, {max(there_rad, back_rad):.4f} rad")
    assert max(there_m, back_m) < SAME_PATH_M
    assert max(there_rad, back_rad) < SAME_PATH_RAD


def test_trajectories_replace_each_other_without_a_jump_and_end_at_rest(robot: Probe, tmp_path: Path) -> None:
    spec = spec_with(tmp_path, ("interface: target_pose", "interface: joint_trajectory"))
    with (
        listening(robot, JointTrajectory, "arm_controller/joint_trajectory") as sent,
        closed_loop(robot, robot_spec=spec) as loop,
    ):
        loop.run()
        robot.press_estop()
        robot.wait_until_still()
        messages = list(sent)
        robot.press_estop(False)
    assert len(messages) > 5
    for before, after in pairwise(messages):
        assert np.all(np.array(before.points[-1].velocities) == 0.0)
        position, velocity = state_at(before, stamp_ns_of(after))
        assert np.array(after.points[0].positions) == pytest.approx(position, abs=1e-6)
        assert np.array(after.points[0].velocities) == pytest.approx(velocity, abs=1e-4)


def state_at(message: JointTrajectory, stamp_ns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and velocities as a controller interpolates them: cubic between the points."""
    times_s = [point.time_from_start.sec + 1e-9 * point.time_from_start.nanosec for point in message.points]
    positions = np.array([point.positions for point in message.points])
    velocities = np.array([point.velocities for point in message.points])
    at_s = min((stamp_ns - stamp_ns_of(message)) * 1e-9, times_s[-1])
    spline = CubicHermiteSpline(times_s, positions, velocities)
    return spline(at_s), spline(at_s, 1)


@pytest.mark.parametrize(
    ("interface", "kind"), [("joint_trajectory", JointTrajectory), ("forward_position", Float64MultiArray)]
)
def test_in_shadow_mode_joints_are_shown_and_nothing_moves(
    robot: Probe, tmp_path: Path, interface: str, kind: Any
) -> None:
    spec = spec_with(tmp_path, ("interface: target_pose", f"interface: {interface}"))
    topic = "arm_controller/joint_trajectory" if kind is JointTrajectory else "arm_controller/commands"
    with (
        listening(robot, kind, f"/policy_node/shadow/{topic}") as shadow,
        listening(robot, kind, topic) as sent,
        listening(robot, Float64MultiArray, "/policy_node/shadow/gripper_controller/commands") as gripper,
        closed_loop(robot, robot_spec=spec, command_enabled=False),
    ):
        robot.say("swing")
        wait_until(lambda: len(shadow) > 5, "shadow commands")
        wait_until(lambda: [message.data[0] for message in gripper] == [0.04], "the gripper's shadow")
        assert not sent


@pytest.mark.parametrize("interface", ["joint_trajectory", "forward_position"])
def test_a_joint_interface_stands_still_on_disarm_and_goes_on_after_arm(
    robot: Probe, tmp_path: Path, interface: str
) -> None:
    spec = spec_with(tmp_path, ("interface: target_pose", f"interface: {interface}"))
    with closed_loop(robot, robot_spec=spec) as loop:
        loop.run()
        assert robot.trigger("/policy_node/disarm").success
        robot.wait_until_still()
        assert robot.trigger("/policy_node/arm").success
        robot.wait_for_state(PolicyStatus.STATE_RUNNING)
        began_s = time.time()
        wait_until(lambda: robot.joint_speed(began_s - 0.5) > 0.05, "the arm to move again")


def test_the_gripper_is_asked_for_its_newest_decision_when_the_dwell_is_over(robot: Probe, tmp_path: Path) -> None:
    spec = spec_with(tmp_path, ("hysteresis: 0.1", "hysteresis: 0.1\n  min_dwell_s: 0.8"))
    policy = SwingingPolicy()

    def wave(actions: np.ndarray) -> None:
        actions[:, 6] = policy.num_ticks % 2  # open, close, open ... at each tick

    policy.misbehave = wave
    stamps_s: list[float] = []
    subscription = robot.create_subscription(
        Float64MultiArray, "gripper_controller/commands", lambda _: stamps_s.append(time.monotonic()), 10
    )
    with closed_loop(robot, policy, robot_spec=spec) as loop:
        loop.run()
        wait_until(lambda: len(stamps_s) >= 4, "four changes of the gripper")
    robot.destroy_subscription(subscription)
    assert np.min(np.diff(stamps_s)) > 0.7


SLOW = ("max_speed_rad_s: [2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61]", f"max_speed_rad_s: {[0.05] * 7}")


@pytest.mark.parametrize("interface", ["joint_trajectory", "forward_position"])
@pytest.mark.parametrize(
    ("reaction", "ends_in"),
    [
        ("hold", (PolicyStatus.STATE_HOLDING, PolicyStatus.REASON_GUARD_HOLD)),
        ("stop", (PolicyStatus.STATE_STOPPED, PolicyStatus.REASON_GUARD_STOP)),
    ],
)
def test_joints_that_cannot_follow_hold_or_stop_the_arm(
    robot: Probe, tmp_path: Path, interface: str, reaction: str, ends_in: tuple[int, int]
) -> None:
    reactions = ("limits:\n", f"limits:\n  reactions: {{joints: {reaction}}}\n")
    spec = spec_with(tmp_path, ("interface: target_pose", f"interface: {interface}"), SLOW, reactions)
    with closed_loop(robot, robot_spec=spec):
        robot.say("swing")
        status = robot.wait_for_state(*ends_in)
        assert "cannot follow" in status.detail


@pytest.mark.parametrize("interface", ["joint_trajectory", "forward_position"])
def test_joints_that_cannot_follow_go_as_fast_as_they_may(robot: Probe, tmp_path: Path, interface: str) -> None:
    spec = spec_with(tmp_path, ("interface: target_pose", f"interface: {interface}"), SLOW)
    with closed_loop(robot, robot_spec=spec):
        robot.say("swing")
        robot.wait_for_state(PolicyStatus.STATE_RUNNING)
        wait_until(lambda: robot.joint_speed(time.time() - 0.3) > 0.03, "motion")
        robot.joint_states.clear()
        wait_until(lambda: len(robot.joint_states) > 150, "a while of it")
        states = list(robot.joint_states)
    took_s = (stamp_ns_of(states[-1]) - stamp_ns_of(states[0])) * 1e-9
    way_rad = np.abs(np.subtract(states[-1].position[:7], states[0].position[:7]))
    assert 0.01 * took_s < np.max(way_rad) < 0.06 * took_s
