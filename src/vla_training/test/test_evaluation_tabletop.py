# SPDX-License-Identifier: Apache-2.0
"""The tabletop benchmark: experts and random weights through the real evaluator, kills, resumed runs, ROS."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_models import tiny_checkpoint

from vla_core.actions.action_space import ActionSpace
from vla_core.errors import VlaError
from vla_core.journal import JournalError, read_journal
from vla_core.policy import BatchedPolicy
from vla_core.policy_contract import PolicyContract
from vla_core.robot_spec import RobotSpec
from vla_core.types import ActionChunk, Observation
from vla_training.evaluate import main
from vla_training.evaluation.tabletop.evaluation import JOURNAL, Bench, evaluate_tabletop
from vla_training.evaluation.tabletop.page import write_tabletop_page
from vla_training.evaluation.tabletop.plan import Plan, trials_of
from vla_training.evaluation.tabletop.report import average_length, confusion, obeyed, tabletop_numbers
from vla_training.evaluation.tabletop.results import TrialResult
from vla_training.evaluation.tabletop.rollout import roll_out
from vla_training.evaluation.tabletop.simulator import TabletopSimulator, World
from vla_training.init_checkpoint import init_checkpoint

pytest.importorskip("mujoco")

ROBOT = Path(__file__).parents[3] / "config" / "robots" / "sim_arm.yaml"
SIMULATOR = TabletopSimulator(robot=ROBOT)
QUICK = ["--tasks", "lift_red_block", "open_drawer", "--time-limit-s", "1", "--quiet"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return init_checkpoint(RobotSpec.load(ROBOT), tmp_path_factory.mktemp("checkpoints") / "untrained")


@dataclass(frozen=True)
class WatchedSimulator(TabletopSimulator):
    """Remembers its worlds, so that experts can look at what no policy sees."""

    worlds: list[Any] = field(default_factory=list)

    def world(self, contract: PolicyContract) -> World:
        self.worlds.append(super().world(contract))
        return self.worlds[-1]


class Experts:
    """An expert for each world behind the interface of a policy; a sentence without meaning moves nothing."""

    contract = PolicyContract(
        cameras=("static",),
        image_aspects=(1.0,),
        period_s=0.1,
        chunk_size=1,
        window_size=1,
        action_space=ActionSpace(frame="tcp", translation_m=0.03, rotation_rad=0.08),
        is_trained=True,
    )
    identity: dict[str, Any] = {"checkpoint": "expert"}  # noqa: RUF012

    def __init__(self, worlds: list[Any]) -> None:
        self._worlds = worlds
        self.num_begun = 0

    def __call__(self, num_worlds: int) -> "Experts":
        self._experts: list[Any] = [None] * num_worlds
        return self

    def reset(self, is_new: Sequence[bool]) -> None:
        self._experts = [None if mark else expert for mark, expert in zip(is_new, self._experts, strict=True)]

    def infer(self, observations: Sequence[Observation], instructions: Sequence[str]) -> list[ActionChunk]:
        return [
            self._chunk(k, seen, said)
            for k, (seen, said) in enumerate(zip(observations, instructions, strict=True))
        ]

    def _chunk(self, k: int, observation: Observation, sentence: str) -> ActionChunk:
        from vla_sim.experts.catalogue import make_expert
        from vla_sim.tasks import TASKS

        names = [name for name, task in TASKS.items() if sentence in (*task.sentences, *task.held_out_sentences)]
        action = np.array([0.0] * 6 + [1.0])
        if names:
            self.num_begun += self._experts[k] is None
            self._experts[k] = self._experts[k] or make_expert(names[0], self.contract.action_space)
            action = self._experts[k].act(self._worlds[k].state(), observation.pose_tcp_in_base)
        return ActionChunk(observation.stamp_ns, 0.1, np.asarray(action, dtype=np.float32)[None])


def with_experts(plan: Plan, out: Path, batch: int = 2) -> tuple[list[TrialResult], Experts]:
    simulator = WatchedSimulator(robot=ROBOT)
    experts = Experts(simulator.worlds)
    trials = trials_of(plan, simulator)
    return evaluate_tabletop(Bench(experts, simulator, batch), trials, out, experts.identity), experts


def test_an_expert_does_what_it_is_told_and_the_numbers_say_so(tmp_path: Path) -> None:
    names = ("lift_red_block", "turn_on_light", "move_slider_left")
    results, _ = with_experts(Plan(tasks=names, episodes=2, phrasings="all"), tmp_path)
    assert [(result.trial["task"], result.trial["seed"]) for result in results] == [
        (name, seed) for seed in (0, 1) for name in names
    ]
    assert all(result.legs[0].success and result.legs[0].first == result.trial["task"] for result in results)
    numbers = tabletop_numbers(results, {})
    assert json.loads(json.dumps(numbers)) == numbers
    assert numbers["mean_over_tasks"] == 1.0
    assert numbers["tasks"]["lift_red_block"]["tried"] == 2
    assert 1.0 < numbers["tasks"]["lift_red_block"]["mean_duration_s"] < 6.0
    assert sum(split["tried"] for split in numbers["phrasings"].values()) == 6


def test_a_chain_goes_on_in_the_same_world_with_a_new_history_for_each_sentence(tmp_path: Path) -> None:
    results, experts = with_experts(Plan(episodes=0, chains=1, seed=4), tmp_path, 1)
    told = [leg.task for result in results for leg in result.legs]
    assert experts.num_begun == len(told), "one expert for each sentence"
    assert all(len(set(result.legs)) == len(result.legs) for result in results)
    assert average_length(results).value == np.mean([result.successes for result in results]) >= 3
    page = write_tabletop_page(tmp_path / "report.html", results, {}, []).read_text()
    assert "Avg. Len" in page
    assert str(told[0]) in page


def test_other_sentences_in_the_same_scene_lead_to_other_tasks(tmp_path: Path) -> None:
    names = ("lift_red_block", "lift_blue_block", "open_drawer", "close_drawer")
    results, _ = with_experts(Plan(tasks=names, episodes=0, confusion=2, time_limit_s=5.0), tmp_path, 3)
    table = confusion(results)
    right, wrong, moved = obeyed(table)
    assert right == (len(results) - 2, len(results) - 2)
    assert wrong[0] == moved[0] == 0
    assert moved[1] == 2
    assert {f'"{sentence}"' for sentence in SIMULATOR.sentences_without_meaning()[:2]} <= set(table.said)
    possible = {(seed, name) for seed in (0, 1) for name in SIMULATOR.possible_tasks(seed) if name in names}
    assert {(r.trial["seed"], r.trial["task"]) for r in results if r.trial["task"]} == possible
    assert "came true first" in write_tabletop_page(tmp_path / "page.html", results, {}, []).read_text()


def seen_poses(batch: int, cameras: tuple[str, ...], num_trials: int) -> dict[str, list[list[float]]]:
    """Return sentence to where the arm was at each tick, for lively random weights."""
    policy = BatchedPolicy(tiny_checkpoint(cameras=cameras), batch)
    worlds = [SIMULATOR.world(policy.contract) for _ in range(batch)]
    names = ("lift_red_block", "open_drawer", "turn_on_light", "push_pink_block_left")[:num_trials]
    trials = trials_of(Plan(tasks=names, episodes=1, time_limit_s=1.5), SIMULATOR)
    poses: dict[str, list[list[float]]] = {}

    def note(world: World, observation: Observation, sentence: str) -> None:
        assert set(observation.images) == set(cameras)
        assert set(observation.images) | set(world.other_pictures()) == {"static", "wrist"}
        poses.setdefault(sentence, []).append(observation.pose_tcp_in_base.position_m.tolist())

    rows = list(roll_out(policy, SIMULATOR, worlds, trials, note))
    for world in worlds:
        world.close()
    assert len(rows) == len(trials)
    return poses


def test_one_world_and_several_side_by_side_give_the_same() -> None:
    alone, together = seen_poses(1, ("static", "wrist"), 4), seen_poses(3, ("static", "wrist"), 4)
    assert alone == together
    assert len(alone) == 4
    assert all(np.ptp(np.array(path), axis=0).max() > 0.01 for path in alone.values()), "the arm moves"


def test_a_policy_with_the_static_camera_alone_is_evaluated() -> None:
    (path,) = seen_poses(1, ("static",), 1).values()
    assert len(path) == 15


def test_late_chunks_move_the_arm_later_and_broken_ones_not_at_all() -> None:
    actions = np.array([[0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]], dtype=np.float32)

    def moved_mm(simulator: TabletopSimulator, actions: Any) -> list[float]:
        world = simulator.world(Experts.contract)
        world.reset(0, None)
        poses = [world.observe().pose_tcp_in_base.position_m]
        for _ in range(6):
            world.advance(ActionChunk(round(world.time_s * 1e9), 0.1, actions))
            poses.append(world.observe().pose_tcp_in_base.position_m)
        world.close()
        return [1000.0 * float(np.linalg.norm(pose - poses[0])) for pose in poses]

    at_once, late = moved_mm(SIMULATOR, actions), moved_mm(TabletopSimulator(robot=ROBOT, latency_ms=200), actions)
    assert at_once[2] > 0.5
    assert max(late[:3]) < 0.1 < late[5]
    assert max(moved_mm(SIMULATOR, actions * np.nan)) < 0.1
    with pytest.raises(VlaError, match="multiple of the command period"):
        TabletopSimulator(robot=ROBOT, latency_ms=33).world(Experts.contract)
    with pytest.raises(VlaError, match="drops chunks as late as 1 s"):
        TabletopSimulator(robot=ROBOT, latency_ms=1000).world(Experts.contract)


def test_the_command_writes_numbers_page_and_films_and_goes_on_after_a_kill(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tabletop", str(checkpoint), *QUICK, "--robot", str(ROBOT), "--out", str(tmp_path), "--videos", "1"]
    arguments = [*command, "--episodes", "5", "--batch", "1"]
    process = subprocess.Popen([sys.executable, "-m", "vla_training.evaluate", *arguments])
    journal = tmp_path / JOURNAL
    wait_for(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 3, process)
    process.kill()
    process.wait()
    before = read_journal(journal)
    assert 3 <= len(before) < 11
    assert main([*command, "--episodes", "5", "--batch", "3"]) == 0
    rows = read_journal(journal)
    assert rows[: len(before)] == before, "what was done is kept"
    assert len(rows) == 11
    assert len({row["id"] for row in rows[1:]}) == 10
    numbers = json.loads((tmp_path / "results.json").read_text())
    assert numbers["tasks"]["open_drawer"]["tried"] == 5
    assert "UNTRAINED" in numbers["notes"][0]
    assert len(numbers["videos"]) == 2
    assert all((tmp_path / video).stat().st_size > 1000 for video in numbers["videos"])
    assert numbers["videos"][0] in (tmp_path / "report.html").read_text()
    assert Image.open(tmp_path / "failures.jpg").height > 2 * 144, "two films, one below the other"
    capsys.readouterr()
    assert main([*command, "--latency-ms", "100"]) == 1
    assert "latency_ms = 0.0, this one has 100.0. Choose another --out" in capsys.readouterr().err


def test_several_processes_give_the_same_rows(checkpoint: Path, tmp_path: Path) -> None:
    command = ["tabletop", "--checkpoint", str(checkpoint), *QUICK, "--robot", str(ROBOT), "--episodes", "1"]
    command += ["--videos", "0"]
    for name, how in (("one", []), ("two", ["--processes", "2", "--batch", "1"])):
        assert main([*command, *how, "--out", str(tmp_path / name)]) == 0

    def rows(name: str) -> list[str]:
        return sorted(json.dumps(row) for row in read_journal(tmp_path / name / JOURNAL)[1:])

    assert rows("one") == rows("two")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--tasks", "lift_red_blok"], "did you mean 'lift_red_block'"),
        (["--phrasings", "99"], "has no phrasings '99'"),
        (["--chains", "1", "--phrasings", "10"], "has no phrasings '10'"),
        (["--episodes", "0"], "there is nothing to do"),
        (["--episodes", "-1"], "--episodes is -1"),
        (["--ros", "--latency-ms", "100"], "with --ros the latency is the real one"),
        (["--batch", "0"], "batch and processes must be at least 1"),
        (["--checkpoint", "somewhere"], "2 checkpoints are named"),
    ],
)
def test_what_cannot_be_done_is_said(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    command = ["tabletop", str(checkpoint), "--robot", str(ROBOT), "--out", str(tmp_path / "out")]
    assert main([*command, *options]) == 1
    assert sentence in capsys.readouterr().err


def test_numbers_of_other_policies_are_never_mixed(tmp_path: Path) -> None:
    plan = Plan(tasks=("lift_red_block",), episodes=1)
    with_experts(plan, tmp_path)
    with pytest.raises(JournalError, match="Choose another --out"):
        evaluate_tabletop(lambda trials: iter(()), [], tmp_path, {"checkpoint": "another"})


def test_one_sentence_in_all_scenes_counts_what_happens(tmp_path: Path) -> None:
    plan = Plan(tasks=("lift_red_block", "close_drawer"), episodes=1, instruction="lift the blue block")
    results, _ = with_experts(plan, tmp_path)
    table = confusion(results)
    assert table.said == ('"lift the blue block"',)
    assert dict(zip(table.happened, table.counts[0], strict=True)) == {"lift_blue_block": 2, "none": 0}


@pytest.mark.ros
def test_the_real_graph_gives_rows_and_leaves_no_process_behind(checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    robot = shutil.copytree(ROBOT.parent, tmp_path / "robots") / ROBOT.name
    command = ["tabletop", str(checkpoint), *QUICK, "--ros", "--robot", str(robot), "--out", str(tmp_path / "out")]
    process = subprocess.Popen([sys.executable, "-m", "vla_training.evaluate", *command, "--episodes", "20"])
    journal = tmp_path / "out" / JOURNAL
    wait_for(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 2, process)
    assert len(processes_of(robot)) >= 4, "evaluator, trials, simulated robot, policy node"
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not processes_of(robot))
    legs = [row["legs"][0] for row in read_journal(journal)[1:]]
    assert legs[0]["task"] == "lift_red_block"
    assert all(1.0 <= leg["duration_s"] < 3.0 for leg in legs)


def wait_for(condition: Any, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline_s = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def processes_of(robot: Path) -> list[int]:
    """Return the processes that were told of a robot."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(robot) in words and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found
