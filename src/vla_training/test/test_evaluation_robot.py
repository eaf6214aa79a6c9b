# SPDX-License-Identifier: Apache-2.0
"""The logbook by keys of a terminal, and the report on logbooks."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vla_core.trial_log import Trial, TrialLog, read_trials
from vla_training.evaluate import main
from vla_training.evaluation.robot.report import RobotResults, robot_numbers, robot_summary, write_robot_page
from vla_training.evaluation.robot.terminal import USUAL_REASONS, RobotTerminal


def terminal(log: TrialLog, *answers: str) -> RobotTerminal:
    lines: Iterator[str] = iter(answers)
    return RobotTerminal(log, lambda question: next(lines), now_ns=lambda: 7)


def test_keys_write_the_logbook(tmp_path: Path) -> None:
    log = TrialLog(tmp_path / "trials.jsonl")
    keys = terminal(log, "best", "open the drawer", "", "2", "close the drawer", "hit the table", "")
    pressed = [keys.press(key) for key in "cbisbfbfbd?"]
    assert pressed[0] == "checkpoint: best"
    assert pressed[-1] == ""
    told = [(t.instruction, t.checkpoint, t.outcome, t.reason, t.interventions) for t in log.trials]
    assert told == [
        ("open the drawer", "best", "success", "", 1),
        ("open the drawer", "best", "failure", USUAL_REASONS[1], 0),
        ("close the drawer", "best", "failure", "hit the table", 0),
        ("close the drawer", "best", "discarded", "", 0),
    ]
    log.close()


def test_keys_that_do_not_fit_are_answered_and_nothing_is_asked(tmp_path: Path) -> None:
    log = TrialLog(tmp_path / "trials.jsonl")
    keys = terminal(log, "go")
    for key in "sfid":
        assert keys.press(key).startswith("NO: no trial is open")
    keys.press("b")
    assert "NO: trial 1 is open" in keys.press("b")
    log.close()
    again = TrialLog(tmp_path / "trials.jsonl")
    assert "still open: open: go" in terminal(again).greeting()
    again.close()


def test_the_command_listens_to_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "vla_training.evaluate", "robot", "--log", str(path), "--checkpoint", "best"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    shown = b""

    def wait_for(words: bytes) -> None:
        nonlocal shown
        deadline = time.monotonic() + 120
        while words not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([ours], [], [], 0.2)[0]:
                shown += os.read(ours, 4096)
        shown = shown.partition(words)[2]

    try:
        wait_for(b"trials so far")
        os.write(ours, b"b")
        wait_for(b"sentence")
        os.write(ours, b"open the drawer\n")
        wait_for(b"1: open")
        os.write(ours, b"s")
        wait_for(b"1: success")
        os.write(ours, b"b")
        wait_for(b"sentence")
        os.write(ours, b"\n")
        wait_for(b"2: open")
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
    assert [(trial.instruction, trial.outcome) for trial in read_trials(path)] == [
        ("open the drawer", "success"),
        ("open the drawer", "unfinished"),
    ]


def test_without_a_terminal_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robot", "--log", str(tmp_path / "trials.jsonl")]) == 1
    assert "no terminal" in capsys.readouterr().err


def trial(checkpoint: str, sentence: str, outcome: str, reason: str = "", interventions: int = 0) -> Trial:
    return Trial(
        instruction=sentence,
        checkpoint=checkpoint,
        started_ns=0,
        ended_ns=4_000_000_000,
        outcome=outcome,  # type: ignore[arg-type]
        reason=reason,
        interventions=interventions,
    )


TRIALS = [
    *[trial("old", "open", "failure", "missed")] * 9,
    *[trial("old", "open", "success")],
    *[trial("new", "open", "success")] * 8,
    *[trial("new", "open", "success", interventions=2)],
    *[trial("new", "open", "failure", "dropped it")],
    *[trial("new", "close", "failure")] * 2,
    trial("new", "open", "discarded"),
    trial("old", "open", "unfinished"),
]


def test_counts_are_exact() -> None:
    results = RobotResults(TRIALS)
    assert results.count("old") == (1, 10)
    assert results.count("new") == (9, 12)
    assert results.count("new", "open") == (9, 10)
    assert results.count() == (10, 22)
    assert (results.num_discarded, results.num_unfinished) == (1, 1)
    assert results.without_help("new").value == pytest.approx(8 / 12)
    assert results.interventions("new") == 2
    assert results.reasons("new") == {"dropped it": 1, "(no reason given)": 2}
    assert results.seconds("new") == 4.0
    [(a, b, difference, p)] = results.comparisons()
    assert (a, b) == ("old", "new")
    assert difference.value == pytest.approx(0.65)
    assert difference.low > 0
    assert p < 0.01


def test_numbers_text_and_page_agree(tmp_path: Path) -> None:
    results = RobotResults(TRIALS)
    numbers = robot_numbers(results)
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert numbers["checkpoints"]["new"]["sentences"]["close"]["successes"] == 0
    assert "new minus old: +65.0 points" in robot_summary(results)
    page = write_robot_page(tmp_path / "page.html", results, ["trials.jsonl"]).read_text()
    for words in ("75.0 %", "dropped it", "+65.0 points", "a difference", "because discarded: 1"):
        assert words in page


def test_few_trials_show_no_difference() -> None:
    few = [trial("a", "go", "success"), trial("a", "go", "failure"), trial("b", "go", "success")]
    assert "no difference is shown" in robot_summary(RobotResults(few))


def test_the_command_reports_on_several_logbooks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / f"{name}.jsonl" for name in ("a", "b")]
    for path in paths:
        log = TrialLog(path)
        log.begin("open the drawer", path.stem, 1)
        log.succeed(2)
        log.close()
    out = tmp_path / "out" / "report.html"
    assert main(["robot", "--report", *map(str, paths), "--out", str(out)]) == 0
    assert out.is_file()
    assert set(json.loads(out.with_suffix(".json").read_text())["checkpoints"]) == {"a", "b"}
    assert "a: 1 of 1" in capsys.readouterr().out
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert main(["robot", "--report", str(empty)]) == 1
    assert "no trial has ended" in capsys.readouterr().err
