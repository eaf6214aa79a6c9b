# SPDX-License-Identifier: Apache-2.0
"""What the demo says, where it begins, how it judges and what its table shows; test_demo_run.py runs it."""

import os
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from demo.film import Film
from demo.script import FIRST_SEED, SENTENCES, lines_of, scene_for
from demo.table import Row, render
from demo.witness import Witness
from vla_core.errors import InstructionError
from vla_core.geometry import Pose
from vla_sim.chains import is_possible
from vla_sim.start_state import draw_start
from vla_sim.task_state import TabletopState
from vla_sim.tasks import TASKS, StartScene

ROOT = Path(__file__).resolve().parents[1]
AWKWARD = [
    'it\'s the "red" one',
    "öffne die Schublade, bitte",
    "costs $5 $(exit 3) `exit 3` $$ ${HOME}",
    "$(error make reads this",
    "a \\ b # c % d & e | f > g * ? ! ~",
    "--help",
    "引き出しを開けて",
    "",
]


def start(seed: int = 0, task: str | None = None) -> TabletopState:
    return draw_start(seed, TASKS[task].start if task else StartScene()).tabletop


def moved(state: TabletopState, block: str, by_m: tuple[float, float, float], held: str | None) -> TabletopState:
    pose = Pose(state.blocks[block].position_m + np.array(by_m), Rotation.identity())
    return replace(state, blocks={**state.blocks, block: pose}, held=held)


@pytest.mark.parametrize("sentence", AWKWARD)
def test_a_sentence_reaches_the_demo_through_make_as_it_was_typed(sentence: str, tmp_path: Path) -> None:
    # The Makefile's own recipe, but what it runs is a python that tells what it was given.
    makefile = (ROOT / "Makefile").read_text().replace("demo: setup", "demo:").replace("$(ENV) ", "")
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done\n')
    python.chmod(0o755)
    (tmp_path / "Makefile").write_text(makefile)
    made = subprocess.run(
        ["make", "--silent", "-C", str(tmp_path), "demo", f"INSTRUCTION={sentence}"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "MAKEFLAGS": ""},
        capture_output=True,
        check=True,
    )
    assert made.stdout.decode().split("\0")[:3] == ["-m", "demo", f"--instruction={sentence}"]


def test_without_a_sentence_three_are_said_that_can_be_done_in_one_scene() -> None:
    for text in ("", " ", ";", " ; ;; "):
        assert lines_of(text) == lines_of(SENTENCES)
    lines = lines_of("")
    tasks = [line.task for line in lines]
    state = draw_start(scene_for(lines).seed, tasks[0].start).tabletop
    assert tasks == [TASKS["open_drawer"], TASKS["turn_on_light"], TASKS["lift_blue_block"]]
    assert all(is_possible(task, state) for task in tasks)


def test_semicolons_separate_and_phrasings_are_known_courtesies_aside() -> None:
    known, held_out, other = lines_of("turn on  the light; pull the drawer out ;\nLIGHT, please")
    assert (known.sentence, known.task) == ("turn on the light", TASKS["turn_on_light"])
    assert held_out.task is TASKS["open_drawer"]
    assert (other.sentence, other.task) == ("LIGHT, please", None)
    (polite,) = lines_of("Could you close the drawer please")
    assert (polite.sentence, polite.task) == ("Could you close the drawer please", TASKS["close_drawer"])


@given(st.text(max_size=200))
def test_any_text_is_said_or_refused_with_a_sentence(text: str) -> None:
    try:
        lines = lines_of(text)
    except InstructionError:
        return
    assert all(line.sentence and ";" not in line.sentence and line.limit_s > 0 for line in lines)


@pytest.mark.parametrize("name", TASKS)
def test_a_known_sentence_begins_where_it_can_be_done(name: str) -> None:
    scene = scene_for(lines_of(f"what a lovely morning; {TASKS[name].sentences[0]}"))
    assert (scene.task, scene.seed >= FIRST_SEED) == (name, True)
    assert is_possible(TASKS[name], start(scene.seed, name))


def test_a_seed_that_is_named_is_taken() -> None:
    assert scene_for(lines_of("fly to the moon"), seed=7).seed == 7


def test_a_known_task_is_done_when_its_oracle_says_so() -> None:
    before = start(task="open_drawer")
    witness = Witness(TASKS["open_drawer"], before)
    assert not witness.look(before)
    assert witness.in_words() == "NOT done"
    assert witness.look(replace(before, drawer_m=0.12))
    assert witness.look(before)  # what was done once was done
    assert witness.in_words() == "done"


def test_another_task_than_the_one_asked_for_is_told() -> None:
    before = start(task="open_drawer")
    witness = Witness(TASKS["open_drawer"], before)
    witness.look(moved(before, "red_block", (0.0, 0.0, 0.08), held="red_block"))
    assert witness.in_words() == "NOT done, but also lift_red_block"


def test_lifting_what_is_then_put_away_is_nothing_else() -> None:
    before = start(task="place_pink_in_drawer")
    witness = Witness(TASKS["place_pink_in_drawer"], before)
    witness.look(moved(before, "pink_block", (0.0, 0.0, 0.08), held="pink_block"))
    assert witness.in_words() == "NOT done"


def test_what_an_unknown_sentence_led_to_is_named_by_task() -> None:
    before = start(task="turn_on_light")
    witness = Witness(None, before)
    assert not witness.look(before)
    assert witness.in_words() == "nothing happened"
    assert not witness.look(replace(before, is_light_on=True))
    witness.look(moved(replace(before, is_light_on=True), "blue_block", (0, 0, 0.08), held="blue_block"))
    assert witness.in_words() == "turn_on_light, lift_blue_block"


def test_the_table_shows_every_row_and_keeps_its_columns() -> None:
    row = Row(
        sentence="open the drawer",
        outcome="done",
        duration_s=4.25,
        guard=Counter({"workspace": 3}),
        inference_ms=[20.0] * 99 + [80.0],
        ticks_asked_hz=10.0,
        ticks_reached_hz=9.96,
    )
    refused = replace(row, sentence="x " * 200, guard=Counter(), inference_ms=[])
    text = render([row, refused])
    header, _, _, first, second = text.splitlines()
    for cell in ("open the drawer", "done", "4.2", "workspace 3", "20.0/20.0", "10.0/10.0"):
        assert cell in first
    assert first.index("done") == second.index("done") == header.index("what happened")
    assert "nan/nan" in second


def test_the_film_has_a_frame_for_each_moment_and_a_row_for_each_sentence(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    film = Film(10.0)
    for caption in ("1/2: öffne", "2/2: " + "sehr " * 100):
        for _ in range(7):
            film.add(
                {"wrist": np.zeros((84, 84, 3), np.uint8), "static": np.ones((200, 200, 3), np.uint8)}, caption
            )
    film.write_video(tmp_path / "film.mp4")
    film.write_contact_sheet(tmp_path / "sheet.png")
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 14
    assert (tmp_path / "sheet.png").stat().st_size > 0
