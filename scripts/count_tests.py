#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Add up the JUnit files below a folder and print ``N passed, N failed, N skipped``; exit 1 if any failed."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def count(folder: Path) -> tuple[int, int, int]:
    """Return how many tests passed, failed (or errored) and were skipped."""
    total = failed = skipped = 0
    for path in sorted(folder.rglob("pytest.xml")):
        for suite in ET.parse(path).getroot().iter("testsuite"):
            total += int(suite.get("tests", 0))
            failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped += int(suite.get("skipped", 0))
    return total - failed - skipped, failed, skipped


if __name__ == "__main__":
    passed, failed, skipped = count(Path(sys.argv[1]))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or not passed else 0)
