# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest

from vla_core.robot_spec import RobotSpec
from vla_sim.tabletop import Tabletop

SPEC_PATH = Path(__file__).parents[3] / "config/robots/sim_arm.yaml"


@pytest.fixture(scope="session")
def spec_path() -> Path:
    return SPEC_PATH


@pytest.fixture(scope="session")
def spec() -> RobotSpec:
    return RobotSpec.load(SPEC_PATH)


@pytest.fixture(scope="session")
def ros_domain_id() -> int:
    """A domain of its own for each run, and other than the one of the policy node's tests."""
    return 60 + os.getpid() % 40


@pytest.fixture
def tabletop() -> Tabletop:
    return Tabletop()
