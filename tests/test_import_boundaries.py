# SPDX-License-Identifier: Apache-2.0
"""Imports run one way (docs/architecture.md); ruff says so in the editor, this test says so for good."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
ROS = {
    *("rclpy", "rcl_interfaces", "builtin_interfaces", "lifecycle_msgs", "action_msgs", "std_msgs", "std_srvs"),
    *("sensor_msgs", "geometry_msgs", "trajectory_msgs", "diagnostic_msgs", "control_msgs", "visualization_msgs"),
    *("cv_bridge", "tf2_ros", "rosbag2_py", "launch", "launch_ros"),
}
SUITE = {"vla_core", "vla_msgs", "vla_policy_node", "vla_sim", "vla_training"}
ALLOWED = {
    "vla_core": set(),
    "vla_training": {"vla_core"},
    "vla_sim": {"vla_core"} | ROS,
    "vla_policy_node": {"vla_core", "vla_msgs"} | ROS,
}
SEAMS = {
    # Replay compares a dataset with the simulated arm; this file is its seam, and is imported without it.
    ("vla_training/vla_training/simulated_arm.py", "vla_sim"),
    # The closed-loop benchmark runs in the simulated world; this file is its seam, and is imported without it.
    ("vla_training/vla_training/evaluation/tabletop/simulator.py", "vla_sim"),
    # Lessons are given in the simulated world; both files import it when they are asked for some.
    ("vla_training/vla_training/collect_tabletop.py", "vla_sim"),
    ("vla_training/vla_training/tabletop/school.py", "vla_sim"),
    # Trials through ROS speak to the policy node as a person would, in the suite's own messages.
    ("vla_sim/vla_sim/trial_node.py", "vla_msgs"),
}
# Layers of vla_core, lowest first: a file imports from its own layer and from those before it.
LAYERS = [
    (
        "words",
        [
            *("errors", "config", "geometry", "types", "latency", "instruction", "units"),
            *("atomic_exchange", "episode_record", "journal", "trial_log", "terminal_keys", "whole_file"),
        ],
    ),
    ("numbers", ["actions", "images", "robot_state"]),
    (
        "robot",
        [
            *("robot_spec", "codecs", "timeline", "twist", "guard", "observer", "schedules", "policy_clock"),
            "kinematics",
        ],
    ),
    (
        "control",
        [
            "policy_contract",
            "training_domain",
            "controller",
            "supervisor",
            "soft_start",
            "joint_following",
            "joint_trajectory",
        ],
    ),
    ("model", ["model"]),
    ("policy", ["checkpoint_card", "checkpoint", "streams", "policy", "remote"]),
]
USES_TORCH = {"model", "checkpoint", "streams", "policy"}


def modules(package: str) -> list[Path]:
    return sorted((SRC / package / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    forbidden = (SUITE | ROS) - ALLOWED[package] - {package}
    found = {
        f"{path.relative_to(SRC)} imports {name}"
        for path in modules(package)
        for name in imports(path)
        if name.split(".")[0] in forbidden and (path.relative_to(SRC).as_posix(), name.split(".")[0]) not in SEAMS
    }
    assert not found


def layer_of(module: str) -> int:
    for index, (_, names) in enumerate(LAYERS):
        if module in names:
            return index
    raise AssertionError(f"vla_core.{module} is in no layer: add it to LAYERS and to docs/architecture.md")


def test_architecture_has_the_layers_in_its_table() -> None:
    _, _, table = (ROOT / "docs" / "architecture.md").read_text().partition("| layer | files |\n")
    rows = [row.split("|")[1:3] for row in table.split("\n\n")[0].splitlines()[1:]]
    found = [(layer.strip(), set(re.findall(r"`(\w+)/?`", files))) for layer, files in rows]
    assert found == [(layer, set(names)) for layer, names in LAYERS]


def test_vla_core_layers_point_downwards() -> None:
    upwards = []
    for path in modules("vla_core"):
        own = path.relative_to(SRC / "vla_core" / "vla_core").parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "vla_core" and len(parts) > 1 and layer_of(parts[1]) > layer_of(own):
                upwards.append(f"{path.name} imports {name}")
    assert not upwards


def run_without(blocked: set[str], names: list[str]) -> subprocess.CompletedProcess[str]:
    """Import modules in an interpreter in which some packages do not exist."""
    script = (
        "import importlib, sys\n"
        f"for name in {sorted(blocked)!r}: sys.modules[name] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def names_of(package: str, skip: set[str] = frozenset()) -> list[str]:
    paths = [path.relative_to(SRC / package).with_suffix("") for path in modules(package)]
    dotted = [".".join(part for part in path.parts if part != "__init__") for path in paths]
    return [name for name in dotted if not skip & set(name.split("."))]


@pytest.mark.parametrize("package", ["vla_core", "vla_training"])
def test_core_and_training_import_without_ros(package: str) -> None:
    done = run_without(ROS | {"vla_msgs", "vla_sim"}, names_of(package))
    assert done.returncode == 0, done.stderr


def test_everything_below_the_model_imports_without_torch() -> None:
    done = run_without({"torch", "transformers"}, names_of("vla_core", skip=USES_TORCH))
    assert done.returncode == 0, done.stderr


def test_no_file_is_long_and_none_is_called_utils() -> None:
    paths = [path for package in ALLOWED for path in modules(package)]
    assert not [path.name for path in paths if path.stem in {"utils", "common", "helpers", "misc"}]
    too_long = {path.name: n for path in paths if (n := len(path.read_text().splitlines())) > 400}
    assert not too_long
