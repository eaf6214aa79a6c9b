# SPDX-License-Identifier: Apache-2.0
"""A backbone answers a question about a picture in words, as its native model does.

The policy never does this. It shows whether weights, tokenizer, picture size and colour order are right.

Shapes: L tokens, S image side.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from vla_core.errors import CheckpointError, InstructionError
from vla_core.model.backbone import Backbone
from vla_core.model.prompt import read_tokenizer

_GENERATION = "generation_config.json"


@dataclass(frozen=True, eq=False)
class Answerer:
    """A backbone with its tokenizer.

    Attributes:
        backbone: In evaluation mode.
        tokenizer: A Hugging Face tokenizer.
        ends: What the backbone's folder says about generated text, such as its last word; ``None`` leaves that to
            the model's configuration.
    """

    backbone: Backbone
    tokenizer: Any
    ends: GenerationConfig | None

    @classmethod
    def load(cls, backbone: Backbone, folder: Path) -> "Answerer":
        """Return a backbone with the tokenizer and the generation settings in its folder.

        Raises:
            CheckpointError: A file of the folder cannot be read.
        """
        return cls(backbone, read_tokenizer(folder), _generation_config(folder))

    def __call__(self, question: str, image_3SS: Tensor, *, max_new_words: int = 40) -> str:
        """Return the most likely answer to a question about a preprocessed picture.

        Args:
            question: Plain text.
            image_3SS: Preprocessed picture, on the device and in the type of the weights.
            max_new_words: Most tokens of the answer.

        Raises:
            InstructionError: The question is empty, too long, or holds a control word.
        """
        inputs = self.inputs(question, image_3SS)
        length = inputs["input_ids"].shape[1]
        if length + max_new_words > self.backbone.max_tokens:
            raise InstructionError(
                f"the question and its picture are {length} tokens long and the answer up to {max_new_words}, but "
                f"the model reads at most {self.backbone.max_tokens}. Ask in fewer words, or for a shorter answer"
            )
        with torch.inference_mode():
            ids_1L = self.backbone.generator.generate(**inputs, **self.settings(max_new_words))
        answer: str = self.tokenizer.decode(ids_1L[0, length:], skip_special_tokens=True)
        return answer.strip()

    def settings(self, max_new_words: int) -> dict[str, Any]:
        """Return the settings of ``generate`` that always take the most likely word."""
        greedy = {"do_sample": False, "num_beams": 1, "max_new_tokens": max_new_words}
        if self.ends is None:
            return greedy
        # These concern sampling or are another length; set, they would only warn.
        unused = dict.fromkeys(("temperature", "top_p", "top_k", "max_length"))
        config: Any = copy.deepcopy(self.ends)
        config.update(**greedy, **unused)
        return {"generation_config": config}

    def inputs(self, question: str, image_3SS: Tensor, answer: str | None = None) -> dict[str, Any]:
        """Return the arguments of the transformers model for a question about a preprocessed picture.

        Args:
            question: Plain text.
            image_3SS: Preprocessed picture, on the device of the weights.
            answer: Stands behind the question as if the model had said it; see ``answer_ids``.

        Raises:
            InstructionError: The question or the answer is empty or holds a control word.
        """
        self._require_plain(question)
        form = self.backbone.question
        # Where pictures are beside the sequence, one word stands for the whole of a picture.
        num_places = 1
        if self.backbone.pictures_in_sequence:
            num_places = self.backbone.num_image_tokens - len(form.before) - len(form.after)
        text = form.fill(question.strip(), num_places)
        ids = self.tokenizer(text, add_special_tokens=form.special_tokens)["input_ids"]
        if answer is not None:
            ids = [*ids, *self.answer_ids(answer)]
        ids_1L = torch.tensor([ids], device=image_3SS.device)
        inputs = self.backbone.native_inputs(ids_1L, self._is_place(ids_1L, num_places), image_3SS[None, None])
        return {"attention_mask": torch.ones_like(ids_1L), **inputs}

    def answer_ids(self, answer: str) -> list[int]:
        """Return the tokens of an answer and of the end of the text behind it.

        Raises:
            InstructionError: The answer is empty or holds a control word.
        """
        self._require_plain(answer)
        ids: list[int] = self.tokenizer(answer.strip(), add_special_tokens=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        return ids if end is None else [*ids, end]

    def _is_place(self, ids_1L: Tensor, num_places: int) -> Tensor:
        """Return (1, L) True where a token stands for a part of the picture."""
        is_word_1L: Tensor = ids_1L == self.tokenizer.convert_tokens_to_ids(self.backbone.question.place)
        # Kosmos-2 opens a picture with the same word.
        num_other = int(is_word_1L.sum()) - num_places
        if num_other < 0:
            raise CheckpointError(
                f"the tokenizer does not know '{self.backbone.question.place}', which stands for a picture; copy "
                "all tokenizer files of the backbone"
            )
        return is_word_1L & (is_word_1L.cumsum(dim=1) > num_other)

    def _require_plain(self, text: str) -> None:
        if not text.strip():
            raise InstructionError("the question is empty; give some text")
        for word in self.tokenizer.get_added_vocab():
            if word in text:
                raise InstructionError(f"the question holds '{word}', a control word of the model; leave it out")


def _generation_config(folder: Path) -> GenerationConfig | None:
    if not (folder / _GENERATION).is_file():
        return None
    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # a damaged file surfaces in many ways
        raise CheckpointError(f"{folder / _GENERATION}: not readable: {error}") from error
