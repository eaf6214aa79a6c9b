# SPDX-License-Identifier: Apache-2.0
"""The views for RViz and Foxglove name topics, fields and frames that the suite really has."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vla_core.observer import Observer, stream_topics
from vla_core.robot_spec import RobotSpec

ROOT = Path(__file__).resolve().parents[1]
SPEC = RobotSpec.load(ROOT / "config" / "robots" / "sim_arm.yaml")
RVIZ = yaml.safe_load((ROOT / "config" / "rviz" / "vla.rviz").read_text())["Visualization Manager"]
FOXGLOVE = json.loads((ROOT / "config" / "foxglove" / "vla.json").read_text())
NODE = ROOT / "src" / "vla_policy_node" / "vla_policy_node"
OF_THE_DRIVER = {"/robot_description"}
PLOTTED = re.compile(r"(?P<topic>/[\w/]+)\.(?P<field>\w+)(\[(?P<index>\d+)\])?")


def published() -> set[str]:
    """Topics of the simulated robot and of the policy node, as they are without a namespace."""
    own = {
        topic.replace("~", "/policy_node")
        for path in NODE.rglob("*.py")
        for topic in re.findall(r'create_publisher\(\w+, "([~/][\w/]+)"', path.read_text("utf-8"))
    }
    return own | {f"/{topic}" for topic in stream_topics(SPEC).values()} | OF_THE_DRIVER


def topics_of_rviz() -> list[str]:
    displays = RVIZ["Displays"]
    return [
        display[key]["Value"] for display in displays for key in ("Topic", "Description Topic") if key in display
    ]


def panels(layout: Any) -> list[str]:
    return [layout] if isinstance(layout, str) else panels(layout["first"]) + panels(layout["second"])


def topics_of_foxglove() -> list[str]:
    topics = []
    for panel in FOXGLOVE["configById"].values():
        topics += [panel["imageMode"]["imageTopic"]] if "imageMode" in panel else []
        topics += list(panel.get("topics", {}))
        topics += [panel[key] for key in ("topicPath", "topicToRender") if key in panel]
        topics += [path["value"].split(".")[0] for path in panel.get("paths", [])]
    return topics


@pytest.mark.parametrize("topic", sorted({*topics_of_rviz(), *topics_of_foxglove()}))
def test_somebody_publishes_what_is_shown(topic: str) -> None:
    assert topic in published()


@pytest.mark.parametrize("topics", [topics_of_rviz(), topics_of_foxglove()], ids=["rviz", "foxglove"])
def test_both_cameras_and_the_markers_are_shown(topics: list[str]) -> None:
    cameras = {f"/{camera.topic}" for camera in SPEC.cameras.values()}
    assert {*cameras, "/policy_node/markers"} <= set(topics)


def test_the_scene_stands_in_the_base_frame() -> None:
    assert RVIZ["Global Options"]["Fixed Frame"] == SPEC.base_frame
    assert FOXGLOVE["configById"]["3D!scene"]["followTf"] == SPEC.base_frame


def test_every_panel_is_laid_out_once() -> None:
    assert sorted(panels(FOXGLOVE["layout"])) == sorted(FOXGLOVE["configById"])


def test_what_is_plotted_is_a_field_of_the_status_in_the_order_of_the_streams() -> None:
    definition = (ROOT / "src" / "vla_msgs" / "msg" / "PolicyStatus.msg").read_text()
    fields = dict(re.findall(r"^(?:float32|float32\[\]) (\w+)( )", definition, re.MULTILINE))
    streams = list(Observer(SPEC).ages_ms(0))
    for panel in ("Plot!latency", "Plot!ages"):
        for path in FOXGLOVE["configById"][panel]["paths"]:
            found = PLOTTED.fullmatch(path["value"])
            assert found and found["topic"] == "/policy_node/status" and found["field"] in fields, path
            if found["index"] is not None:
                assert path["label"] == f"age of {streams[int(found['index'])]}, ms"


def test_the_views_are_installed() -> None:
    setup = (ROOT / "src" / "vla_policy_node" / "setup.py").read_text()
    assert "config/rviz/*.rviz" in setup and "config/foxglove/*.json" in setup
