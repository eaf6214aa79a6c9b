# SPDX-License-Identifier: Apache-2.0
"""The demo as a user runs it: processes, topics, sentences, table and film; not whether the policy succeeds."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT = ROOT / "models" / "tabletop"
needs_checkpoint = pytest.mark.skipif(
    not (CHECKPOINT / "model.yaml").is_file(), reason="models/tabletop, the checkpoint that ships, is not here"
)
pytestmark = [pytest.mark.ros, pytest.mark.slow]


def demo(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "demo", *arguments]


@needs_checkpoint
def test_sentences_go_in_and_table_and_film_come_out(tmp_path: Path) -> None:
    words = ("--instruction", "open the drawer; tü's \"$(x)", "--limit", "3", "--out", str(tmp_path))
    done = subprocess.run(demo(*words), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert "done" in rows["open the drawer"] or "NOT done" in rows["open the drawer"]
    assert "10.0/" in rows["tü's \"$(x)"]
    assert "nan" not in done.stdout
    for name in ("demo.mp4", "contact_sheet.png"):
        assert (tmp_path / name).stat().st_size > 1000


@needs_checkpoint
def test_ctrl_c_ends_all_processes(tmp_path: Path) -> None:
    # Whoever runs tests in the background of a shell ignores Ctrl-C, and so would what is started here.
    hears = "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler)"
    runs = "runpy.run_module('demo', run_name='__main__')"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{hears}; {runs}", "--out", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    while "1/3" not in process.stdout.readline():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_missing_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    words = ("--checkpoint", str(tmp_path / "nothing"), "--out", str(tmp_path))
    done = subprocess.run(demo(*words), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "git checkout -- models/tabletop" in done.stderr
    assert "Traceback" not in done.stderr


@needs_checkpoint
def test_a_process_that_cannot_start_is_a_sentence(tmp_path: Path) -> None:
    broken = shutil.copytree(CHECKPOINT, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    done = subprocess.run(
        demo("--checkpoint", str(broken), "--out", str(tmp_path)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert "the process 'policy_node' ended with code 1" in done.stderr
    assert "Traceback" not in done.stderr
