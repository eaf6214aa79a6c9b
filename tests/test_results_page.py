# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/results.md are those of the numbers beside it, and these are of the policy that ships."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vla_training.evaluation.run_journal import checkpoint_identity

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = sorted((ROOT / "docs" / "results").glob("*.json"))
SHIPPED = ROOT / "models" / "tabletop"


def test_the_page_says_what_the_numbers_say() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "update_results.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", NUMBERS, ids=lambda path: path.stem)
def test_the_numbers_are_of_the_policy_that_ships(path: Path) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        pytest.skip("a table of variants, which are not shipped")
    assert found["fingerprint"] == checkpoint_identity(SHIPPED)["fingerprint"]
