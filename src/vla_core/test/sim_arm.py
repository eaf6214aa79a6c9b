# SPDX-License-Identifier: Apache-2.0
"""The shipped robot spec, as tests use it."""

from pathlib import Path
from typing import Any

import yaml

from vla_core.robot_spec import RobotSpec

SIM_ARM = Path(__file__).resolve().parents[3] / "config" / "robots" / "sim_arm.yaml"


def sim_arm_data() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(SIM_ARM.read_text())
    return data


def sim_arm() -> RobotSpec:
    return RobotSpec.load(SIM_ARM)
