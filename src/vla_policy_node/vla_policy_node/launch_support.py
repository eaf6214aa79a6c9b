# SPDX-License-Identifier: Apache-2.0
"""What the launch files of the suite share; only they import it, because only they run where ``launch`` is."""

import os
from pathlib import Path
from typing import Any

from launch import LaunchContext
from launch.actions import SetEnvironmentVariable, Shutdown
from launch_ros.actions import Node

from vla_core.robot_spec import RobotSpec


def robot_spec_path(config: Path, robot: str) -> Path:
    """Return the path of a robot spec given by name or by path.

    Args:
        config: The folder ``config``.
        robot: Value of the launch argument ``robot``.

    Raises:
        FileNotFoundError: There is no such spec; the sentence lists those that there are.
    """
    path = Path(robot) if robot.endswith((".yaml", ".yml")) else config / "robots" / f"{robot}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(spec.stem for spec in (config / "robots").glob("*.yaml")))
        raise FileNotFoundError(f"robot:={robot}: {path} does not exist; known robots: {known}")
    return path.resolve()


def end_the_others(event: object, context: LaunchContext) -> list[Any]:
    """Return what ends the other nodes when one has ended by itself."""
    return [] if context.is_shutdown else [Shutdown(reason="a node has ended")]


def simulated_robot(spec: Path, seed: int) -> Node:
    """Return the simulated robot as a node of a launch file."""
    return Node(
        package="vla_sim",
        executable="sim_node",
        name="sim_robot",
        output="screen",
        on_exit=end_the_others,
        parameters=[{"robot_spec": str(spec), "seed": seed}],
    )


def tcp_pose_publisher(spec: Path) -> list[Node]:
    """Return the node that publishes the TCP pose, for a robot whose driver does not."""
    if RobotSpec.load(spec).tcp_pose.source == "topic":
        return []
    return [
        Node(
            package="vla_policy_node",
            executable="tcp_pose_publisher",
            name="tcp_pose_publisher",
            output="screen",
            on_exit=end_the_others,
            parameters=[{"robot_spec": str(spec)}],
        )
    ]


def environment(config: Path, **more: str) -> list[SetEnvironmentVariable]:
    """Return the environment of the nodes; what the operator has set stays."""
    # Fast DDS drops pictures that do not fit into its default shared memory.
    wanted = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(config / "fastdds.xml"), **more}
    return [SetEnvironmentVariable(name, value) for name, value in wanted.items() if name not in os.environ]
