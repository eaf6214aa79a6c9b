# SPDX-License-Identifier: Apache-2.0
"""A model that advances several independent episodes by one tick in one call, each with its own history.

What depends only on the sentences is computed once. A stream gives the numbers that it would give alone.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from vla_core.checkpoint import Checkpoint
from vla_core.model.chunks import PredictedChunks
from vla_core.model.history import History
from vla_core.model.pictures import preprocess
from vla_core.model.token_sequence import TokenSequence
from vla_core.robot_state import robot_state
from vla_core.types import Observation

_MAX_CACHED_TEXTS = 16
_T = TypeVar("_T", bound=History)


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """Ways to make a tick cheaper.

    Attributes:
        alternate_cameras: Encode one camera per tick, in turn, and keep the tokens of the others from the tick
            before. An approximation: with two cameras each picture is up to one tick old.
        compile: Compile the step with ``torch.compile`` for fixed shapes. The first ticks of each sentence length
            take long.
    """

    alternate_cameras: bool = False
    compile: bool = False


class Streams:
    """K streams of one model. Not thread-safe: one owner at a time.

    Args:
        checkpoint: The model and all its facts; the model is put into evaluation mode.
        num_streams: K.
        options: Ways to make a tick cheaper.
    """

    def __init__(self, checkpoint: Checkpoint, num_streams: int = 1, options: StreamOptions | None = None) -> None:
        self._model = checkpoint.model.eval()
        self._tokenizer = checkpoint.tokenizer
        self._options = options or StreamOptions()
        self._texts: OrderedDict[tuple[str, ...], TokenSequence] = OrderedDict()
        self._history = self._model.new_history(num_streams)
        self._pictures: Tensor | None = None
        self._next_camera = 0
        self._step = self._model.step_encoded
        self._encode = self._model.encode_pictures
        if self._options.compile:
            mode = "reduce-overhead" if self._model.device.type == "cuda" else "default"
            self._step = torch.compile(self._step, dynamic=False, mode=mode)
            self._encode = torch.compile(self._encode, dynamic=False, mode=mode)

    def restart(self, is_new: Sequence[bool] | None = None) -> None:
        """Forget the history of the streams that are marked; of all by default."""
        count = len(self._history.num_ticks)
        marks = torch.tensor([True] * count if is_new is None else list(is_new), device=self._model.device)
        self._history = self._history.restart(marks)
        self._pictures, self._next_camera = None, 0

    def advance(self, observations: Sequence[Observation], instructions: Sequence[str]) -> PredictedChunks:
        """Return the chunks (B = K, T = 1) of the newest tick of each stream.

        Raises:
            InstructionError: A sentence cannot be used; all histories are as before.
        """
        with torch.inference_mode():
            text = self._text(tuple(instructions))
            pictures_KCVP = self._encoded(observations)
            chunks, history = self._step(pictures_KCVP, text, self._history, self._state(observations))
            self._history = self._owned(history)
        return chunks

    def _owned(self, value: _T) -> _T:
        """Return a dataclass of tensors that the next run of a CUDA graph does not write over."""
        if not self._options.compile or self._model.device.type != "cuda":
            return value
        tensors = {field.name: getattr(value, field.name).clone() for field in fields(value)}
        return replace(value, **tensors)

    def _text(self, instructions: tuple[str, ...]) -> TokenSequence:
        if instructions not in self._texts:
            tokens = self._tokenizer(instructions).to(self._model.device)
            self._texts[instructions] = self._model.embed_tokens(tokens)
            if len(self._texts) > _MAX_CACHED_TEXTS:
                self._texts.popitem(last=False)
        self._texts.move_to_end(instructions)
        return self._texts[instructions]

    def _state(self, observations: Sequence[Observation]) -> Tensor | None:
        if not self._model.config.use_state:
            return None
        states = np.stack([robot_state(observation) for observation in observations])
        return torch.from_numpy(states).to(self._model.device)

    def _encoded(self, observations: Sequence[Observation]) -> Tensor:
        cameras = self._model.config.cameras
        if not self._options.alternate_cameras or self._pictures is None:
            self._pictures = self._encode(self._images(observations, cameras))
            return self._pictures
        index = self._next_camera = (self._next_camera + 1) % len(cameras)
        newest_K1VP = self._encode(self._images(observations, cameras[index : index + 1]))
        self._pictures = torch.cat([self._pictures[:, :index], newest_K1VP, self._pictures[:, index + 1 :]], dim=1)
        return self._pictures

    def _images(self, observations: Sequence[Observation], cameras: Sequence[str]) -> Tensor:
        pictures = [observation.images[camera] for observation in observations for camera in cameras]
        model = self._model
        images = preprocess(pictures, model.config.image, device=model.device, dtype=model.dtype)
        return images.view(len(observations), len(cameras), *images.shape[1:])
