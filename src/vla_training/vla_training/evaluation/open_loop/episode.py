# SPDX-License-Identifier: Apache-2.0
"""A recorded episode streamed through a policy, tick by tick as the node does, and what came of it."""

import io
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vla_core.geometry import FloatArray
from vla_core.policy_contract import Policy
from vla_core.types import Observation
from vla_core.whole_file import write_whole
from vla_training.datasets.dataset_error import DatasetError


@dataclass(frozen=True, eq=False, kw_only=True)
class EpisodeOutcome:
    """What a policy predicted in an episode of T ticks, beside what was recorded.

    Attributes:
        key: Name of the episode.
        sentences: T sentences.
        predicted: (T, N, 7) float32: the chunk of each tick, as ``ActionChunk.actions``.
        recorded: (T, 7) float32 recorded actions in the policy's action space.
        is_valid: (T,) False where no action was recorded.
        poses: (T, 6) float64 measured TCP in base: position (m), extrinsic x-y-z angles (rad).
        gripper_before: (T,) what the gripper had been asked for until each tick, 0 or 1.
        inference_ms: (T,) wall time of each inference.
    """

    key: str
    sentences: tuple[str, ...]
    predicted: NDArray[np.float32]
    recorded: NDArray[np.float32]
    is_valid: NDArray[np.bool_]
    poses: FloatArray
    gripper_before: FloatArray
    inference_ms: FloatArray

    def __len__(self) -> int:
        return len(self.sentences)

    def save(self, path: Path) -> None:
        """Write it as ``.npz``, at once or not at all."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            key=np.array(self.key),
            sentences=np.array(self.sentences),
            **{name: getattr(self, name) for name in _ARRAYS},
        )
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return what ``save`` has written.

        Raises:
            DatasetError: It cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(
                    key=str(arrays["key"]),
                    sentences=tuple(str(sentence) for sentence in arrays["sentences"]),
                    **{name: arrays[name] for name in _ARRAYS},
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{path}: damaged: {error}. Remove it and run the command again") from error


_ARRAYS = ("predicted", "recorded", "is_valid", "poses", "gripper_before", "inference_ms")


class PolicyStream:
    """Feeds the ticks of one episode after the other to a policy.

    The history begins afresh with each episode and with each new sentence, as the node does by default.

    Args:
        policy: The policy; the stream owns it.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._sentence: str | None = None
        self._predicted: list[NDArray[np.float32]] = []
        self._inference_ms: list[float] = []
        self._sentences: list[str] = []

    def begin(self) -> None:
        """Begin an episode."""
        self._sentence = None
        self._predicted, self._inference_ms, self._sentences = [], [], []

    def tick(self, observation: Observation, instruction: str) -> None:
        """Advance by one tick."""
        if instruction != self._sentence:
            self._policy.reset()
            self._sentence = instruction
        before_s = time.perf_counter()
        chunk = self._policy.infer(observation, instruction)
        self._inference_ms.append((time.perf_counter() - before_s) * 1e3)
        self._predicted.append(chunk.actions)
        self._sentences.append(instruction)

    def finish(
        self,
        key: str,
        *,
        recorded: NDArray[np.float32],
        is_valid: Sequence[bool] | NDArray[np.bool_],
        poses: FloatArray,
        gripper_before: FloatArray,
    ) -> EpisodeOutcome:
        """Return what came of the episode; arguments as the attributes of ``EpisodeOutcome``."""
        return EpisodeOutcome(
            key=key,
            sentences=tuple(self._sentences),
            predicted=np.stack(self._predicted),
            recorded=recorded,
            is_valid=np.asarray(is_valid, dtype=np.bool_),
            poses=poses,
            gripper_before=gripper_before,
            inference_ms=np.array(self._inference_ms),
        )
