# SPDX-License-Identifier: Apache-2.0
"""Lessons without ROS are what the experts' bags become: the same frames, but for what this file names.

Equal: scene, sentence, note, what arm and gripper measure, what the gripper is asked for, pictures without their
noise. Actions differ by little: a bag tells what the arm was commanded, a lesson what the expert asked for, and
the guard's motion takes the corners off.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla_core.actions.action_space import action_towards
from vla_core.episode_record import EpisodeRecord
from vla_core.geometry import Pose, angle_rad, distance_m
from vla_core.robot_spec import RobotSpec
from vla_core.units import NS_PER_S
from vla_sim.demonstration import note_of, sentence_of
from vla_sim.demonstration_bags import record_demonstrations
from vla_sim.demonstration_studio import EPISODE_NS, FIRST_NS
from vla_sim.experts.catalogue import EXPERT_SPACE
from vla_sim.lesson import Lesson, LessonTick
from vla_training.bag_to_dataset import bag_to_dataset
from vla_training.conversion.config import ConversionConfig
from vla_training.datasets.calvin_folder import CAMERA_KEYS, CalvinFolder

SPEC = RobotSpec.load(Path(__file__).parents[1] / "config" / "robots" / "sim_arm.yaml")
# A seed of its own for each: the stamps of the frames then tell the demonstrations apart.
SEEDS = {"lift_red_block": 3, "open_drawer": 4, "push_blue_block_left": 5, "turn_on_light": 6}
POSE_M, POSE_RAD, JOINTS_RAD, OPENING = 1e-6, 1e-6, 1e-6, 1e-4  # chunks hold float32, the experts' bags float64
TRIMMED = 2  # frames of standing still at the end that the converter may leave out
GREY_LEVELS = 1.3  # of two pictures of a still scene, on average: 1.13
MEAN_ACTION, LARGEST_ACTION, DRIFT_M, DRIFT_RAD = 0.03, 0.25, 0.001, 0.005


@dataclass(frozen=True, eq=False)
class Pair:
    """A demonstration on both ways; frames and ticks are in step."""

    task: str
    seed: int
    record: EpisodeRecord
    instruction: str
    frames: list[dict[str, Any]]
    ticks: list[LessonTick]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    folder = tmp_path_factory.mktemp("demonstrations")
    for task, seed in SEEDS.items():
        record_demonstrations(folder / "bags", SPEC, [task], episodes=1, seed=seed)
    config = ConversionConfig(rate_hz=10.0, validation_share=0.0)
    bag_to_dataset([folder / "bags"], folder / "dataset", SPEC, config)
    split = CalvinFolder(folder / "dataset" / "training", show_progress=False)
    converted: dict[int, tuple[str, list[dict[str, Any]]]] = {}
    for annotation in split.annotations:
        frames = [dict(np.load(split.frame_path(i))) for i in range(annotation.start, annotation.end + 1)]
        seed = (int(frames[0]["stamp_ns"]) - FIRST_NS) // EPISODE_NS
        converted[seed] = annotation.instruction, frames
    lesson = Lesson(SPEC)
    found = []
    for task, seed in SEEDS.items():
        record = EpisodeRecord.load(folder / "bags" / f"{task}_{seed:05d}")
        assert record is not None
        instruction, frames = converted[seed]
        ticks = list(lesson.demonstrate(task, seed))
        assert len(ticks) - TRIMMED <= len(frames) <= len(ticks)
        found.append(Pair(task, seed, record, instruction, frames, ticks[: len(frames)]))
    lesson.close()
    return found


def test_there_are_the_same_frames_of_the_same_sentence(pairs: list[Pair]) -> None:
    for pair in pairs:
        assert pair.record.outcome == "success"
        assert pair.record.note == note_of(pair.task, pair.seed)
        assert pair.instruction == pair.record.instruction == sentence_of(pair.task, pair.seed)
        assert {tick.instruction for tick in pair.ticks} == {pair.instruction}
        assert len(pair.frames) == len(pair.ticks) > 15
        begin_ns = FIRST_NS + pair.seed * EPISODE_NS
        for frame, tick in zip(pair.frames, pair.ticks, strict=True):
            late_ns = int(frame["stamp_ns"]) - begin_ns - tick.observation.stamp_ns
            assert 0 <= late_ns < NS_PER_S / 100, "a tick of the bag waits for its picture, no longer"


def test_arm_and_gripper_measure_and_are_asked_for_the_same(pairs: list[Pair]) -> None:
    for pair in pairs:
        for frame, tick in zip(pair.frames, pair.ticks, strict=True):
            seen, robot_obs = tick.observation, frame["robot_obs"]
            measured = _pose(robot_obs)
            assert distance_m(measured, seen.pose_tcp_in_base) < POSE_M
            assert angle_rad(measured, seen.pose_tcp_in_base) < POSE_RAD
            assert np.abs(robot_obs[7:14] - seen.joint_positions_rad).max() < JOINTS_RAD
            assert abs(robot_obs[6] / 0.08 - seen.gripper_open) < OPENING
            assert frame["rel_actions"][6] == 2.0 * tick.action[6] - 1.0


def test_pictures_are_equal_but_for_their_noise(pairs: list[Pair]) -> None:
    for pair in pairs:
        for frame, tick in zip(pair.frames, pair.ticks, strict=True):
            for camera, key in CAMERA_KEYS.items():
                difference = frame[key].astype(int) - tick.observation.images[camera]
                assert np.abs(difference).mean() < GREY_LEVELS, f"{pair.task}, {camera}"


def test_actions_differ_by_what_the_guard_rounds_off(pairs: list[Pair]) -> None:
    for pair in pairs:
        told = [_pose(frame["actions"]) for frame in pair.frames]
        # Before its first command the arm starts from where it is measured.
        starts = [pair.ticks[0].observation.pose_tcp_in_base, *told[:-1]]
        of_bag = np.array([action_towards(EXPERT_SPACE, *way) for way in zip(starts, told, strict=True)])
        difference = of_bag - np.array([tick.action[:6] for tick in pair.ticks])
        assert np.abs(difference).mean() < MEAN_ACTION
        assert np.abs(difference).max() < LARGEST_ACTION
        drift = difference.sum(axis=0)
        assert np.abs(drift[:3]).max() * EXPERT_SPACE.translation_m < DRIFT_M, "what is rounded off comes later"
        assert np.abs(drift[3:]).max() * EXPERT_SPACE.rotation_rad < DRIFT_RAD


def _pose(numbers: np.ndarray) -> Pose:
    """Return the pose of CALVIN's numbers: position in metres, extrinsic x-y-z angles."""
    return Pose(np.array(numbers[:3]), Rotation.from_euler("xyz", numbers[3:6]))
