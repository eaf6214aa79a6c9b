# SPDX-License-Identifier: Apache-2.0
"""What an integrator meets: shadow mode, wrong robots and checkpoints, bad messages, twist, reports."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from closed_loop import CONTRACT, SIM_ARM, STILL_RAD_S, Probe, SwingingPolicy, closed_loop, spinning, wait_until
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray

from vla_core.supervisor import Reason, State
from vla_core.types import ActionChunk as ActionChunkValue
from vla_msgs.msg import ActionChunk, PolicyStatus
from vla_policy_node.parameters import PolicyNodeParameters
from vla_policy_node.policy_node import PolicyNode

pytestmark = pytest.mark.ros


def changed_spec(tmp_path: Path, text: str, replacement: str) -> str:
    """Return the shipped spec with one change, and without the soft start that would hide it."""
    original = SIM_ARM.read_text()
    assert text in original
    path = tmp_path / "robot.yaml"
    path.write_text(original.replace(text, replacement).replace("limits:\n", "limits:\n  soft_start_s: 0.0\n"))
    return str(path)


def test_commands_are_off_until_asked_for(robot: Probe) -> None:
    with closed_loop(robot, command_enabled=PolicyNodeParameters().command_enabled):
        robot.say("swing")
        robot.wait_for_state(PolicyStatus.STATE_RUNNING)
        wait_until(lambda: len(robot.shadow_commands) > 20, "shadow commands")
        assert not robot.commands
        assert robot.joint_speed(time.time() - 0.3) < STILL_RAD_S
        robot.set_parameter("policy_node", "command_enabled", True)
        wait_until(lambda: robot.joint_speed(time.time() - 0.3) > 0.05, "motion")
        robot.set_parameter("policy_node", "command_enabled", False)
        robot.wait_until_still()


def test_a_sentence_before_activation_moves_nothing(robot: Probe) -> None:
    with closed_loop(robot, activate=False) as loop:
        robot.say("swing")
        robot.wait_for_state(PolicyStatus.STATE_INACTIVE)
        time.sleep(0.5)
        assert loop.policy.num_ticks == 0
        assert not robot.commands


def test_twist_moves_the_arm_and_stops_with_zero(robot: Probe, tmp_path: Path) -> None:
    spec = changed_spec(tmp_path, "interface: target_pose", "interface: twist")
    with closed_loop(robot, robot_spec=spec) as loop:
        loop.run()
        speeds = [abs(command.twist.linear.y) for command in list(robot.commands)[-20:]]
        assert np.median(speeds) == pytest.approx(0.1, rel=0.5)
        robot.say("")
        robot.wait_for_state(PolicyStatus.STATE_IDLE)
        time.sleep(0.3)
        assert robot.commands[-1].twist.linear.y == 0.0
        robot.wait_until_still()


def configure(policy: SwingingPolicy, **parameters: Any) -> tuple[str, str]:
    """Try to configure a node; return the transition's result and what the latched status says."""
    return configure_with(lambda *_: policy, **parameters)


def configure_with(loader: Any, **parameters: Any) -> tuple[str, str]:
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    node = PolicyNode(loader, parameter_overrides=overrides)
    listener = Probe()
    with spinning(listener):
        try:
            wait_until(lambda: listener.status is not None, "a status")
            listener.statuses.clear()
            result = node.trigger_configure().name
            wait_until(lambda: listener.status is not None, "a status")
            return result, listener.statuses[-1].detail
        finally:
            node.destroy_node()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cameras": ("static", "overhead"), "image_aspects": (1.0, 1.0)}, ["overhead", "wrist", "cameras"]),
        ({"period_s": 0.02}, ["50 Hz", "30 Hz"]),
        ({"image_aspects": (4 / 3, 1.0)}, ["aspect 1.333", "200x200"]),
    ],
)
def test_a_checkpoint_for_another_robot_is_refused_with_both_values(
    ros: None, change: dict[str, Any], words: list[str]
) -> None:
    policy = SwingingPolicy(dataclasses.replace(CONTRACT, **change))
    result, why = configure(policy, robot_spec=str(SIM_ARM))
    assert result == TransitionCallbackReturn.FAILURE.name
    assert all(word in why for word in words), why


@pytest.mark.parametrize(
    ("text", "replacement", "words"),
    [
        ("rate_hz: 50.0", "rate_hs: 50.0", "Did you mean 'rate_hz'"),
        ("interface: target_pose", "interface: cartesian_velocity", "'cartesian_velocity'"),
    ],
)
def test_a_wrong_robot_spec_is_refused(ros: None, tmp_path: Path, text: str, replacement: str, words: str) -> None:
    result, why = configure(SwingingPolicy(), robot_spec=changed_spec(tmp_path, text, replacement))
    assert result == TransitionCallbackReturn.FAILURE.name
    assert words in why


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({}, "robot_spec' is empty"), ({"robot_spec": "/nowhere.yaml"}, "no such file")],
)
def test_a_missing_robot_spec_is_a_sentence(ros: None, parameters: dict[str, str], words: str) -> None:
    result, why = configure(SwingingPolicy(), **parameters)
    assert result == TransitionCallbackReturn.FAILURE.name
    assert words in why


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"step": 3}, "step is 3"),
        ({"encoding": "bayer_rggb8"}, "bayer_rggb8"),
        ({"height": 100_000}, "size"),
    ],
)
def test_a_lying_image_holds_the_arm_with_a_sentence(robot: Probe, fields: dict[str, Any], words: str) -> None:
    publisher = robot.create_publisher(Image, "static_camera/image_raw", qos_profile_sensor_data)
    with closed_loop(robot) as loop:
        loop.run()
        robot.set_parameter("sim_robot", "fault.static", "drop")

        def publish() -> None:
            pixels = np.random.default_rng().integers(0, 255, 200 * 200 * 3, dtype=np.uint8)
            image = Image(width=200, height=200, step=600, encoding="rgb8", data=pixels.tobytes())
            image.header.stamp = robot.get_clock().now().to_msg()
            for name, value in fields.items():
                setattr(image, name, value)
            publisher.publish(image)

        timer = robot.create_timer(1 / 30, publish)
        status = robot.wait_for_state(PolicyStatus.STATE_HOLDING, PolicyStatus.REASON_STREAM_INVALID)
        assert words in status.detail
        assert "static" in status.detail
        robot.wait_until_still()
        robot.destroy_timer(timer)
    robot.destroy_publisher(publisher)


def test_a_slow_model_is_reported_and_its_old_actions_are_not_executed(robot: Probe) -> None:
    with closed_loop(robot, action_timeout_s=0.5) as loop:
        loop.run()
        loop.policy.misbehave = lambda actions: time.sleep(1.0)
        status = robot.wait_for_state(PolicyStatus.STATE_HOLDING, PolicyStatus.REASON_ACTION_LATE)
        assert "0.5 s" in status.detail
        time.sleep(1.0)
        assert robot.joint_speed(time.time() - 0.5) < STILL_RAD_S
        loop.policy.misbehave = lambda actions: None
        loop.run()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("schedule", "fastest", "first_action, receding_horizon"),
        ("on_new_instruction", "maybe", "reset, keep"),
        ("num_executed", 0, "num_executed"),
        ("action_timeout_s", -1.0, "action_timeout_s"),
        ("robot_spec", "other.yaml", "read-only"),
    ],
)
def test_a_parameter_out_of_bounds_is_refused(robot: Probe, name: str, value: Any, words: str) -> None:
    with closed_loop(robot), pytest.raises(AssertionError, match=words):
        robot.set_parameter("policy_node", name, value)


def test_status_chunks_and_diagnostics_tell_what_happens(robot: Probe) -> None:
    chunks: list[ActionChunk] = []
    diagnostics: list[DiagnosticArray] = []
    listeners = [
        robot.create_subscription(ActionChunk, "/policy_node/action_chunk", lambda m: chunks.append(m), 10),
        robot.create_subscription(DiagnosticArray, "/diagnostics", lambda m: diagnostics.append(m), 10),
    ]
    with closed_loop(robot, schedule="receding_horizon", num_executed=2) as loop:
        loop.run("open the drawer")
        time.sleep(1.5)
        status = robot.status
        assert status is not None
        assert status.instruction == "open the drawer"
        assert status.command_enabled
        assert status.policy_is_trained
        assert list(status.stream_names) == ["static", "wrist", "tcp_pose", "joints"]
        assert max(status.stream_ages_ms) < 80
        assert status.policy_rate_hz == pytest.approx(10, rel=0.1)
        assert 0 < status.latency_p50_ms <= status.latency_p95_ms
        chunk = chunks[-1]
        assert (chunk.chunk_size, chunk.action_frame, chunk.header.frame_id) == (2, "base", "base_link")
        assert len(chunk.actions) == chunk.chunk_size * ActionChunk.ACTION_DIM
        ours = [array for array in diagnostics if "policy" in array.status[0].name]
        values = {pair.key: pair.value for pair in ours[-1].status[0].values}
        for percent in (50, 95, 99):
            assert math.isfinite(float(values[f"latency.stamp_to_command.p{percent}_ms"]))
        assert {f"guard.{stage}" for stage in ("finite", "age", "step", "speed", "workspace")} <= set(values)
        assert int(values["actions"]) > 0
    for listener in listeners:
        robot.destroy_subscription(listener)


def test_a_tcp_pose_far_outside_the_workspace_holds_the_arm(robot: Probe) -> None:
    publisher = robot.create_publisher(PoseStamped, "tcp_pose", qos_profile_sensor_data)
    with closed_loop(robot) as loop:
        loop.run()
        robot.set_parameter("sim_robot", "fault.tcp_pose", "drop")

        def publish() -> None:
            pose = PoseStamped()
            pose.header.frame_id, pose.header.stamp = "base_link", robot.get_clock().now().to_msg()
            pose.pose.position.x, pose.pose.orientation.w = 466.0, 1.0  # millimetres
            publisher.publish(pose)

        timer = robot.create_timer(0.01, publish)
        status = robot.wait_for_state(PolicyStatus.STATE_HOLDING, PolicyStatus.REASON_POSE_IMPLAUSIBLE)
        assert "outside the workspace" in status.detail
        robot.wait_until_still()
        robot.destroy_timer(timer)
    robot.destroy_publisher(publisher)


def test_reset_forgets_history(robot: Probe) -> None:
    with closed_loop(robot) as loop:
        loop.run()
        assert robot.trigger("/policy_node/reset").success
        wait_until(lambda: loop.policy.num_resets == 2, "a reset")


def test_status_constants_are_those_of_the_supervisor() -> None:
    for enum, prefix in ((State, "STATE_"), (Reason, "REASON_")):
        constants = {name: getattr(PolicyStatus, name) for name in dir(PolicyStatus) if name.startswith(prefix)}
        assert constants == {f"{prefix}{member.name}": member.value for member in enum}


def test_a_gripper_decision_in_shadow_mode_is_not_sent_when_commands_are_enabled(robot: Probe) -> None:
    sent: list[Any] = []
    listener = robot.create_subscription(
        Float64MultiArray, "gripper_controller/commands", lambda m: sent.append(m), 10
    )

    def undecided(actions: np.ndarray) -> None:
        actions[:, 6] = 0.5

    with closed_loop(robot, command_enabled=False) as loop:
        robot.say("swing")
        wait_until(lambda: loop.policy.num_ticks > 3, "inferences")
        loop.policy.misbehave = undecided
        time.sleep(0.3)
        robot.set_parameter("policy_node", "command_enabled", True)
        wait_until(lambda: len(robot.commands) > 20, "commands")
        assert not sent
    robot.destroy_subscription(listener)


def test_an_estop_outlasts_deactivation_and_cleanup(robot: Probe) -> None:
    with closed_loop(robot) as loop:
        robot.press_estop()
        robot.wait_for_state(PolicyStatus.STATE_STOPPED, PolicyStatus.REASON_ESTOP)
        robot.press_estop(pressed=False)
        time.sleep(0.2)
        for transition in ("deactivate", "cleanup", "configure", "activate"):
            loop.transition(transition)
        robot.wait_for_state(PolicyStatus.STATE_STOPPED, PolicyStatus.REASON_ESTOP)
        assert robot.trigger("/policy_node/arm").success
        loop.run()


def test_after_a_gap_the_policy_is_stepped_at_its_own_spacing(robot: Probe) -> None:
    stamps: list[float] = []
    with closed_loop(robot) as loop:
        loop.policy.misbehave = lambda actions: stamps.append(time.monotonic())
        loop.run()
        robot.set_parameter("sim_robot", "fault.static", "drop")
        robot.wait_for_state(PolicyStatus.STATE_HOLDING)
        time.sleep(0.5)
        robot.trigger("/sim_robot/clear_faults")
        loop.run()
        assert np.min(np.diff(stamps)) > 0.04


def test_the_twist_does_not_falter_between_policy_actions(robot: Probe, tmp_path: Path) -> None:
    spec = changed_spec(tmp_path, "interface: target_pose", "interface: twist")
    with closed_loop(robot, robot_spec=spec) as loop:
        loop.policy.misbehave = lambda actions: actions[:, 1].fill(0.2)
        loop.run()
        for _ in range(5):
            robot.commands.clear()
            robot.statuses.clear()
            time.sleep(1.0)
            speeds = [command.twist.linear.y for command in list(robot.commands)]
            if {status.state for status in list(robot.statuses)} == {PolicyStatus.STATE_RUNNING}:
                break  # otherwise a busy machine has made a stream late, and the arm has held
        assert len(speeds) > 40
        assert np.quantile(speeds, 0.05) > 0.02


def test_an_error_inside_the_node_stops_the_arm_and_not_the_process(robot: Probe) -> None:
    with closed_loop(robot) as loop:
        loop.run()
        # A chunk that is no chunk stands for any bug between the policy and the arm.
        broken = ActionChunkValue(stamp_ns="soon", period_s=0.1, actions=np.zeros((1, 7)))  # type: ignore[arg-type]
        loop.policy.infer = lambda *_: broken  # type: ignore[method-assign]
        status = robot.wait_for_state(PolicyStatus.STATE_STOPPED, PolicyStatus.REASON_INTERNAL_ERROR)
        assert "Error" in status.detail
        robot.wait_until_still()


def test_an_error_while_loading_is_a_sentence(ros: None) -> None:
    def explode(*_: Any) -> SwingingPolicy:
        raise RuntimeError("CUDA out of memory")

    result, why = configure_with(explode, robot_spec=str(SIM_ARM))
    assert result == TransitionCallbackReturn.FAILURE.name
    assert "CUDA out of memory" in why
