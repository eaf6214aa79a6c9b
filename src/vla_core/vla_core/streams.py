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
from vla_core.model.prompt import Tokens
from vla_core.model.token_sequence import TokenSequence
from vla_core.robot_state import robot_state
from vla_core.types import Observation

_MAX_CACHED_TEXTS = 16
_COMPILED_LENGTHS = 16  # a step is compiled for sentences of each multiple of so many tokens
_USUAL_LENGTHS = (16, 32)
_T = TypeVar("_T", bound=History)


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """Ways to make a tick cheaper.

    Attributes:
        alternate_cameras: Encode one camera per tick, in turn, and keep the tokens of the others from the tick
            before. An approximation: with two cameras each picture is up to one tick old.
        compile: Compile the step with ``torch.compile`` for fixed shapes. The first tick of each range of sentence
            lengths (up to 16 tokens, up to 32, ...) takes long.
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
        self._pictures_KCVP: Tensor | None = None  # the newest tokens of each camera, written over at every tick
        self._ages = [0] * num_streams
        self._step = self._model.step_encoded
        self._encode = self._model.encode_pictures
        if self._options.compile:
            mode = "reduce-overhead" if self._model.device.type == "cuda" else "default"
            self._encode = torch.compile(self._encode, dynamic=False, mode=mode)
            if self._model.has_fixed_shapes:
                self._step = torch.compile(self._step, dynamic=False, mode=mode)

    def restart(self, is_new: Sequence[bool] | None = None) -> None:
        """Forget the history of the streams that are marked; of all by default.

        Raises:
            ValueError: There is not one mark per stream.
        """
        marks = [True] * len(self._ages) if is_new is None else list(is_new)
        self._require_one_per_stream("marks", marks)
        self._history = self._history.restart(torch.tensor(marks, device=self._model.device))
        self._ages = [0 if mark else age for mark, age in zip(marks, self._ages, strict=True)]

    def advance(self, observations: Sequence[Observation], instructions: Sequence[str]) -> PredictedChunks:
        """Return the chunks (B = K, T = 1) of the newest tick of each stream.

        Raises:
            InstructionError: A sentence cannot be used; all histories are as before.
            ValueError: There is not one observation and one sentence per stream.
        """
        self._require_one_per_stream("observations", observations)
        self._require_one_per_stream("sentences", instructions)
        with torch.inference_mode():
            return self._advance(observations, self._text(tuple(instructions)))

    def warm_up(self, observation: Observation) -> None:
        """Run once for each usual length of a sentence; histories are left empty.

        Args:
            observation: What every stream sees; any picture will do.
        """
        observations = [observation] * len(self._ages)
        tokens = self._tokenizer(["go"] * len(observations)).to(self._model.device)
        shortest = tokens.ids.shape[1]
        lengths = [shortest]
        if self._pads_sentences:
            lengths = [length for length in _USUAL_LENGTHS if shortest <= length <= self._model.max_text_tokens]
        with torch.inference_mode():
            for length in lengths:
                padded = tokens.lengthened(length) if self._pads_sentences else tokens
                self._advance(observations, self._model.embed_tokens(padded))
        self.restart()

    def _advance(self, observations: Sequence[Observation], text: TokenSequence) -> PredictedChunks:
        pictures_KCVP = self._encoded(observations)
        chunks, history = self._step(pictures_KCVP, text, self._history, self._state(observations))
        self._history = self._owned(history)
        self._ages = [age + 1 for age in self._ages]
        return chunks

    @property
    def _pads_sentences(self) -> bool:
        """Whether sentences of similar length share one compiled step."""
        return self._options.compile and not self._model.reads_past_lrn

    def _require_one_per_stream(self, what: str, values: Sequence[object]) -> None:
        if len(values) != len(self._ages):
            raise ValueError(f"found {len(values)} {what} for {len(self._ages)} streams; give one per stream")

    def _owned(self, value: _T) -> _T:
        """Return a dataclass of tensors that the next run of a CUDA graph does not write over."""
        if not self._options.compile or self._model.device.type != "cuda":
            return value
        tensors = {field.name: getattr(value, field.name).clone() for field in fields(value)}
        return replace(value, **tensors)

    def _text(self, instructions: tuple[str, ...]) -> TokenSequence:
        if instructions not in self._texts:
            self._texts[instructions] = self._model.embed_tokens(self._tokens(instructions))
            if len(self._texts) > _MAX_CACHED_TEXTS:
                self._texts.popitem(last=False)
        self._texts.move_to_end(instructions)
        return self._texts[instructions]

    def _tokens(self, instructions: tuple[str, ...]) -> Tokens:
        tokens = self._tokenizer(instructions).to(self._model.device)
        if not self._pads_sentences:
            return tokens
        length = -(-tokens.ids.shape[1] // _COMPILED_LENGTHS) * _COMPILED_LENGTHS
        return tokens.lengthened(min(length, self._model.max_text_tokens))

    def _state(self, observations: Sequence[Observation]) -> Tensor | None:
        if not self._model.config.use_state:
            return None
        states = np.stack([robot_state(observation) for observation in observations])
        return torch.from_numpy(states).to(self._model.device)

    def _encoded(self, observations: Sequence[Observation]) -> Tensor:
        """Return the newest tokens (K, C, V, P) of each camera of each stream."""
        cameras, model = self._model.config.cameras, self._model
        due = [(k, c) for k in range(len(observations)) for c in self._due_cameras(k)]
        pictures = [observations[k].images[cameras[c]] for k, c in due]
        images_M3SS = preprocess(pictures, model.config.image, device=model.device, dtype=model.dtype)
        tokens_MVP = self._encode(images_M3SS[:, None])[:, 0]
        shape = (len(observations), len(cameras), *tokens_MVP.shape[1:])
        if self._pictures_KCVP is None:
            self._pictures_KCVP = tokens_MVP.new_empty(shape)
        if len(due) == shape[0] * shape[1]:
            return self._pictures_KCVP.copy_(tokens_MVP.view(shape))
        streams, columns = (list(indices) for indices in zip(*due, strict=True))
        self._pictures_KCVP[streams, columns] = tokens_MVP
        return self._pictures_KCVP

    def _due_cameras(self, stream: int) -> Sequence[int]:
        num_cameras, age = len(self._model.config.cameras), self._ages[stream]
        if not self._options.alternate_cameras or age == 0:
            return range(num_cameras)
        return (age % num_cameras,)
