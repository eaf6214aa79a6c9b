# SPDX-License-Identifier: Apache-2.0
"""CALVIN's protocol in a world that can be worked out by hand: counts, chains, shards, kills, resumed runs."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import SHARED_GOLDEN
from toy_calvin import StraightModel, StraightModels, ToyWorld, sequence

from vla_core.errors import VlaError
from vla_core.journal import JournalError, read_journal
from vla_training.evaluate import main
from vla_training.evaluation.calvin.evaluation import JOURNAL, evaluate_calvin
from vla_training.evaluation.calvin.report import (
    average_length,
    calvin_numbers,
    calvin_summary,
    subtask_rates,
    success_rates,
    write_calvin_page,
)
from vla_training.evaluation.calvin.rollout import SequenceResult, run_sequence
from vla_training.evaluation.calvin.sequences import SUBTASKS, official_sequences, read_sequences
from vla_training.evaluation.calvin.simulator import CalvinSimulator, read_sentences
from vla_training.evaluation.calvin.start import fnv1_32, simulator_state

SHARED_CALVIN = SHARED_GOLDEN.parent / "calvin"
SEQUENCES = [
    sequence(1, 2, 5, 10, 20),  # each is done: one millimetre per step
    sequence(20, 10, 5000, 1, 1),  # fails at the third
    sequence(5000, 1, 1, 1, 1),  # fails at once
    sequence(10, 10, 10, 100, 1),  # 100 steps are exactly enough
    sequence(10, 5, 5, 2, 5000),
]
EXPECTED = [
    ((1, 2, 5, 10, 20), 5),
    ((20, 10, 100), 2),
    ((100,), 0),
    ((10, 10, 10, 100, 1), 5),
    ((10, 5, 5, 2, 100), 4),
]
MAX_STEPS = 100


def run(out: Path, world: Any = None, **options: Any) -> list[SequenceResult]:
    return evaluate_calvin(
        options.pop("model", StraightModels()),
        world or ToyWorld(),
        options.pop("sequences", SEQUENCES),
        out,
        max_steps=MAX_STEPS,
        **options,
    )


def told(results: list[SequenceResult]) -> list[tuple[tuple[int, ...], int]]:
    return [(result.steps, result.successes) for result in results]


def test_a_chain_ends_at_its_first_failure_and_every_subtask_begins_afresh() -> None:
    model, world = StraightModel(), ToyWorld()()
    result = run_sequence(world, model, 1, SEQUENCES[1], MAX_STEPS)
    assert result == SequenceResult(number=1, subtasks=SEQUENCES[1].subtasks, steps=(20, 10, 100), successes=2)
    spoken = ["move 20 millimetres"] * 20, ["move 10 millimetres"] * 10, ["move 5000 millimetres"] * 100
    assert model.calls == [word for part in spoken for word in ("reset", *part)]


def test_the_scene_begins_as_the_sequence_says() -> None:
    world = ToyWorld()()
    run_sequence(world, StraightModel(), 0, SEQUENCES[0], MAX_STEPS)
    (robot_obs, scene_obs), *others = world.environment.resets  # type: ignore[attr-defined]
    assert not others
    expected = simulator_state(SEQUENCES[0].start)
    np.testing.assert_array_equal(robot_obs, expected[0])
    np.testing.assert_array_equal(scene_obs, expected[1])


def test_serial_numbers_are_exact(tmp_path: Path) -> None:
    results = run(tmp_path)
    assert told(results) == EXPECTED
    assert [rate.value for rate in success_rates(results)] == [0.8, 0.8, 0.6, 0.6, 0.4]
    assert average_length(results).value == pytest.approx((5 + 2 + 0 + 5 + 4) / 5)
    assert subtask_rates(results)["move_to_5000"] == (0, 3)
    assert subtask_rates(results)["move_to_10"] == (6, 6)
    assert next(iter(subtask_rates(results))) == "move_to_5000", "the worst comes first"


def test_several_processes_give_the_same_and_leave_the_same_rows(tmp_path: Path) -> None:
    assert run(tmp_path / "two", processes=2) == run(tmp_path / "one")

    def rows(name: str) -> list[str]:
        return sorted(json.dumps(row) for row in read_journal(tmp_path / name / JOURNAL)[1:])

    assert rows("two") == rows("one")


def test_a_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    run(tmp_path, sequences=SEQUENCES[:3])
    made = tmp_path / "made"
    assert told(run(tmp_path, ToyWorld(made))) == EXPECTED
    assert len(read_journal(tmp_path / JOURNAL)) == 1 + len(SEQUENCES), "nothing is done twice"
    assert told(run(tmp_path, ToyWorld(made))) == EXPECTED
    assert len(made.read_text().splitlines()) == 1, "where nothing is left to do, no simulator is started"


def test_sequences_that_were_changed_are_done_again(tmp_path: Path) -> None:
    run(tmp_path, sequences=SEQUENCES[:2])
    assert told(run(tmp_path, sequences=[SEQUENCES[2], SEQUENCES[1]])) == [EXPECTED[2], EXPECTED[1]]


@pytest.mark.parametrize(
    ("change", "key"), [({"model": StraightModels(0.1)}, "fingerprint"), ({"world_identity": "tiny"}, "world")]
)
def test_numbers_of_different_runs_are_never_mixed(tmp_path: Path, change: dict[str, Any], key: str) -> None:
    run(tmp_path, sequences=SEQUENCES[:1])
    with pytest.raises(JournalError, match=f"{key} = .*Choose another --out"):
        run(tmp_path, **change)


KILLED = """
import os, sys, time
from pathlib import Path
from toy_calvin import StraightModels, ToyWorld, StraightModel
from test_evaluation_calvin import SEQUENCES, MAX_STEPS
from vla_training.evaluation.calvin.evaluation import evaluate_calvin

class Slow(StraightModel):
    def step(self, obs, goal):
        time.sleep(0.01)
        return super().step(obs, goal)

class SlowModels(StraightModels):
    def __call__(self):
        return Slow(self.part)

if __name__ == "__main__":
    out, processes = Path(sys.argv[1]), int(sys.argv[2])
    evaluate_calvin(
        SlowModels(), ToyWorld(out / "made"), SEQUENCES, out, max_steps=MAX_STEPS, processes=processes
    )
"""


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_resumed_is_as_good_as_any(tmp_path: Path, processes: int) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, script, tmp_path, str(processes)], env=environment)
    journal = tmp_path / JOURNAL
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    workers = [int(line) for line in (tmp_path / "made").read_text().split()]
    while any(is_running(worker) for worker in workers):
        assert time.monotonic() < deadline, "workers outlive the command"
        time.sleep(0.05)
    before = read_journal(journal)
    assert 3 <= len(before) < 1 + len(SEQUENCES)
    with journal.open("ab") as file:
        file.write(b'{"number": 4, "subt')  # what a kill in the middle of a line leaves
    assert told(run(tmp_path)) == EXPECTED
    assert read_journal(journal)[: len(before)] == before, "what was done is kept"


def test_rows_that_were_changed_by_hand_are_refused(tmp_path: Path) -> None:
    run(tmp_path, sequences=SEQUENCES[:1])
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"number": 1}\n')
    with pytest.raises(JournalError, match="line 3 lacks 'sequence'"):
        run(tmp_path)


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(VlaError, match="calvin_env"):
        run(tmp_path, CalvinSimulator((tmp_path,), "tiny"), processes=2)


def test_the_command_says_how_to_get_the_simulator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calvin", str(tmp_path), "--calvin", str(tmp_path)]) == 1
    assert "git clone --recurse-submodules https://github.com/mees/calvin" in capsys.readouterr().err


def test_page_and_numbers_hold_what_was_found(tmp_path: Path) -> None:
    results = run(tmp_path)
    facts = {"checkpoint": "straight"}
    page = write_calvin_page(tmp_path / "report.html", results, facts, ["only five"]).read_text()
    assert "3.20" in page
    assert "only five" in page
    assert "move_to_5000" in page
    numbers = calvin_numbers(results, facts)
    assert json.loads(json.dumps(numbers)) == numbers
    assert numbers["success_rates"]["SR_1"]["value"] == 0.8
    assert "SR_5  40.0 %" in calvin_summary(results)


def test_subtasks_are_those_of_the_sentences() -> None:
    assert len(SUBTASKS) == 34
    if SHARED_CALVIN.is_dir():
        assert set(SUBTASKS) == set(read_sentences([SHARED_CALVIN]))


@pytest.mark.slow
def test_official_sequences_are_the_official_ones() -> None:
    found = [[dict(own.start), list(own.subtasks)] for own in official_sequences()]
    digest = hashlib.sha256(json.dumps(found).encode()).hexdigest()
    assert digest == "840cb992c69ce9b6d59f6020966b6300c15233f8e0b9667b6486c1962424d308"
    if SHARED_CALVIN.is_dir():
        assert found == json.loads((SHARED_CALVIN / "eval_sequences_1000.json").read_text())


def test_the_scene_of_a_sequence_is_the_official_one() -> None:
    start = dict(
        zip(SEQUENCES[0].start, (1, 1, "left", "open", "slider_left", "table", "slider_right", 0), strict=True)
    )
    _, scene = simulator_state(start)
    # Worked out with mees/calvin's own function.
    assert scene[:6].tolist() == [0.28, 0.22, 0.0, 0.088, 1.0, 1.0]
    np.testing.assert_allclose(scene[[11, 17, 23]], [1.88594101, 1.48814344, 1.46839869], atol=1e-8)
    np.testing.assert_allclose(scene[12:15], [2.29995412e-01, -1.19995140e-01, 4.59990010e-01])


def test_the_hash_is_fnv1_over_utf16() -> None:
    assert fnv1_32("") == 0
    assert fnv1_32("a") == ord("a") * 0x01000193 & 0xFFFFFFFF
    assert 0 <= fnv1_32("x" * 1000) < 2**32


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[1, 2", "not a list of"),
        ('[[{"led": 1}, ["open_drawer"]]]', "sequence 0 needs a start"),
        ("3", "not a list of"),
    ],
)
def test_files_that_hold_no_sequences_are_refused(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "sequences.json"
    path.write_text(text)
    with pytest.raises(VlaError, match=match):
        read_sequences(path)
