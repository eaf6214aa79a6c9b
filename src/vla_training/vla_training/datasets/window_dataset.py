# SPDX-License-Identifier: Apache-2.0
"""Windows of one split as samples: pictures as they are stored, actions in the space of the policy.

Only the pictures of the window are read; the pictures behind it, which RoboVLMs loads too, serve no loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from vla_core.actions.action_space import ActionSpace
from vla_training.datasets.frame_store import FrameStore, Ids
from vla_training.datasets.named_points import NamedPoints
from vla_training.datasets.policy_actions import policy_actions, robot_states
from vla_training.datasets.window_index import action_frames, index_windows


@dataclass(frozen=True, eq=False)
class WindowSample:
    """One window of T ticks, with chunks of N actions.

    Attributes:
        pictures: Camera to (T, 3, H, W) uint8, H and W the size of the stored pictures.
        actions: (T + N - 1, 7) float32 in the policy's space: action of each tick, then of the frames behind it.
        is_valid: (T + N - 1,) False at and behind the end of the annotation.
        state: (T, 10) float32 measured state of each tick.
        instruction: The sentence.
        number: Which sample of the run this is; what is drawn at random for it depends on this alone.
        points: (T, C, K, 2) float32 named points in the order of ``pictures``, as in ``NamedPoints``; ``None``
            where nobody asks for them.
    """

    pictures: Mapping[str, NDArray[np.uint8]]
    actions: NDArray[np.float32]
    is_valid: NDArray[np.bool_]
    state: NDArray[np.float32]
    instruction: str
    number: int
    points: NDArray[np.float32] | None = None


class WindowDataset(Dataset[WindowSample]):
    """Windows of one split.

    Args:
        store: The split.
        space: Meaning of the policy's actions.
        cameras: Cameras to read.
        window_size: T, ticks of a window.
        chunk_size: N, actions of a chunk.
        stride: Frames between the beginnings of two windows.
        points: Where the named things are; ``None`` leaves them out.

    Attributes:
        index: Its windows.
    """

    def __init__(
        self,
        store: FrameStore,
        space: ActionSpace,
        *,
        cameras: Sequence[str],
        window_size: int,
        chunk_size: int,
        stride: int = 1,
        points: NamedPoints | None = None,
    ) -> None:
        self._store = store
        self._points = points
        self._cameras = tuple(cameras)
        self._window_size, self._chunk_size = window_size, chunk_size
        self._actions = policy_actions(store.numbers, store.card.action_space, space)
        self._states = robot_states(store.numbers)
        self.index = index_windows(store.annotations, window_size, stride)

    def __len__(self) -> int:
        return len(self.index)

    def sampled_actions(self, count: int) -> NDArray[np.float32]:
        """Return at most so many actions (n, 7), spread evenly over the split's windows."""
        windows = np.linspace(0, len(self.index) - 1, min(count, len(self.index))).astype(np.int64)
        return self._actions[self._store.numbers.rows(self.index.starts[windows])]

    def __getitem__(self, key: int | tuple[int, int]) -> WindowSample:
        """Return a window; a key may be (window, number of the sample in the run)."""
        window, number = key if isinstance(key, tuple) else (key, key)
        start = int(self.index.starts[window])
        annotation = self._store.annotations[int(self.index.annotation[window])]
        frames, is_valid = action_frames(start, annotation.end, self._window_size, self._chunk_size)
        rows = self._store.numbers.rows(frames)
        ticks = frames[: self._window_size]
        return WindowSample(
            pictures={camera: self._planes(camera, ticks) for camera in self._cameras},
            actions=self._actions[rows],
            is_valid=is_valid,
            state=self._states[rows[: self._window_size]],
            instruction=annotation.instruction,
            number=number,
            points=self._points.at(ticks, self._cameras) if self._points is not None else None,
        )

    def _planes(self, camera: str, ids: Ids) -> NDArray[np.uint8]:
        """Return pictures plane by plane, as tensors are laid out; a packed dataset has them like that."""
        return np.ascontiguousarray(self._store.pictures(camera, ids).transpose(0, 3, 1, 2))
