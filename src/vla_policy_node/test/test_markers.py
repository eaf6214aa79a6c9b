# SPDX-License-Identifier: Apache-2.0
"""Markers show where the chunk leads, what the guard takes away, and the guard's boxes; and only to who looks."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_core.actions.action_space import ActionSpace
from vla_core.geometry import Pose
from vla_core.robot_spec import KeepOutBox, RobotSpec
from vla_core.types import ActionChunk
from vla_policy_node.predicted_way import predicted_way

pytestmark = pytest.mark.ros

SPEC = RobotSpec.load(Path(__file__).resolve().parents[3] / "config" / "robots" / "sim_arm.yaml")
SPACE = ActionSpace(frame="base")
START = Pose.from_euler([0.5, 0.0, 0.3], [np.pi, 0.0, 0.0])
UNIT_M = SPACE.translation_m


def chunk_of(*rows: list[float]) -> np.ndarray:
    return np.array([[*row, 0.0, 0.0, 0.0, 1.0] for row in rows], np.float32)


def by_namespace(markers: list) -> dict[str, list]:
    return {name: [marker for marker in markers if marker.ns == name] for name in {m.ns for m in markers}}


def test_a_chunk_inside_the_limits_is_a_line_of_its_poses_from_the_tcp() -> None:
    from vla_policy_node.markers import way_markers

    way = predicted_way(chunk_of([0.5, 0, 0], [0.5, 0, 0], [0, 0.5, 0]), SPACE, SPEC, START)
    found = by_namespace(way_markers(START, way))
    assert set(found) == {"chunk", "chunk_poses"}
    (line,) = found["chunk"]
    points = np.array([[point.x, point.y, point.z] for point in line.points])
    ways = UNIT_M * np.array([[0, 0, 0], [0.5, 0, 0], [1, 0, 0], [1, 0.5, 0]])
    assert points == pytest.approx(START.position_m + ways)
    assert len(line.colors) == len(line.points)
    assert (line.colors[0].b, line.colors[-1].r) == pytest.approx((0.95, 1.0)), "blue is now, yellow the end"


def test_what_the_guard_takes_away_is_red_and_named() -> None:
    from vla_policy_node.markers import way_markers

    edge = Pose.from_euler([SPEC.limits.workspace_max_m[0] - 0.5 * UNIT_M, 0.0, 0.3], [np.pi, 0.0, 0.0])
    way = predicted_way(chunk_of([1, 0, 0]), SPACE, SPEC, edge)
    assert way[0].stages == ("workspace",)
    taken, text = by_namespace(way_markers(edge, way))["guard"]
    admitted, asked = taken.points
    assert admitted.x == pytest.approx(SPEC.limits.workspace_max_m[0])
    assert asked.x == pytest.approx(admitted.x + 0.5 * UNIT_M)
    assert (taken.color.r, taken.color.g) == (pytest.approx(0.9), pytest.approx(0.1))
    assert text.text == "workspace"


def test_a_step_that_is_too_large_is_named() -> None:
    limits = dataclasses.replace(SPEC.limits, max_step_m=UNIT_M / 2)
    way = predicted_way(chunk_of([1, 0, 0]), SPACE, dataclasses.replace(SPEC, limits=limits), START)
    assert way[0].stages == ("step",)


def test_a_way_ends_where_the_guard_would_hold() -> None:
    limits = dataclasses.replace(SPEC.limits, max_step_m=UNIT_M / 2, reactions={"step": "hold"})
    spec = dataclasses.replace(SPEC, limits=limits)
    way = predicted_way(chunk_of([0.2, 0, 0], [1, 0, 0], [0.2, 0, 0]), SPACE, spec, START)
    assert [step.stages for step in way] == [(), ("step",)]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.floats(width=32), min_size=7, max_size=7), min_size=0, max_size=6),
)
def test_whatever_the_policy_says_is_drawn_with_finite_numbers(rows: list[list[float]]) -> None:
    from vla_policy_node.markers import way_markers

    way = predicted_way(np.array(rows, np.float32).reshape(-1, 7), SPACE, SPEC, START)
    for marker in way_markers(START, way):
        for point in marker.points:
            assert np.isfinite([point.x, point.y, point.z]).all()


def test_boxes_are_drawn_where_the_robot_spec_has_them() -> None:
    from vla_policy_node.markers import box_markers

    shelf = KeepOutBox(name="shelf", min_m=(0.4, -0.1, 0.0), max_m=(0.6, 0.3, 0.2))
    found = by_namespace(box_markers(dataclasses.replace(SPEC.limits, keep_out=(shelf,))))
    (edges,) = found["workspace"]
    assert len(edges.points) == 2 * 12
    corners = np.array([[point.x, point.y, point.z] for point in edges.points])
    assert corners.min(axis=0) == pytest.approx(SPEC.limits.workspace_min_m)
    assert corners.max(axis=0) == pytest.approx(SPEC.limits.workspace_max_m)
    body, name = found["keep_out"]
    assert (body.pose.position.y, body.scale.y) == (pytest.approx(0.1), pytest.approx(0.4))
    assert name.text == "shelf"


def test_markers_go_out_only_while_somebody_looks(ros: None) -> None:
    import time

    import rclpy
    from closed_loop import wait_until
    from visualization_msgs.msg import MarkerArray

    from vla_policy_node.markers import MarkerPublisher

    node = rclpy.create_node("drawing")
    viewer = rclpy.create_node("viewer")
    try:
        markers = MarkerPublisher(node, SPEC, SPACE)
        heard: list[MarkerArray] = []
        chunk = ActionChunk(0, 0.1, chunk_of([0.5, 0, 0]))
        markers.show(chunk, START, {"speed": 3})  # nobody looks: counted, not drawn
        viewer.create_subscription(MarkerArray, "/drawing/markers", heard.append, 10)
        wait_until(lambda: node.count_subscribers("/drawing/markers") > 0, "the viewer", timeout_s=20.0)

        def drawn(counted: int) -> bool:
            markers.show(chunk, START, {"speed": counted})
            rclpy.spin_once(viewer, timeout_sec=0.05)
            return bool(heard)

        wait_until(lambda: drawn(3), "markers", timeout_s=20.0)
        namespaces = {marker.ns for marker in heard[0].markers}
        assert namespaces == {"workspace", "chunk", "chunk_poses"}, "what was counted before is not news"
        assert {marker.header.frame_id for marker in heard[0].markers} == {SPEC.base_frame}
        heard.clear()
        time.sleep(0.11)
        wait_until(lambda: drawn(4), "markers", timeout_s=20.0)
        assert [marker.text for marker in heard[0].markers if marker.ns == "guard"] == ["guard: speed"]
        heard.clear()
        time.sleep(0.11)
        for _ in range(5):
            markers.show(chunk, START, {"speed": 4})
        time.sleep(0.05)
        for _ in range(5):
            rclpy.spin_once(viewer, timeout_sec=0.02)
        assert len(heard) == 1, "at most ten times a second"
        markers.destroy()
    finally:
        node.destroy_node()
        viewer.destroy_node()
