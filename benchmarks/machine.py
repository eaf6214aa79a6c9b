# SPDX-License-Identifier: Apache-2.0
"""The machine that a benchmark runs on, in one line. Prints nothing by itself."""

import os
import platform
from pathlib import Path


def machine() -> str:
    """Return processor, cores, operating system and Python."""
    return f"{_processor()}, {os.cpu_count()} cores, {_system()}, Python {platform.python_version()}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()
