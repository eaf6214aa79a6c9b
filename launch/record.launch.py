# SPDX-License-Identifier: Apache-2.0
"""Start the episode recorder on a robot, or on the simulated one.

ros2 launch vla_policy_node record.launch.py sim:=true output_dir:=episodes
"""

import os
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

# Holds in the source tree and in both kinds of install: config/ lies beside launch/.
CONFIG = Path(__file__).resolve().parents[1] / "config"

ARGUMENTS = [
    DeclareLaunchArgument(
        "robot",
        default_value="sim_arm",
        description="Robot spec: a name in config/robots/ or a path of a YAML file",
    ),
    DeclareLaunchArgument("output_dir", description="Folder that gets one folder for each episode"),
    DeclareLaunchArgument(
        "storage", default_value="mcap", choices=["mcap", "sqlite3"], description="Format of the bags"
    ),
    DeclareLaunchArgument(
        "on_new_instruction",
        default_value="ignore",
        choices=["ignore", "new_episode"],
        description="What a new sentence does: it is only recorded, or it begins an episode",
    ),
    DeclareLaunchArgument(
        "sim", default_value="false", choices=["true", "false"], description="Also start the simulated robot"
    ),
    DeclareLaunchArgument("seed", default_value="0", description="Seed of the simulated scene"),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(CONFIG / "episode_recorder.param.yaml"),
        description="ROS parameters of the recorder (the operator's knobs)",
    ),
]


def robot_spec_path(robot: str) -> Path:
    """Return the path of a robot spec given by name or by path."""
    path = Path(robot) if robot.endswith((".yaml", ".yml")) else CONFIG / "robots" / f"{robot}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(spec.stem for spec in (CONFIG / "robots").glob("*.yaml")))
        raise FileNotFoundError(f"robot:={robot}: {path} does not exist; known robots: {known}")
    return path.resolve()


def end_the_others(event: object, context: LaunchContext) -> list:
    """Return what ends the other node when one has ended by itself."""
    return [] if context.is_shutdown else [Shutdown(reason="a node has ended")]


def start_nodes(context: LaunchContext) -> list:
    """Return the nodes for the values of the launch arguments."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    spec = robot_spec_path(value("robot"))
    recorder = Node(
        package="vla_policy_node",
        executable="episode_recorder",
        name="episode_recorder",
        output="screen",
        on_exit=end_the_others,
        # An episode may be large; its last bytes are written after the interrupt.
        sigterm_timeout="60",
        parameters=[
            value("params_file"),
            {
                "robot_spec": str(spec),
                "output_dir": str(Path(value("output_dir")).expanduser().absolute()),
                "storage": value("storage"),
                "on_new_instruction": value("on_new_instruction"),
            },
        ],
    )
    if value("sim") != "true":
        return [recorder]
    robot = Node(
        package="vla_sim",
        executable="sim_node",
        name="sim_robot",
        output="screen",
        on_exit=end_the_others,
        parameters=[{"robot_spec": str(spec), "seed": int(value("seed"))}],
    )
    return [recorder, robot]


def environment() -> list:
    """Return the environment of the nodes; what the operator has set stays."""
    # Fast DDS drops pictures that do not fit into its default shared memory.
    wanted = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(CONFIG / "fastdds.xml")}
    return [SetEnvironmentVariable(name, value) for name, value in wanted.items() if name not in os.environ]


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    return LaunchDescription([*ARGUMENTS, *environment(), OpaqueFunction(function=start_nodes)])
