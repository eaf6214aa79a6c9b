# SPDX-License-Identifier: Apache-2.0
"""What an episode was recorded with: versions of the suite, of ROS and of Python, and the commit."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vla_policy_node.recording.bag_metadata import ros_distro

_PACKAGES = ("vla_core", "vla_msgs", "vla_policy_node", "mcap")


def recorder_versions() -> dict[str, str]:
    """Return name to version; what is not known is left out."""
    versions = {"python": platform.python_version(), "ros_distro": ros_distro(), "git": _commit()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {name: text for name, text in versions.items() if text}


def _commit() -> str:
    """Return the commit of the source tree that this file is in; empty when it is in none."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
