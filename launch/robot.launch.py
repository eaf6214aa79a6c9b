# SPDX-License-Identifier: Apache-2.0
"""Start the policy on a robot, or on the simulated one.

ros2 launch vla_policy_node robot.launch.py robot:=sim_arm sim:=true checkpoint:=DIR command_enabled:=true
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchContext, LaunchDescription

# Holds in the source tree and in both kinds of install: config/ lies beside launch/.
CONFIG = Path(__file__).resolve().parents[1] / "config"

ARGUMENTS = [
    DeclareLaunchArgument(
        "robot",
        default_value="sim_arm",
        description="Robot spec: a name in config/robots/ or a path of a YAML file",
    ),
    DeclareLaunchArgument(
        "checkpoint",
        description="Directory of the checkpoint (make an untrained one: ros2 run vla_training init_checkpoint)",
    ),
    DeclareLaunchArgument(
        "command_enabled",
        default_value="false",
        choices=["true", "false"],
        description="true moves the arm; false is shadow mode: commands go to ~/shadow/* only",
    ),
    DeclareLaunchArgument(
        "sim", default_value="false", choices=["true", "false"], description="Also start the simulated robot"
    ),
    DeclareLaunchArgument(
        "device", default_value="auto", choices=["auto", "cpu", "cuda"], description="Device of the model"
    ),
    DeclareLaunchArgument("seed", default_value="0", description="Seed of the simulated scene"),
    DeclareLaunchArgument(
        "params_file",
        default_value=str(CONFIG / "policy_node.param.yaml"),
        description="ROS parameters of the policy node (the operator's knobs)",
    ),
]


def robot_spec_path(robot: str) -> Path:
    """Return the path of a robot spec given by name or by path."""
    path = Path(robot) if robot.endswith((".yaml", ".yml")) else CONFIG / "robots" / f"{robot}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(spec.stem for spec in (CONFIG / "robots").glob("*.yaml")))
        raise FileNotFoundError(f"robot:={robot}: {path} does not exist; known robots: {known}")
    return path.resolve()


def start_nodes(context: LaunchContext) -> list:
    """Return the nodes for the values of the launch arguments."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    spec = str(robot_spec_path(value("robot")))
    nodes = [
        LifecycleNode(
            package="vla_policy_node",
            executable="policy_node",
            name="policy_node",
            namespace="",
            output="screen",
            parameters=[
                value("params_file"),
                {
                    "robot_spec": spec,
                    "checkpoint": value("checkpoint"),
                    "device": value("device"),
                    "command_enabled": value("command_enabled") == "true",
                    "autostart": True,
                },
            ],
        )
    ]
    if value("sim") == "true":
        nodes.append(
            Node(
                package="vla_sim",
                executable="sim_node",
                name="sim_robot",
                output="screen",
                parameters=[{"robot_spec": spec, "seed": int(value("seed"))}],
            )
        )
    return nodes


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    return LaunchDescription(
        [*ARGUMENTS, SetEnvironmentVariable("HF_HUB_OFFLINE", "1"), OpaqueFunction(function=start_nodes)]
    )
