# SPDX-License-Identifier: Apache-2.0
"""The latencies that are reported are those of actions that became commands."""

import time

import pytest
from closed_loop import Probe, closed_loop, wait_until

from vla_core.latency import Stage
from vla_msgs.msg import PolicyStatus

pytestmark = pytest.mark.ros

INFERENCE_S = 0.09


def test_a_chunk_that_comes_while_the_arm_holds_has_no_latency(robot: Probe) -> None:
    with closed_loop(robot) as loop:
        loop.policy.misbehave = lambda actions: time.sleep(INFERENCE_S)
        loop.run()
        for _ in range(3):
            # Nearly always an inference is in progress, so its chunk comes after the stream is stale.
            robot.set_parameter("sim_robot", "fault.tcp_pose", "drop")
            robot.wait_for_state(PolicyStatus.STATE_HOLDING)
            time.sleep(0.4)
            robot.trigger("/sim_robot/clear_faults")
            loop.run()
        meter = loop.node._loop.latency  # type: ignore[union-attr]
        wait_until(lambda: meter.percentile_ms(Stage.MODEL, 50) > 1e3 * INFERENCE_S, "a few actions")
        assert meter.percentile_ms(Stage.COMMAND, 100) < 300.0
