# SPDX-License-Identifier: Apache-2.0
"""The latencies that are reported are those of actions that became commands."""

import threading
import time

import numpy as np
import pytest
from closed_loop import Probe, closed_loop

from vla_core.latency import Stage
from vla_msgs.msg import PolicyStatus

pytestmark = pytest.mark.ros


def test_a_chunk_that_comes_while_the_arm_holds_has_no_latency(robot: Probe) -> None:
    go_on, is_waiting = threading.Event(), threading.Event()

    def wait(actions: np.ndarray) -> None:
        is_waiting.set()
        go_on.wait(5.0)

    with closed_loop(robot, action_timeout_s=10.0) as loop:
        loop.run()
        loop.policy.misbehave = wait
        assert is_waiting.wait(5.0)
        robot.set_parameter("sim_robot", "fault.tcp_pose", "drop")
        robot.wait_for_state(PolicyStatus.STATE_HOLDING)
        loop.policy.misbehave = lambda actions: None
        go_on.set()
        time.sleep(1.0)  # the chunk of the inference that waited comes now, while the arm holds
        robot.trigger("/sim_robot/clear_faults")
        loop.run()
        meter = loop.node._running.loop.latency
        assert meter.percentile_ms(Stage.TOTAL, 100) < 500.0
