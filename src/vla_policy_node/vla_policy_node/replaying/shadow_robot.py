# SPDX-License-Identifier: Apache-2.0
"""The robot that is replayed, in a namespace of its own, and the real policy node on it, in shadow mode."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from vla_core.config import to_plain
from vla_core.robot_spec import GripperSpec, RobotSpec
from vla_core.whole_file import write_yaml
from vla_policy_node.replaying.recorded_bag import ReplayError

_TARGET_POSE = "arm_controller/target_pose"
_ENDS_S = 10.0


def shadow_spec(spec: RobotSpec) -> RobotSpec:
    """Return the robot as it is replayed.

    All topics are relative, so that none leaves the namespace of the replay; commands are target poses, whatever
    the robot's own interface is, since those can be compared with poses and need no kinematics.
    """
    cameras = {name: replace(camera, topic=_relative(camera.topic)) for name, camera in spec.cameras.items()}
    topic = spec.command.topics.get("target_pose", _TARGET_POSE)
    return replace(
        spec,
        cameras=cameras,
        tcp_pose=replace(spec.tcp_pose, topic=_relative(spec.tcp_pose.topic), source="topic"),
        joints=replace(spec.joints, topic=_relative(spec.joints.topic)),
        gripper=_by_topic(spec.gripper),
        command=replace(spec.command, interface="target_pose", topics={"target_pose": _relative(topic)}),
        kinematics=None,
    )


def _by_topic(gripper: GripperSpec) -> GripperSpec:
    topic = gripper.topic or gripper.action
    assert topic is not None, "the gripper spec has checked it"
    return replace(gripper, interface="topic", topic=_relative(topic), action=None)


def _relative(topic: str) -> str:
    return topic.lstrip("/")


class ShadowPolicyNode:
    """The policy node as a process of its own, in shadow mode; a context manager that ends it.

    Args:
        folder: Where robot spec, parameters and log of this run are written.
        spec: From ``shadow_spec``.
        namespace: Namespace of the replay.
        parameters: Of the node, beside those that a replay sets.
    """

    def __init__(self, folder: Path, spec: RobotSpec, namespace: str, parameters: dict[str, Any]) -> None:
        robot, values, self._log = folder / "robot.yaml", folder / "parameters.yaml", folder / "policy_node.log"
        write_yaml(robot, to_plain(spec))
        settings = {**parameters, "robot_spec": str(robot), "command_enabled": False, "autostart": True}
        write_yaml(values, {"/**": {"ros__parameters": {**settings, "black_box_dir": ""}}})
        # Diagnostics have an absolute name; a monitor of the real robot must not see those of a replay.
        remaps = ["-r", f"__ns:={namespace}", "-r", f"/diagnostics:={namespace}/diagnostics"]
        command = [sys.executable, "-m", "vla_policy_node.policy_node", "--ros-args", *remaps]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--params-file", str(values)], stdout=log, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> "ShadowPolicyNode":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def require_alive(self) -> None:
        """Check that the process runs.

        Raises:
            ReplayError: It has ended; the sentence holds its last words.
        """
        if self._process.poll() is not None:
            lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            said = next((line for line in reversed(lines) if "[ERROR]" in line), lines[-1] if lines else "nothing")
            raise ReplayError(f"the policy node has ended: {said.rpartition(']: ')[2]}")
