# SPDX-License-Identifier: Apache-2.0
"""Start the policy on a robot, or on the simulated one.

ros2 launch vla_policy_node robot.launch.py sim:=true command_enabled:=true
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

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
        default_value="",
        description="Directory of the checkpoint; empty with sim:=true makes an UNTRAINED one",
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


def untrained_checkpoint(spec: Path) -> Path:
    """Make an untrained checkpoint for the simulated robot; return its directory."""
    directory = Path(tempfile.mkdtemp(prefix="vla_")) / "untrained_checkpoint"
    maker = [sys.executable, "-m", "vla_training.init_checkpoint", "--robot", str(spec), "--out", str(directory)]
    subprocess.run(maker, check=True)
    return directory


def checkpoint_path(checkpoint: str, spec: Path, is_simulated: bool) -> str:
    """Return the checkpoint to load; a real robot never gets one that nobody has named."""
    if checkpoint:
        return checkpoint
    if not is_simulated:
        raise ValueError(
            "checkpoint:= is missing; give the directory of a checkpoint (make an untrained one with "
            "'ros2 run vla_training init_checkpoint --robot SPEC --out DIR')"
        )
    return str(untrained_checkpoint(spec))


def end_the_others(event: object, context: LaunchContext) -> list:
    """Return what ends the other node when one has ended by itself."""
    return [] if context.is_shutdown else [Shutdown(reason="a node has ended")]


def start_nodes(context: LaunchContext) -> list:
    """Return the nodes for the values of the launch arguments."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    spec = robot_spec_path(value("robot"))
    is_simulated = value("sim") == "true"
    nodes = [
        LifecycleNode(
            package="vla_policy_node",
            executable="policy_node",
            name="policy_node",
            namespace="",
            output="screen",
            on_exit=end_the_others,
            parameters=[
                value("params_file"),
                {
                    "robot_spec": str(spec),
                    "checkpoint": checkpoint_path(value("checkpoint"), spec, is_simulated),
                    "device": value("device"),
                    "command_enabled": value("command_enabled") == "true",
                    "autostart": True,
                },
            ],
        )
    ]
    if is_simulated:
        nodes.append(
            Node(
                package="vla_sim",
                executable="sim_node",
                name="sim_robot",
                output="screen",
                on_exit=end_the_others,
                parameters=[{"robot_spec": str(spec), "seed": int(value("seed"))}],
            )
        )
    return nodes


def environment() -> list:
    """Return the environment of the nodes; what the operator has set stays."""
    wanted = {
        "HF_HUB_OFFLINE": "1",
        # Fast DDS drops pictures that do not fit into its default shared memory.
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(CONFIG / "fastdds.xml"),
    }
    return [SetEnvironmentVariable(name, value) for name, value in wanted.items() if name not in os.environ]


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    return LaunchDescription([*ARGUMENTS, *environment(), OpaqueFunction(function=start_nodes)])
