# SPDX-License-Identifier: Apache-2.0
"""Journals and the logbook in them: nothing that was written is lost, whatever happens to the writer."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_core.errors import InstructionError
from vla_core.journal import Journal, JournalError, read_journal
from vla_core.trial_log import Trial, TrialLog, TrialLogError, read_trials, trials_of

ROWS = [{"n": 1, "words": "grün\nund \u2028 mehr"}, {"n": 2}, {"n": 3, "list": [1.5, None]}]


def written(path: Path) -> bytes:
    with Journal(path) as journal:
        for row in ROWS:
            journal.append(row)
    return path.read_bytes()


@given(cut=st.integers(0, 200))
def test_a_journal_that_was_cut_anywhere_keeps_its_whole_rows(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    data = written(path)
    kept = data[: min(cut, len(data))]
    path.write_bytes(kept)
    whole = ROWS[: kept.count(b"\n")]
    assert list(read_journal(path)) == whole
    with Journal(path) as journal:
        assert list(journal.rows) == whole
        journal.append({"n": 9})
    assert list(read_journal(path)) == [*whole, {"n": 9}]


def test_a_row_is_on_the_disk_when_append_returns(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from vla_core.journal import Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "for n in range(100): journal.append({'n': n})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "journal.jsonl")], env=environment, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert [row["n"] for row in read_journal(tmp_path / "journal.jsonl")] == list(range(100))


def test_only_one_writes(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path), pytest.raises(JournalError, match="another process is writing"):
        Journal(path)
    Journal(path).close()


@pytest.mark.parametrize("line", [b"not json", b"[1, 2]", b"\xff\xfe", b""])
def test_damage_in_the_midst_is_refused_and_left_alone(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    data = b'{"n": 1}\n' + line + b'\n{"n": 2}\n'
    path.write_bytes(data)
    for opened in (read_journal, Journal):
        with pytest.raises(JournalError, match="line 2 is no JSON object"):
            opened(path)
    assert path.read_bytes() == data


def test_a_journal_that_is_not_there_is_refused_when_read(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be read"):
        read_journal(tmp_path / "none.jsonl")


def test_a_logbook_tells_what_happened(tmp_path: Path) -> None:
    log = TrialLog(tmp_path / "trials.jsonl")
    log.begin("  open   the drawer ", "best", 1_000_000_000)
    log.intervene(2_000_000_000)
    log.intervene(3_000_000_000)
    log.succeed(5_500_000_000)
    log.begin("open the drawer", "last", 6_000_000_000)
    log.fail(" missed\nit ", 7_000_000_000)
    log.begin("open the drawer", "last", 8_000_000_000)
    log.discard(9_000_000_000)
    log.begin("open the drawer", "last", 10_000_000_000)
    log.close()
    trials = read_trials(tmp_path / "trials.jsonl")
    assert trials == log.trials
    assert trials[0] == Trial(
        instruction="open the drawer",
        checkpoint="best",
        started_ns=1_000_000_000,
        ended_ns=5_500_000_000,
        outcome="success",
        interventions=2,
    )
    assert trials[0].seconds == 4.5
    assert [(t.outcome, t.reason, t.seconds) for t in trials[1:]] == [
        ("failure", "missed it", 1.0),
        ("discarded", "", 1.0),
        ("unfinished", "", None),
    ]
    again = TrialLog(tmp_path / "trials.jsonl")
    assert again.open_trial == trials[3]
    again.succeed(11_000_000_000)
    again.close()
    assert read_trials(tmp_path / "trials.jsonl")[3].outcome == "success"


def test_what_does_not_fit_is_refused_and_not_written(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    log = TrialLog(path)
    for act in (log.intervene, log.succeed, log.discard):
        with pytest.raises(TrialLogError, match="no trial is open"):
            act(1)
    with pytest.raises(TrialLogError, match="needs the sentence"):
        log.begin("  ", "best", 1)
    with pytest.raises(InstructionError):
        log.begin("x" * 1000, "best", 1)
    assert path.read_bytes() == b""
    log.begin("go", "best", 1)
    with pytest.raises(TrialLogError, match="trial 1 is open"):
        log.begin("go", "best", 2)
    assert len(path.read_bytes().splitlines()) == 1
    log.close()


EVENTS = st.lists(st.sampled_from(["begin", "intervention", "success", "failure", "discard"]), max_size=20)


@given(events=EVENTS)
def test_a_logbook_never_writes_what_it_cannot_read(
    tmp_path_factory: pytest.TempPathFactory, events: list[str]
) -> None:
    path = tmp_path_factory.mktemp("log") / "trials.jsonl"
    log = TrialLog(path)
    acts = {
        "begin": lambda: log.begin("go", "best", 1),
        "intervention": lambda: log.intervene(2),
        "success": lambda: log.succeed(3),
        "failure": lambda: log.fail("why", 3),
        "discard": lambda: log.discard(3),
    }
    is_open, num_begun = False, 0
    for event in events:
        fits = is_open != (event == "begin")
        if fits:
            acts[event]()
            is_open = event in ("begin", "intervention")
            num_begun += event == "begin"
        else:
            with pytest.raises(TrialLogError):
                acts[event]()
    log.close()
    assert read_trials(path) == log.trials
    assert len(log.trials) == num_begun


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([{"n": 1}], "line 1: 'stamp_ns' is None"),
        ([{"event": "success", "stamp_ns": 1}], "without an open trial"),
        ([{"event": "begin", "stamp_ns": 1, "instruction": 3, "checkpoint": ""}], "'instruction' is 3"),
        (
            [
                {"event": "begin", "stamp_ns": 1, "instruction": "go", "checkpoint": ""},
                {"event": "lunch", "stamp_ns": 2},
            ],
            "line 2: 'event' is 'lunch'; allowed",
        ),
    ],
)
def test_what_is_no_logbook_is_refused(tmp_path: Path, rows: list[dict[str, object]], match: str) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(TrialLogError, match=match):
        read_trials(path)
    with pytest.raises(TrialLogError, match=match):
        TrialLog(path)
    assert trials_of([], "nothing") == ()
