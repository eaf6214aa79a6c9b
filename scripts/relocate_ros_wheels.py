#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rewrite the absolute paths in the CMake files of the ROS wheels to this interpreter's.

The exported CMake targets of the message packages hold the include paths of the machine that built the wheels
(``/opt/python/cpXY-cpXY/...``); CMake stops at a path that does not exist.
"""

import re
import sys
import sysconfig
from pathlib import Path

BUILD_MACHINE = re.compile(r"/opt/python/(cp\d+)-\1")


def relocate(prefix: Path) -> int:
    """Return how many CMake files below ``prefix/share`` were rewritten."""
    include, packages = sysconfig.get_path("include"), sysconfig.get_path("platlib")
    rewritten = 0
    for path in (prefix / "share").rglob("*.cmake"):
        text = path.read_text(encoding="utf-8")
        if not BUILD_MACHINE.search(text):
            continue
        text = re.sub(BUILD_MACHINE.pattern + r"/lib/python[\d.]+/site-packages", packages, text)
        text = re.sub(BUILD_MACHINE.pattern + r"/include/python[\d.]+", include, text)
        path.write_text(text, encoding="utf-8")
        rewritten += 1
    return rewritten


if __name__ == "__main__":
    print(f"relocated {relocate(Path(sys.prefix))} CMake files")
