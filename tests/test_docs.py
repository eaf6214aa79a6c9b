# SPDX-License-Identifier: Apache-2.0
"""The documents name what the code has: keys of the robot spec, parameters of the node, files."""

import dataclasses
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from vla_core.robot_spec import RobotSpec
from vla_core.supervisor import Reason, State

ROOT = Path(__file__).resolve().parents[1]
BUILT = {"build", "install", "log", "demo_out", "runs", "checkpoints", "datasets", "episodes", "evaluation"}
PARAMETER_FILE = ROOT / "config" / "policy_node.param.yaml"
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    """Every Markdown file of the repository that nobody built or installed."""
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    return sorted(
        path for path in paths if path.parts[0] not in BUILT and not any(p.startswith(".") for p in path.parts)
    )


def dotted_keys(cls: type, prefix: str = "") -> Iterator[str]:
    """Yield the keys of a dataclass; the entries of a mapping of dataclasses are called ``<name>``."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        key, want = f"{prefix}{field.name}", hints[field.name]
        yield key
        inner = typing.get_args(want)[1] if typing.get_origin(want) is dict else want
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            name = "<name>." if inner is not want else ""
            yield from dotted_keys(inner, f"{key}.{name}")


@pytest.mark.parametrize("key", list(dotted_keys(RobotSpec)))
def test_every_key_of_the_robot_spec_is_in_its_reference(key: str) -> None:
    assert f"`{key}`" in (ROOT / "docs" / "robot_spec.md").read_text()


def test_every_command_of_vla_training_is_in_its_readme_and_known_to_ros2_run() -> None:
    package = ROOT / "src" / "vla_training"
    modules = (package / "vla_training").glob("*.py")
    commands = {path.stem for path in modules if '__name__ == "__main__"' in path.read_text()}
    assert set(re.findall(r'"(\w+) = vla_training\.\1:main"', (package / "setup.py").read_text())) == commands
    table = (package / "README.md").read_text().split("## Commands")[1].split("### ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == commands


@pytest.mark.ros
def test_every_parameter_is_in_the_parameter_file_with_its_default() -> None:
    from vla_policy_node.parameters import PolicyNodeParameters

    shipped = yaml.safe_load(PARAMETER_FILE.read_text())["/**"]["ros__parameters"]
    assert shipped == dataclasses.asdict(PolicyNodeParameters())


@pytest.mark.ros
def test_every_parameter_is_in_the_readme_of_the_node() -> None:
    from vla_policy_node.parameters import PolicyNodeParameters

    readme = (ROOT / "src" / "vla_policy_node" / "README.md").read_text()
    assert not [knob.name for knob in dataclasses.fields(PolicyNodeParameters) if f"`{knob.name}`" not in readme]


def test_every_state_and_reason_is_in_the_readme_of_the_node() -> None:
    readme = (ROOT / "src" / "vla_policy_node" / "README.md").read_text()
    assert not [word.name for words in (State, Reason) for word in words if f"`{word.name}`" not in readme]


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", CODE_BLOCK.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", documents(), ids=str)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    broken = []
    for link in LINK.findall(CODE_BLOCK.sub("", (ROOT / document).read_text())):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / document).parent / name if name else ROOT / document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_path_in_the_table_of_contributing_exists() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().split("## Where do I change", maxsplit=1)[1]
    rows = [line for line in table.split("\n## ")[0].splitlines() if line.startswith("|")][2:]
    paths = [path for row in rows for path in re.findall(r"`([^`]+)`", row.split("|")[2])]
    assert len(paths) > 10
    assert not [path for path in paths if not (ROOT / path).exists()]
