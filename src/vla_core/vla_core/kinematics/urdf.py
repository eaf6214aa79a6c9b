# SPDX-License-Identifier: Apache-2.0
"""The chain of joints from one link of a URDF to another; meshes, masses and what lies beside it are not read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from vla_core.errors import ConfigError
from vla_core.geometry import FloatArray, Pose

_FREE_TYPES = ("floating", "planar")
_TURNING_TYPES = ("revolute", "continuous")
_TYPES = (*_TURNING_TYPES, "prismatic", "fixed", *_FREE_TYPES)


@dataclass(frozen=True, eq=False)
class UrdfJoint:
    """One joint of a URDF (https://wiki.ros.org/urdf/XML/joint).

    Attributes:
        name: Name of the joint.
        type: Type in the URDF's words, for example ``revolute``.
        pose_child_in_parent: Where the link after the joint is, in the frame of the link before it, when the
            joint is at zero. The child's frame is the joint's.
        axis: (3,) unit vector in the child's frame.
        lower_rad: Lower limit; minus infinity for a continuous joint.
        upper_rad: Upper limit.
        max_speed_rad_s: Largest speed; infinite where the URDF has none.
        mimics: Name of the joint that this one follows, or ``None``.
    """

    name: str
    type: str
    pose_child_in_parent: Pose
    axis: FloatArray
    lower_rad: float
    upper_rad: float
    max_speed_rad_s: float
    mimics: str | None

    @property
    def moves(self) -> bool:
        """Whether the joint is more than a fixed connection."""
        return self.type != "fixed"


def read_chain(text: str, source: str, base_link: str, tip_link: str) -> tuple[UrdfJoint, ...]:
    """Return the joints that lead from ``base_link`` to ``tip_link``, fixed ones among them.

    Args:
        text: The URDF.
        source: Where it comes from, for the sentences.
        base_link: Link to begin with.
        tip_link: Link to end with.

    Raises:
        ConfigError: The text is no URDF, or holds no such chain.
    """
    robot = _parse(text, source)
    links = {link.get("name", "") for link in robot.findall("link")}
    for key, link in {"base_link": base_link, "tip_link": tip_link}.items():
        if link not in links:
            raise ConfigError(
                f"{source}: kinematics.{key} '{link}' is no link of it; links: {', '.join(sorted(links))}"
            )
    elements = _walk(_joints_by_child(robot, source), source, base_link, tip_link)
    return tuple(_read_joint(element, source) for element in elements)


def _parse(text: str, source: str) -> Element:
    try:
        robot = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ConfigError(f"{source}: no XML ({error}); give a URDF file") from error
    is_xacro = any("xacro" in element.tag for element in robot.iter() if isinstance(element.tag, str))
    if is_xacro or any("${" in value for element in robot.iter() for value in element.attrib.values()):
        raise ConfigError(
            f"{source}: xacro that is not expanded; run 'xacro FILE > robot.urdf' and name that file"
        )
    if robot.tag != "robot":
        raise ConfigError(f"{source}: the outermost element is <{robot.tag}>; a URDF has <robot>")
    return robot


def _joints_by_child(robot: Element, source: str) -> dict[str, Element]:
    joints: dict[str, Element] = {}
    # Only direct children: <transmission> and <ros2_control> hold elements of the same name.
    for element in robot.findall("joint"):
        child = _link_of(element, "child", source)
        if child in joints:
            one, other = joints[child].get("name"), element.get("name")
            raise ConfigError(
                f"{source}: link '{child}' is the child of joints '{one}' and '{other}'; a link has one "
                "parent, so this is no chain"
            )
        joints[child] = element
    return joints


def _walk(joints: Mapping[str, Element], source: str, base_link: str, tip_link: str) -> tuple[Element, ...]:
    chain: list[Element] = []
    link = tip_link
    while link != base_link:
        joint = joints.get(link)
        if joint is None or len(chain) > len(joints):
            raise ConfigError(
                f"{source}: kinematics.tip_link '{tip_link}' is not below base_link '{base_link}'; the way up "
                f"from it ends at '{link}'"
            )
        chain.append(joint)
        link = _link_of(joint, "parent", source)
    return tuple(reversed(chain))


def _read_joint(element: Element, source: str) -> UrdfJoint:
    name, kind = element.get("name", ""), element.get("type", "")
    where = f"{source}: joint '{name}'"
    if kind not in _TYPES:
        raise ConfigError(f"{where} has the type '{kind}'; allowed: {', '.join(_TYPES)}")
    origin, axis, mimic = element.find("origin"), element.find("axis"), element.find("mimic")
    xyz = _numbers(origin, "xyz", (0.0, 0.0, 0.0), where)
    rpy = _numbers(origin, "rpy", (0.0, 0.0, 0.0), where)
    direction = np.array(_numbers(axis, "xyz", (1.0, 0.0, 0.0), where))
    length = float(np.linalg.norm(direction))
    if kind != "fixed" and length < 1e-6:
        raise ConfigError(f"{where} has an axis without a length")
    lower, upper, speed = _limits(element, kind, where)
    return UrdfJoint(
        name=name,
        type=kind,
        pose_child_in_parent=Pose.from_euler(xyz, rpy),
        axis=direction / max(length, 1e-6),  # that of a fixed joint may be zero, and means nothing
        lower_rad=lower,
        upper_rad=upper,
        max_speed_rad_s=speed,
        mimics=None if mimic is None else mimic.get("joint", ""),
    )


def _limits(element: Element, kind: str, where: str) -> tuple[float, float, float]:
    """Return lower limit, upper limit and largest speed; infinite where there is none."""
    limit = element.find("limit")
    speed = _number(limit, "velocity", math.inf, where)
    if kind != "revolute":
        return -math.inf, math.inf, speed
    if limit is None:
        raise ConfigError(f"{where} is revolute and has no <limit>; a URDF needs one")
    return _number(limit, "lower", 0.0, where), _number(limit, "upper", 0.0, where), speed


def _link_of(element: Element, role: str, source: str) -> str:
    found = element.find(role)
    link = None if found is None else found.get("link")
    if not link:
        raise ConfigError(f"{source}: joint '{element.get('name', '')}' has no <{role} link=.../>")
    return link


def _number(element: Element | None, key: str, default: float, where: str) -> float:
    text = None if element is None else element.get(key)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        _refuse_number(where, key, text)
    return value


def _numbers(
    element: Element | None, key: str, default: tuple[float, float, float], where: str
) -> tuple[float, float, float]:
    text = None if element is None else element.get(key)
    if text is None:
        return default
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != 3 or not all(map(math.isfinite, values)):
        _refuse_number(where, key, text)
    return values[0], values[1], values[2]


def _refuse_number(where: str, key: str, text: str) -> NoReturn:
    raise ConfigError(f'{where}: {key}="{text}" is not what a URDF has there; allowed: finite numbers')
