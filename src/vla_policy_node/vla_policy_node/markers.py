# SPDX-License-Identifier: Apache-2.0
"""What RViz and Foxglove draw: the predicted chunk, the guard's boxes, and where the guard steps in.

``visualization_msgs/MarkerArray`` on ``~/markers``, in the base frame. Namespaces: ``chunk`` (a line, from blue
now to yellow at the end), ``chunk_poses`` (axes of the tool, every few steps), ``workspace``, ``keep_out``,
``guard`` (what would be taken away, and the stages, in red).
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from vla_core.actions.action_space import ActionSpace
from vla_core.geometry import FloatArray, Pose
from vla_core.robot_spec import GuardStageName, LimitsSpec, RobotSpec
from vla_core.types import ActionChunk
from vla_policy_node.predicted_way import Step, first_of_each_stage, predicted_way

Colour = tuple[float, float, float, float]
_SHORTEST_PERIOD_S = 0.1
_MOST_AXES = 10
_LIFETIME = Duration(sec=1)  # what belongs to one chunk goes away by itself
_LINE_M, _AXIS_M, _TEXT_M = 0.003, 0.02, 0.025
_FIRST, _LAST = np.array([0.15, 0.35, 0.95]), np.array([1.0, 0.85, 0.1])
_RED, _GREY, _ORANGE, _WHITE = (
    (0.9, 0.1, 0.1, 1.0),
    (0.7, 0.7, 0.7, 0.8),
    (1.0, 0.5, 0.0, 0.3),
    (1.0, 1.0, 1.0, 1.0),
)
_AXIS_COLOURS = ((0.9, 0.2, 0.2, 1.0), (0.2, 0.8, 0.2, 1.0), (0.2, 0.3, 0.9, 1.0))


class MarkerPublisher:
    """Publishes markers, at 10 Hz at most and only while somebody looks.

    Args:
        node: The node whose topic it is.
        spec: The robot.
        space: Meaning of the policy's actions.
    """

    def __init__(self, node: Node, spec: RobotSpec, space: ActionSpace) -> None:
        self._node, self._spec, self._space = node, spec, space
        self._publisher = node.create_publisher(MarkerArray, "~/markers", 1)
        self._counted: Counter[GuardStageName] = Counter()
        self._last_s = float("-inf")

    def show(
        self, chunk: ActionChunk, start_tcp_in_base: Pose, interventions: Mapping[GuardStageName, int]
    ) -> None:
        """Draw a chunk that begins at the measured pose.

        Args:
            chunk: What the policy says.
            start_tcp_in_base: Measured pose that it was computed from.
            interventions: The guard's counters; a stage that has counted since the last time is named at the TCP.
        """
        if not self._is_due():
            if not self._is_watched:
                self._counted = Counter(interventions)
            return
        acted = [stage for stage, count in interventions.items() if count > self._counted[stage]]
        self._counted = Counter(interventions)
        way = predicted_way(chunk.actions, self._space, self._spec, start_tcp_in_base)
        self._publish([*way_markers(start_tcp_in_base, way), *acting_markers(start_tcp_in_base, acted)])

    def show_boxes(self) -> None:
        """Draw only the guard's boxes, while there is no chunk."""
        if self._is_due():
            self._publish([])

    def destroy(self) -> None:
        """Remove the publisher."""
        self._node.destroy_publisher(self._publisher)

    @property
    def _is_watched(self) -> bool:
        return bool(self._publisher.get_subscription_count() > 0)

    def _is_due(self) -> bool:
        now_s = time.monotonic()
        if not self._is_watched or now_s - self._last_s < _SHORTEST_PERIOD_S:
            return False
        self._last_s = now_s
        return True

    def _publish(self, markers: Iterable[Marker]) -> None:
        drawn = [*box_markers(self._spec.limits), *markers]
        stamp: Time = self._node.get_clock().now()
        for marker in drawn:
            marker.header.frame_id, marker.header.stamp = self._spec.base_frame, stamp.to_msg()
        self._publisher.publish(MarkerArray(markers=drawn))


def way_markers(start_tcp_in_base: Pose, way: Sequence[Step]) -> list[Marker]:
    """Return the chunk as line and tool axes, what the guard would take away, and the stages that would do it."""
    if not way:
        return []
    line = _marker("chunk", Marker.LINE_STRIP)
    poses = [start_tcp_in_base, *(step.admitted for step in way)]
    line.points = [_point(pose.position_m) for pose in poses]
    line.colors = [_step_colour(index / (len(poses) - 1)) for index in range(len(poses))]
    axes = _marker("chunk_poses", Marker.LINE_LIST)
    stride = max(1, -(-len(way) // _MOST_AXES))
    for step in way[stride - 1 :: stride]:
        _add_axes(axes, step.admitted)
    taken = _marker("guard", Marker.LINE_LIST, colour=_RED)
    for step in way:
        if step.is_shortened:
            taken.points += [_point(step.admitted.position_m), _point(step.asked.position_m)]
    drawn = [line, axes, taken] if taken.points else [line, axes]
    named = first_of_each_stage(way)
    drawn += [
        _text("guard", number, stage, step.admitted.position_m)
        for number, (stage, step) in enumerate(named.items(), 1)
    ]
    for marker in drawn:
        marker.lifetime = _LIFETIME
    return drawn


def acting_markers(tcp_in_base: Pose, stages: Sequence[GuardStageName]) -> list[Marker]:
    """Return the names of the stages that have just acted, over the TCP."""
    if not stages:
        return []
    above = tcp_in_base.position_m + np.array([0.0, 0.0, 2 * _TEXT_M])
    text = _text("guard", 100, f"guard: {', '.join(stages)}", above)
    text.lifetime = _LIFETIME
    return [text]


def box_markers(limits: LimitsSpec) -> list[Marker]:
    """Return the workspace box as edges, and each keep-out box as a body with its name."""
    low, high = np.array(limits.workspace_min_m), np.array(limits.workspace_max_m)
    edges = _marker("workspace", Marker.LINE_LIST, colour=_GREY)
    corners = [np.where(choice, high, low) for choice in product((False, True), repeat=3)]
    for one, other in product(corners, repeat=2):
        if np.count_nonzero(one != other) == 1 and (one <= other).all():
            edges.points += [_point(one), _point(other)]
    drawn = [edges]
    for number, box in enumerate(limits.keep_out):
        box_low, box_high = np.array(box.min_m), np.array(box.max_m)
        body = _marker("keep_out", Marker.CUBE, 2 * number, colour=_ORANGE)
        middle, size = (box_low + box_high) / 2.0, box_high - box_low
        body.pose.position = _point(middle)
        body.scale.x, body.scale.y, body.scale.z = size.tolist()
        drawn += [body, _text("keep_out", 2 * number + 1, box.name, middle, _WHITE)]
    return drawn


def _marker(namespace: str, kind: int, number: int = 0, colour: Colour = _WHITE) -> Marker:
    marker = Marker(ns=namespace, id=number, type=kind, action=Marker.ADD, color=_colour(colour))
    marker.pose.orientation.w = 1.0
    marker.scale.x = _LINE_M
    return marker


def _text(namespace: str, number: int, text: str, position_m: FloatArray, colour: Colour = _RED) -> Marker:
    marker = _marker(namespace, Marker.TEXT_VIEW_FACING, number, colour)
    marker.pose.position = _point(position_m)
    marker.scale.z = _TEXT_M
    marker.text = text
    return marker


def _add_axes(marker: Marker, pose: Pose) -> None:
    tips = pose.position_m + _AXIS_M * pose.rotation.as_matrix().T
    for tip, colour in zip(tips, _AXIS_COLOURS, strict=True):
        marker.points += [_point(pose.position_m), _point(tip)]
        marker.colors += [_colour(colour), _colour(colour)]


def _step_colour(share: float) -> ColorRGBA:
    red, green, blue = (_FIRST + share * (_LAST - _FIRST)).tolist()
    return _colour((red, green, blue, 1.0))


def _colour(colour: Colour) -> ColorRGBA:
    red, green, blue, alpha = colour
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)


def _point(position_m: FloatArray) -> Point:
    x, y, z = position_m.tolist()
    return Point(x=x, y=y, z=z)
