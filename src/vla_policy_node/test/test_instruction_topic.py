# SPDX-License-Identifier: Apache-2.0
"""``ros2 topic pub`` of any generation reaches the policy; a repeated sentence is no new one."""

import time

import numpy as np
import pytest
from closed_loop import Probe, closed_loop, wait_until
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message

from vla_core.errors import InstructionError
from vla_msgs.msg import Instruction, PolicyStatus

pytestmark = pytest.mark.ros

VOLATILE = QoSProfile(depth=10, durability=QoSDurabilityPolicy.VOLATILE)
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


@pytest.mark.parametrize("qos", [VOLATILE, LATCHED], ids=["volatile", "latched"])
def test_a_publisher_of_either_durability_is_heard(robot: Probe, qos: QoSProfile) -> None:
    with closed_loop(robot) as loop:
        publisher = robot.create_publisher(Instruction, "/vla/instruction", qos)
        wait_until(lambda: publisher.get_subscription_count() > 0, "a match")
        publisher.publish(Instruction(text="open the drawer"))
        robot.wait_for_state(PolicyStatus.STATE_RUNNING)
        wait_until(lambda: "open the drawer" in loop.policy.instructions, "an inference")
        assert loop.policy.num_resets == 1, "one sentence begins one episode"
        robot.destroy_publisher(publisher)


def test_a_sentence_latched_before_the_node_started_is_followed(robot: Probe) -> None:
    publisher = robot.create_publisher(Instruction, "/vla/instruction", LATCHED)
    publisher.publish(Instruction(text="close the drawer"))
    time.sleep(0.5)
    with closed_loop(robot) as loop:
        robot.wait_for_state(PolicyStatus.STATE_RUNNING)
        wait_until(lambda: "close the drawer" in loop.policy.instructions, "an inference")
    robot.destroy_publisher(publisher)


def test_an_old_latched_sentence_does_not_undo_a_stop(robot: Probe) -> None:
    publisher = robot.create_publisher(Instruction, "/vla/instruction", LATCHED)
    with closed_loop(robot):
        wait_until(lambda: publisher.get_subscription_count() > 0, "a match")
        publisher.publish(Instruction(text="close the drawer"))
        robot.say("")
        robot.wait_for_state(PolicyStatus.STATE_IDLE, PolicyStatus.REASON_INSTRUCTION_EMPTY)
        time.sleep(1.5)  # the latched subscription has been opened by now and was handed the old sentence
        assert robot.status is not None
        assert robot.status.reason == PolicyStatus.REASON_INSTRUCTION_EMPTY
    robot.destroy_publisher(publisher)


def test_the_same_sentence_again_is_no_reset_and_another_one_is(robot: Probe) -> None:
    with closed_loop(robot) as loop:
        for _ in range(10):  # ros2 topic pub -r 20
            robot.say("open the drawer")
            time.sleep(0.05)
        wait_until(lambda: loop.policy.num_ticks > 5, "inferences")
        assert loop.policy.num_resets == 1
        robot.say("close the drawer")
        wait_until(lambda: loop.policy.num_resets == 2, "a reset")
        assert robot.wait_for_state(PolicyStatus.STATE_RUNNING)


def test_a_new_sentence_keeps_history_where_the_operator_says_so(robot: Probe) -> None:
    with closed_loop(robot, on_new_instruction="keep") as loop:
        robot.say("open the drawer")
        wait_until(lambda: loop.policy.num_ticks > 2, "inferences")
        robot.say("close the drawer")
        wait_until(lambda: "close the drawer" in loop.policy.instructions, "the new sentence")
        assert loop.policy.num_resets == 1


def test_a_stop_outlasts_an_older_sentence_that_is_still_latched(robot: Probe) -> None:
    publisher = robot.create_publisher(Instruction, "/vla/instruction", LATCHED)
    publisher.publish(Instruction(text="an old sentence"))
    time.sleep(0.3)
    with closed_loop(robot, activate=False) as loop:
        robot.say("")
        loop.transition("activate")
        time.sleep(1.5)
        assert robot.status is not None
        assert robot.status.reason == PolicyStatus.REASON_INSTRUCTION_EMPTY
    robot.destroy_publisher(publisher)


@pytest.mark.parametrize(
    ("bytes_in_place_of_abcd", "words"), [(b"\xff\xfe\xfd\xfc", "UTF-8"), (b"a\x01bc", "control character")]
)
def test_bytes_that_are_no_text_are_refused(robot: Probe, bytes_in_place_of_abcd: bytes, words: str) -> None:
    with closed_loop(robot) as loop:
        publisher = robot.create_publisher(Instruction, "/vla/instruction", VOLATILE)
        wait_until(lambda: publisher.get_subscription_count() > 0, "a match")
        data = serialize_message(Instruction(text="abcd"))
        publisher.publish(data.replace(b"abcd", bytes_in_place_of_abcd))
        status = robot.wait_for_state(PolicyStatus.STATE_IDLE, PolicyStatus.REASON_INSTRUCTION_REFUSED)
        assert words in status.detail
        assert loop.policy.num_ticks == 0
        robot.destroy_publisher(publisher)


def test_a_sentence_that_the_model_cannot_read_is_refused_and_the_next_one_is_followed(robot: Probe) -> None:
    def refuse(actions: np.ndarray) -> None:
        raise InstructionError("instruction: '<image>' is a control word of the model. Leave it out")

    with closed_loop(robot) as loop:
        loop.policy.misbehave = refuse
        robot.say("look at the <image>")
        status = robot.wait_for_state(PolicyStatus.STATE_IDLE, PolicyStatus.REASON_INSTRUCTION_REFUSED)
        assert "control word" in status.detail
        loop.policy.misbehave = lambda actions: None
        robot.say("open the drawer")
        robot.wait_for_state(PolicyStatus.STATE_RUNNING)
