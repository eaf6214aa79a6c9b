# SPDX-License-Identifier: Apache-2.0
"""A synthetic dataset in CALVIN's layout; its pictures compress like rendered ones. Prints nothing by itself."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_calvin_like(folder: Path, *, num_annotations: int = 6, length: int = 64, seed: int = 0) -> Path:
    """Write a split with all arrays that CALVIN's frames hold; return its folder."""
    random = np.random.default_rng(seed)
    (folder / "lang_annotations").mkdir(parents=True)
    ranges = [(i * (length + 1), i * (length + 1) + length) for i in range(num_annotations)]
    static, wrist = (_scenes(random, side, num_annotations) for side in (200, 84))
    for episode, (start, end) in enumerate(ranges):
        for frame in range(start, end + 1):
            obs = np.concatenate([random.uniform(-0.3, 0.3, 6), [0.08], random.uniform(-1, 1, 7), [1.0]])
            action = np.append(random.uniform(-1, 1, 6), random.choice([-1.0, 1.0]))
            np.savez_compressed(
                folder / f"episode_{frame:07d}.npz",
                rgb_static=_noisy(random, np.roll(static[episode], frame, axis=1)),
                rgb_gripper=_noisy(random, np.roll(wrist[episode], 2 * frame, axis=1)),
                rgb_tactile=np.zeros((160, 120, 6), np.uint8),
                depth_static=random.uniform(3, 5, (200, 200)).astype(np.float32),
                depth_gripper=random.uniform(0, 1, (84, 84)).astype(np.float32),
                depth_tactile=np.zeros((160, 120, 2), np.float32),
                robot_obs=obs,
                rel_actions=action,
                actions=action,
                scene_obs=np.zeros(24),
            )
    sentences = [f"push the {colour} block to the left" for colour in ("red", "blue", "pink")]
    words = [sentences[i % 3] for i in range(num_annotations)]
    data = {
        "language": {"ann": words, "task": words, "emb": np.zeros((num_annotations, 1, 384), np.float32)},
        "info": {"episodes": [], "indx": ranges},
    }
    np.save(folder / "lang_annotations" / "auto_lang_ann.npy", np.array(data, dtype=object), allow_pickle=True)
    return folder


def _scenes(random: np.random.Generator, side: int, count: int) -> list[np.ndarray]:
    coarse = [random.integers(0, 256, (12, 12, 3), dtype=np.uint8) for _ in range(count)]
    return [np.array(Image.fromarray(each).resize((side, side), Image.Resampling.BICUBIC)) for each in coarse]


def _noisy(random: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    return np.clip(picture.astype(np.int16) + random.integers(-1, 2, picture.shape), 0, 255).astype(np.uint8)
