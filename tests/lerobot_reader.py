# SPDX-License-Identifier: Apache-2.0
"""Read a dataset by lerobot's own ``LeRobotDataset`` and print what it gives: run by ``test_lerobot_loader.py``.

It runs in an environment of its own, in which neither vla_core nor vla_training is installed.
"""

import json
import sys

import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset


def main() -> None:
    """Write all frames into an ``.npz`` and facts to standard output."""
    root, out, backend = sys.argv[1:4]
    dataset = LeRobotDataset("local/converted", root=root, video_backend=backend)
    frames = [dataset[k] for k in range(len(dataset))]
    keys = ("observation.state", "action", "target_pose", "timestamp", "index", "episode_index", "frame_index")
    arrays = {key: torch.stack([frame[key] for frame in frames]).numpy() for key in (*keys, "stamp_ns")}
    for camera in dataset.meta.camera_keys:
        pictures = torch.stack([frame[camera] for frame in frames])
        arrays[camera] = (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    np.savez(out, **arrays)
    period_s = 1.0 / dataset.fps
    deltas = {"observation.images.static": [-period_s, 0.0], "action": [0.0, period_s, 2 * period_s]}
    windows = LeRobotDataset("local/converted", root=root, video_backend=backend, delta_timestamps=deltas)
    loader = torch.utils.data.DataLoader(windows, batch_size=4)
    batch = next(iter(loader))
    facts = {
        "frames": len(dataset),
        "episodes": dataset.num_episodes,
        "fps": dataset.fps,
        "tasks": [frame["task"] for frame in frames],
        "batch": {key: list(batch[key].shape) for key in deltas},
        "next_action": batch["action"][0, 1].tolist(),
        "padded": windows[len(windows) - 1]["action_is_pad"].tolist(),
        "statistics": {key: value["mean"].tolist() for key, value in dataset.meta.stats.items()},
        "state_names": dataset.meta.names["observation.state"],
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
