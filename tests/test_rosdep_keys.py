# SPDX-License-Identifier: Apache-2.0
"""Every key of every package.xml resolves, and every ROS package that code imports is such a key.

``tests/data/rosdep_keys.yaml`` is the list; with ``ROSDISTRO=FOLDER`` (a checkout of github.com/ros/rosdistro) the
list itself is compared with the truth.
"""

import ast
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
KEYS = yaml.safe_load((ROOT / "tests" / "data" / "rosdep_keys.yaml").read_text())
PACKAGES = {path.parent.name: path for path in sorted(ROOT.glob("src/*/package.xml"))}
KNOWN = {*KEYS["apt"], *KEYS["ros"], *PACKAGES}
# The module of these has another name than the package; what every installation of rclpy brings is not listed.
MODULES = {"tf2_ros": "tf2_ros_py"}
ROS_MODULES = {MODULES.get(name, name) for name in (*KEYS["ros"], *MODULES)} | set(PACKAGES)


def dependencies(package: str) -> set[str]:
    elements = ElementTree.parse(PACKAGES[package]).getroot()
    return {str(element.text).strip() for element in elements if "depend" in element.tag}


def imported_ros_packages(package: str) -> set[str]:
    found = set()
    for path in (PACKAGES[package].parent / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            found |= {module.split(".")[0] for module in modules}
    return {MODULES.get(name, name) for name in found} & ROS_MODULES - {package}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_key_is_known(package: str) -> None:
    unknown = sorted(dependencies(package) - KNOWN)
    assert not unknown, f"src/{package}/package.xml: no rosdep key: {unknown}; see tests/data/rosdep_keys.yaml"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_imported_ros_package_is_declared(package: str) -> None:
    # The seam of replay to the simulated arm is optional: vla_training runs without vla_sim.
    optional = {"vla_training": {"vla_sim"}}.get(package, set())
    missing = imported_ros_packages(package) - dependencies(package) - optional
    assert not missing, f"src/{package}/package.xml lacks <exec_depend> of {sorted(missing)}"


@pytest.mark.skipif("ROSDISTRO" not in os.environ, reason="ROSDISTRO names no checkout of rosdistro")
def test_the_list_is_what_rosdistro_says() -> None:
    rosdistro = Path(os.environ["ROSDISTRO"])
    python = yaml.safe_load((rosdistro / "rosdep" / "python.yaml").read_text())
    repositories = yaml.safe_load((rosdistro / "jazzy" / "distribution.yaml").read_text())["repositories"]
    released = {
        package: name
        for name, repository in repositories.items()
        if "release" in repository
        for package in repository["release"].get("packages", [name])
    }
    assert {key: released.get(key) for key in KEYS["ros"]} == KEYS["ros"]
    for key, packages in KEYS["apt"].items():
        rule = python[key]["ubuntu"]
        assert (rule.get("noble", rule.get("*")) if isinstance(rule, dict) else rule) == packages, key
