# SPDX-License-Identifier: Apache-2.0
"""Start the episode recorder on a robot, or on the simulated one.

ros2 launch vla_policy_node record.launch.py sim:=true output_dir:=episodes
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from vla_policy_node.launch_support import (
    end_the_others,
    environment,
    robot_spec_path,
    simulated_robot,
    tcp_pose_publisher,
)

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


def start_nodes(context: LaunchContext) -> list:
    """Return the nodes for the values of the launch arguments."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    spec = robot_spec_path(CONFIG, value("robot"))
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
    nodes = [recorder, *tcp_pose_publisher(spec)]
    return [*nodes, simulated_robot(spec, int(value("seed")))] if value("sim") == "true" else nodes


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    return LaunchDescription([*ARGUMENTS, *environment(CONFIG), OpaqueFunction(function=start_nodes)])
