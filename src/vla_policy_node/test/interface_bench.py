# SPDX-License-Identifier: Apache-2.0
"""Robot specs for tests that differ from the shipped one, and ears on topics."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from closed_loop import SIM_ARM
from rclpy.node import Node

URDF = SIM_ARM.with_suffix(".urdf")


def spec_with(folder: Path, *changes: tuple[str, str]) -> str:
    """Write the shipped robot spec with some text replaced, beside its URDF; return its path."""
    text = SIM_ARM.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (folder / URDF.name).write_text(URDF.read_text())
    path = folder / "robot.yaml"
    path.write_text(text)
    return str(path)


@contextmanager
def listening(node: Node, kind: Any, topic: str, qos: Any = 10) -> Iterator[list[Any]]:
    heard: list[Any] = []
    subscription = node.create_subscription(kind, topic, heard.append, qos)
    try:
        yield heard
    finally:
        node.destroy_subscription(subscription)
