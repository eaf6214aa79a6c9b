# SPDX-License-Identifier: Apache-2.0
"""CALVIN's layout: a file per frame, and index files that its own and RoboVLMs' loaders read unchanged.

Both loaders take the last frame of an annotation as its end and use no action there (``range(start, end + 1 - W)``
with windows of W frames): the last frame of an episode is written, and asks to stay.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_core.actions.gripper import calvin_from_open
from vla_core.geometry import FloatArray
from vla_core.whole_file import write_npy, write_yaml
from vla_training.conversion.array_statistics import ArrayStatistics
from vla_training.conversion.episode_writer import (
    DemonstrationFrame,
    EpisodeWriter,
    FramesBegin,
    StoredEpisode,
)
from vla_training.datasets.calvin_folder import CAMERA_KEYS
from vla_training.datasets.dataset_card import GRIPPER_WIDTH_OPEN_M
from vla_training.datasets.splits import SPLITS

_NUM_JOINTS = 7
_SCENE_DIM = 24
_EMBEDDING_SHAPE = (1, 384)


def calvin_frame(frame: DemonstrationFrame) -> dict[str, Any]:
    """Return the arrays of one frame under CALVIN's names.

    ``robot_obs`` (15,): TCP position in base (metres), extrinsic x-y-z angles (radians), ``gripper_open`` as the
    width of CALVIN's gripper (metres), seven joints (radians; fewer are followed by zeros, more are cut off), and
    the gripper that was asked for until now. ``actions`` (7,): the target's position and angles. ``rel_actions``
    (7,): the normalised action. The gripper is -1 closed, +1 open.
    """
    seen = frame.observation
    joints = np.zeros(_NUM_JOINTS)
    num_joints = min(_NUM_JOINTS, len(seen.joint_positions_rad))
    joints[:num_joints] = seen.joint_positions_rad[:num_joints]
    pose, target = seen.pose_tcp_in_base, frame.pose_target_in_base
    width_m = seen.gripper_open * GRIPPER_WIDTH_OPEN_M
    asked = calvin_from_open(frame.action[6])
    before = calvin_from_open(frame.gripper_before)
    arrays: dict[str, Any] = {CAMERA_KEYS[camera]: picture for camera, picture in seen.images.items()}
    arrays |= {
        "robot_obs": np.concatenate([pose.position_m, pose.euler_xyz_rad, [width_m], joints, [before]]),
        "scene_obs": np.zeros(_SCENE_DIM),
        "actions": np.concatenate([target.position_m, target.euler_xyz_rad, [asked]]),
        "rel_actions": np.append(frame.action[:6], asked),
        "stamp_ns": np.int64(seen.stamp_ns),
    }
    if len(seen.joint_positions_rad) != _NUM_JOINTS:
        arrays["joint_positions_rad"] = seen.joint_positions_rad
    return arrays


class CalvinFormat:
    """A folder of CALVIN's, with ``training`` and ``validation``.

    Args:
        compress: Compress the files of frames.
    """

    def __init__(self, *, compress: bool) -> None:
        self._compress = compress

    def writer(self) -> EpisodeWriter:
        """Return a new writer."""
        return _CalvinWriter(self._compress)

    def place(self, folder: Path, out: Path, episode: StoredEpisode) -> None:
        """Move the frames of an episode to their numbers in its split."""
        (out / episode.split).mkdir(parents=True, exist_ok=True)
        for k in range(episode.num_frames):
            source = folder / _local_name(k)
            if source.exists():
                source.rename(out / episode.split / f"episode_{episode.first_frame + k:07d}.npz")

    def write_index(self, out: Path, episodes: Sequence[StoredEpisode]) -> None:
        """Write the index files of both splits."""
        for split in SPLITS:
            own = [episode for episode in episodes if episode.split == split]
            folder = out / split
            (folder / "lang_annotations").mkdir(parents=True, exist_ok=True)
            ends = [(e.first_frame, e.first_frame + e.num_frames - 1) for e in own]
            if own:
                write_yaml(folder / "statistics.yaml", _statistics(own))
            write_npy(folder / "ep_lens.npy", np.array([e.num_frames for e in own], dtype=np.int64))
            write_npy(folder / "lang_annotations" / "auto_lang_ann.npy", _annotations(own))
            write_npy(folder / "ep_start_end_ids.npy", np.array(ends, dtype=np.int64).reshape(-1, 2))


class _CalvinWriter:
    """Writes the frames of one episode at a time, numbered from 0."""

    def __init__(self, compress: bool) -> None:
        self._save = np.savez_compressed if compress else np.savez

    def begin(self, folder: Path, episode: FramesBegin) -> None:
        """Start an episode."""
        self._folder, self._num_frames = folder, 0
        self._observations = ArrayStatistics()
        self._actions = ArrayStatistics()

    def add(self, frame: DemonstrationFrame) -> None:
        """Write one file."""
        arrays = calvin_frame(frame)
        self._save(self._folder / _local_name(self._num_frames), **arrays)
        self._observations.add(arrays["robot_obs"])
        self._actions.add(arrays["actions"])
        self._num_frames += 1

    def finish(self) -> Mapping[str, Any]:
        """Return the statistics of the episode."""
        return {"robot_obs": self._observations.to_plain(), "actions": self._actions.to_plain()}

    def abort(self) -> None:
        """Nothing is held."""


def _local_name(number: int) -> str:
    return f"frame_{number:07d}.npz"


def _annotations(episodes: Sequence[StoredEpisode]) -> dict[str, Any]:
    """Return ``auto_lang_ann``: one annotation per stretch of one sentence.

    Its end is the frame that its last action leads to. The vectors of the sentences are zero: RoboVLMs does not
    read them, and CALVIN's own models need those of their text encoder.
    """
    ends, sentences = [], []
    for episode in episodes:
        for stretch in episode.stretches:
            end = min(stretch.last + 1, episode.num_frames - 1)
            if end > stretch.first:
                ends.append((episode.first_frame + stretch.first, episode.first_frame + end))
                sentences.append(stretch.instruction)
    names = [re.sub(r"\W+", "_", sentence.lower()).strip("_") for sentence in sentences]
    vectors = np.zeros((len(sentences), *_EMBEDDING_SHAPE), dtype=np.float32)
    return {
        "language": {"ann": sentences, "task": names, "emb": vectors},
        "info": {"episodes": [], "indx": ends},
    }


def _statistics(episodes: Sequence[StoredEpisode]) -> dict[str, Any]:
    """Return ``statistics.yaml``: transforms that hydra builds, and the bounds of the absolute actions."""
    observations = ArrayStatistics.merged(episode.facts["robot_obs"] for episode in episodes)
    actions = ArrayStatistics.merged(episode.facts["actions"] for episode in episodes)
    return {
        "robot_obs": [_normalize(observations.mean, observations.std)],
        "scene_obs": [_normalize(np.zeros(_SCENE_DIM), np.ones(_SCENE_DIM))],
        "act_max_bound": actions.high.tolist(),
        "act_min_bound": actions.low.tolist(),
    }


def _normalize(mean: FloatArray, std: FloatArray) -> dict[str, Any]:
    target = "calvin_agent.utils.transforms.NormalizeVector"
    return {"_target_": target, "mean": mean.tolist(), "std": std.tolist()}
