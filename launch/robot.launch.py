# SPDX-License-Identifier: Apache-2.0
"""Start the policy on a robot, or on the simulated one.

ros2 launch vla_policy_node robot.launch.py sim:=true command_enabled:=true
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from vla_policy_node.launch_support import (
    end_the_others,
    environment,
    robot_spec_path,
    simulated_robot,
    tcp_pose_publisher,
)

# Holds in the source tree and in both kinds of install: config/ lies beside launch/.
CONFIG = Path(__file__).resolve().parents[1] / "config"
MODELS = CONFIG.parent / "models"
# Where SROS 2 looks for this node's certificate (docs/security.md); without ROS_SECURITY_ENABLE only a name.
ENCLAVE = "/vla/policy_node"

ARGUMENTS = [
    DeclareLaunchArgument(
        "robot",
        default_value="sim_arm",
        description="Robot spec: a name in config/robots/ or a path of a YAML file",
    ),
    DeclareLaunchArgument(
        "checkpoint",
        default_value="",
        description="Directory of the checkpoint; empty with sim:=true takes the trained one that ships",
    ),
    DeclareLaunchArgument(
        "policy_server",
        default_value="",
        description="Address of a policy server (tcp://HOST:PORT); it runs the model, and no checkpoint is given",
    ),
    DeclareLaunchArgument(
        "policy_keys", default_value="", description="Folder with the keys of this client of the policy server"
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


def checkpoint_path(checkpoint: str, is_simulated: bool, policy_server: str) -> str:
    """Return the checkpoint to load; a real robot never gets one that nobody has named."""
    if checkpoint or policy_server:
        return checkpoint
    if not is_simulated:
        raise ValueError(
            "checkpoint:= is missing; give the directory of a checkpoint (make an untrained one with "
            "'ros2 run vla_training init_checkpoint --robot SPEC --out DIR')"
        )
    shipped = MODELS / "tabletop"
    if not (shipped / "model.yaml").is_file():
        raise FileNotFoundError(
            f"checkpoint:= is empty, and the one that ships for the simulated robot is not in {shipped}; "
            "get models/tabletop of the repository and build again, or give the directory of a checkpoint"
        )
    return str(shipped)


def start_nodes(context: LaunchContext) -> list:
    """Return the nodes for the values of the launch arguments."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    spec = robot_spec_path(CONFIG, value("robot"))
    is_simulated = value("sim") == "true"
    nodes = [
        LifecycleNode(
            package="vla_policy_node",
            executable="policy_node",
            name="policy_node",
            namespace="",
            output="screen",
            on_exit=end_the_others,
            ros_arguments=["--enclave", ENCLAVE],
            parameters=[
                value("params_file"),
                {
                    "robot_spec": str(spec),
                    "checkpoint": checkpoint_path(value("checkpoint"), is_simulated, value("policy_server")),
                    "policy_server": value("policy_server"),
                    "policy_keys": value("policy_keys"),
                    "device": value("device"),
                    "command_enabled": value("command_enabled") == "true",
                    "autostart": True,
                },
            ],
        ),
        *tcp_pose_publisher(spec),
    ]
    if is_simulated:
        nodes.append(simulated_robot(spec, int(value("seed"))))
    return nodes


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    return LaunchDescription(
        [*ARGUMENTS, *environment(CONFIG, HF_HUB_OFFLINE="1"), OpaqueFunction(function=start_nodes)]
    )
