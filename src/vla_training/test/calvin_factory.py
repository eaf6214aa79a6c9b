# SPDX-License-Identifier: Apache-2.0
"""Small datasets in CALVIN's layout, with everything known."""

from pathlib import Path

import numpy as np
import yaml

from vla_core.config import to_plain
from vla_training.datasets.dataset_card import DATASET_FILE, DatasetCard

SENTENCES = ("open the drawer", "push the sliding door to the left side")


def write_split(
    folder: Path,
    *,
    first_frame: int = 7,
    lengths: tuple[int, ...] = (20, 14),
    static_px: int = 24,
    wrist_px: int = 16,
    seed: int = 0,
    sentences: tuple[str, ...] = SENTENCES,
) -> Path:
    """Write a split whose annotations follow each other; the frame behind each is there, too."""
    random = np.random.default_rng(seed)
    (folder / "lang_annotations").mkdir(parents=True)
    ranges, frame = [], first_frame
    for length in lengths:
        ranges.append((frame, frame + length))
        for number in range(frame, frame + length + 1):
            write_frame(folder, number, random, static_px, wrist_px)
        frame += length + 1
    words = [sentences[i % len(sentences)] for i in range(len(lengths))]
    annotations = {
        "language": {
            "ann": words,
            "task": ["task"] * len(words),
            "emb": np.zeros((len(words), 1, 384), np.float32),
        },
        "info": {"episodes": [], "indx": ranges},
    }
    np.save(folder / "lang_annotations" / "auto_lang_ann.npy", annotations, allow_pickle=True)  # type: ignore[arg-type]
    np.save(folder / "ep_start_end_ids.npy", np.array(ranges))
    return folder


def write_frame(folder: Path, number: int, random: np.random.Generator, static_px: int, wrist_px: int) -> None:
    euler = random.uniform(-0.4, 0.4, 3) + np.array([np.pi - 0.5, 0.0, 0.3])
    obs = np.concatenate([random.uniform(-0.3, 0.3, 3), euler, [0.08], random.uniform(-1, 1, 7), [1.0]])
    action = np.append(random.uniform(-1, 1, 6), 1.0 if number % 6 < 3 else -1.0)
    np.savez_compressed(
        folder / f"episode_{number:07d}.npz",
        rgb_static=random.integers(0, 256, (static_px, static_px, 3), dtype=np.uint8),
        rgb_gripper=random.integers(0, 256, (wrist_px, wrist_px, 3), dtype=np.uint8),
        robot_obs=obs,
        rel_actions=action,
        actions=action,
        scene_obs=np.zeros(24),
    )


def write_dataset(folder: Path, *, card: DatasetCard | None = None, seed: int = 0, **options: object) -> Path:
    """Write a dataset with a training and a validation split."""
    write_split(folder / "training", seed=seed, **options)  # type: ignore[arg-type]
    write_split(folder / "validation", seed=seed + 1, **{**options, "lengths": (12,)})  # type: ignore[arg-type]
    if card is not None:
        (folder / DATASET_FILE).write_text(yaml.safe_dump(to_plain(card)))
    return folder
