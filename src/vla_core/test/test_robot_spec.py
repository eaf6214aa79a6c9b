# SPDX-License-Identifier: Apache-2.0
import copy
from pathlib import Path
from typing import Any

import pytest
from sim_arm import SIM_ARM, sim_arm_data

from vla_core.config import build
from vla_core.errors import ConfigError
from vla_core.robot_spec import RobotSpec


def changed(path: str, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(sim_arm_data())
    *parents, last = path.split(".")
    inner = data
    for key in parents:
        inner = inner[key]
    inner[last] = value
    return data


def test_every_shipped_robot_spec_loads() -> None:
    specs = sorted(SIM_ARM.parent.glob("*.yaml"))
    assert SIM_ARM in specs
    for path in specs:
        assert RobotSpec.load(path).cameras


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("cameras.static.max_age_ms", 20.0, ["cameras.static", "max_age_ms 20", "33"]),
        ("cameras.wrist.frozen_after_ms", 30.0, ["cameras.wrist", "frozen_after_ms", "null"]),
        ("cameras.static.width_px", 0, ["cameras.static", "width_px", "above 0"]),
        ("cameras.gripper", {}, ["cameras.gripper", "missing key"]),
        ("cameras", {}, ["cameras", "static"]),
        ("joints.lower_rad", [0.0], ["joints", "lower_rad has 1 values for 7 joints"]),
        ("joints.names", ["a"] * 7, ["names", "once"]),
        ("joints.upper_rad", [-3.0] * 7, ["joint1", "not below"]),
        ("gripper.joint_open", 0.0, ["gripper", "polarity"]),
        ("gripper.command_open", 0.0, ["gripper", "could not move"]),
        ("gripper.topic", "", ["gripper", "no ROS topic name"]),
        ("gripper.joint", "joint3", ["joint3", "arm joint"]),
        ("command.interface", "torque", ["command.interface", "torque", "target_pose"]),
        ("command.topics", {"twist": "t"}, ["target_pose", "no topic"]),
        ("command.rate_hz", 0.0, ["rate_hz", "above 0"]),
        ("limits.workspace_max_m", [0.0, 1.0, 1.0], ["workspace x", "not below"]),
        ("limits.max_step_m", -1.0, ["max_step_m", "above 0"]),
        ("tcp_pose.topic", "joint_states", ["joint_states", "share"]),
        ("tcp_frame", "base_link", ["base_frame and tcp_frame"]),
        ("tcp_pose.rate_hz", 5.0, ["tcp_pose", "max_age_ms"]),
    ],
)
def test_contradictions_are_sentences(path: str, value: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        build(RobotSpec, changed(path, value), where="robot.yaml")
    assert all(word in str(caught.value) for word in ["robot.yaml", *words]), str(caught.value)


def test_a_file_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "arm.yaml"
    path.write_text(SIM_ARM.read_text().replace("rate_hz: 50.0", "rate_hs: 50.0"))
    with pytest.raises(ConfigError, match=r"arm\.yaml: command: unknown key 'rate_hs'. Did you mean 'rate_hz'"):
        RobotSpec.load(path)
