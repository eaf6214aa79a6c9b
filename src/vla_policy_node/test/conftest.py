# SPDX-License-Identifier: Apache-2.0
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
# A domain of its own for each run, in this process and in those that it starts.
os.environ["ROS_DOMAIN_ID"] = str(10 + os.getpid() % 90)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"


@pytest.fixture(scope="session")
def ros() -> Iterator[None]:
    """A ROS context; nothing else in the suite begins one."""
    import rclpy

    rclpy.init()
    yield
    rclpy.try_shutdown()


# Of a module: the recorder's tests have a robot of their own on the same topics.
@pytest.fixture(scope="module")
def probe(ros: None) -> Iterator[object]:
    from closed_loop import Probe, simulated_robot, spinning, wait_until

    made = Probe()
    with spinning(made), simulated_robot():
        wait_until(lambda: len(made.joint_states) > 10, "the simulated robot", timeout_s=60.0)
        yield made


@pytest.fixture
def robot(probe: object) -> Iterator[object]:
    """The probe of a simulated robot that stands at its start pose, without faults."""
    from closed_loop import prepare

    prepare(probe)  # type: ignore[arg-type]
    yield probe
    probe.trigger("/sim_robot/clear_faults")  # type: ignore[attr-defined]
